"""Less memory for objects that stay: strings, empty lists and parts that many objects have alike
are kept once.

Of fifty thousand pods nearly everything is alike: labels and owners of those of one set,
tolerations, the projected token, "True" and "Running". Decoding makes each of them anew (11.6 kB
for a small pod); kept once, a pod takes 2.8 kB. It costs some 50 µs an object, so only what has
been left alone for a while is worth it: see `Informer`.

What is shared must not be changed in place, as nothing in an informer may be.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from tiphys.api.base import Struct, encode

log = logging.getLogger(__name__)

# Fields whose whole value is likely to be the same in many objects.
_ALIKE = frozenset(
    (
        "labels",
        "match_labels",
        "match_expressions",
        "node_selector",
        "owner_references",
        "tolerations",
        "affinity",
        "env",
        "env_from",
        "resources",
        "security_context",
        "projected",
        "config_map",
        "empty_dir",
        "ports",
        "args",
        "command",
        "liveness_probe",
        "readiness_probe",
        "startup_probe",
        "topology_spread_constraints",
        "host_ips",
    )
)
_MOST = 20_000  # parts that are remembered

_parts: dict[tuple[type, bytes], Any] = {}
_empty: dict[type, Any] = {list: [], dict: {}}


def compact(obj: Struct) -> None:
    """Puts what is shared in the place of what is equal to it."""
    if _empty[list] or _empty[dict]:
        log.error("A shared object was changed in place: %r", _empty)
        _empty.update({list: [], dict: {}})
    _compact(obj)


def changed_parts() -> list[Any]:
    """Shared objects that were changed in place although they must not be: for tests."""
    return [part for part in _empty.values() if part] + [
        v for (_, data), v in _parts.items() if encode(v) != data
    ]


def _compact(obj: Any) -> None:
    for name in obj.__struct_fields__:
        value = getattr(obj, name)
        kind = type(value)
        if kind is str:
            same = sys.intern(value)
            if same is not value:
                setattr(obj, name, same)
        elif kind is list or kind is dict:
            if not value:
                setattr(obj, name, _empty[kind])
            elif name in _ALIKE:
                setattr(obj, name, _shared(value))
            elif kind is list:
                for item in value:
                    if isinstance(item, Struct):
                        _compact(item)
        elif isinstance(value, Struct):
            if name in _ALIKE:
                setattr(obj, name, _shared(value))
            else:
                _compact(value)


def _shared(value: Any) -> Any:
    key = (type(value), encode(value))
    shared = _parts.get(key)
    if shared is None:
        if len(_parts) >= _MOST:
            _parts.clear()
        if isinstance(value, Struct):
            _compact(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Struct):
                    _compact(item)
        shared = _parts[key] = value
    return shared
