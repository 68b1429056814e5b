"""The times in typed objects: read as Go reads them, and kept in canonical form.

Which fields of a type hold times is found out once. Most parts of most objects hold none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tiphys.api.base import Struct
from tiphys.machinery.gotime import canonical_micro_time, canonical_time
from tiphys.machinery.schema import Field, fields_of

_CANONICAL: dict[str, Callable[[str], str]] = {
    "time": canonical_time,
    "microtime": canonical_micro_time,
}


class _Step(NamedTuple):
    """A field that holds a time, or in which there are some. `kind`: as `schema.Field` has it;
    `canonical` for a time, or for those of a list or map; `below` for structs."""

    attribute: str
    kind: str
    canonical: Callable[[str], str]
    below: tuple[_Step, ...]


_Plan = tuple[_Step, ...]
_plans: dict[type[Struct], _Plan] = {}


def plan_of(kind: type[Struct]) -> _Plan:
    """The fields of a type with times in them."""
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _steps(kind, ())
    return plan


def make_times_canonical(obj: Any) -> None:
    """Raises ValueError, in Go's words, for a time that is none."""
    _walk(obj, plan_of(type(obj)))


def _walk(obj: Any, plan: _Plan) -> None:
    for attribute, kind, canonical, below in plan:
        value = getattr(obj, attribute)
        if value is None:
            continue
        if kind == "struct":
            _walk(value, below)
        elif kind == "list":
            for item in value:
                _walk(item, below)
        elif kind == "dict" and below:
            for item in value.values():
                _walk(item, below)
        elif kind == "dict":
            value.update({key: canonical(text) for key, text in value.items()})
        else:
            text = canonical(value)
            if text is not value:
                setattr(obj, attribute, text)


def _steps(kind: type[Struct], within: tuple[type, ...]) -> _Plan:
    """`within`: the types that this one is in; schemas are in themselves, and hold no times."""
    if kind in within:
        return ()
    known = _plans.get(kind)
    if known is not None:
        return known
    steps = (_step(field, (*within, kind)) for field in fields_of(kind).values())
    return tuple(step for step in steps if step is not None)


def _step(field: Field, within: tuple[type, ...]) -> _Step | None:
    canonical = _CANONICAL.get(field.kind)
    if canonical is not None:
        return _Step(field.attribute, field.kind, canonical, ())
    item = field.item
    if field.kind == "dict" and item.kind in _CANONICAL:
        return _Step(field.attribute, "dict", _CANONICAL[item.kind], ())
    if field.kind in ("list", "dict"):
        item = item.item if item.kind == "struct" else None
    elif field.kind != "struct":
        return None
    below = _steps(item, within) if isinstance(item, type) and issubclass(item, Struct) else ()
    return _Step(field.attribute, field.kind, canonical_time, below) if below else None
