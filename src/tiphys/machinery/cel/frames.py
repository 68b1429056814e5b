"""What compiled expressions share while they run: the frame of variables, the cost that is spent,
access to values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel.values import NONE, CelError, CostExceeded, Optional, is_number

COST_LIMIT = 1_000_000
Frame = dict[str, Any]
Evaluate = Callable[[Frame], Any]
Function = Callable[..., Any]  # of the library: values in, a value out
COST = "\0cost"  # the variable that holds what is left
_ESCAPED = {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}


def spend(frame: Frame, units: int) -> None:
    left = frame[COST]
    left[0] -= units
    if left[0] < 0:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")


def as_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise CelError("no such overload")


def field_of(value: Any, name: str) -> Any:
    """`value.name`. Raises CelError when it is not there."""
    if isinstance(value, Optional):
        return optional_field(value, name)
    if isinstance(value, dict):
        if name in value:
            return value[name]
        plain = unescaped(name)
        if plain in value:
            return value[plain]
        raise CelError(f"no such key: {name}")
    read_field = getattr(value, "cel_field", None)
    if read_field is not None:
        return read_field(name)
    raise CelError("no such overload" if value is not None else f"no such key: {name}")


def unescaped(name: str) -> str:
    """The property behind an escaped name: ``a__dash__b`` is ``a-b``, ``__namespace__`` is
    ``namespace``."""
    if "__" not in name:
        return name
    if name.startswith("__") and name.endswith("__") and name not in _ESCAPED:
        return name[2:-2]
    for escaped, plain in _ESCAPED.items():
        name = name.replace(escaped, plain)
    return name


def _optional(value: Any, key: Any, look: Callable[[Any, Any], Any]) -> Optional:
    if isinstance(value, Optional):
        return _optional(value.value, key, look) if value.present else NONE
    try:
        return Optional(True, look(value, key))
    except CelError:
        return NONE


def optional_field(value: Any, name: str) -> Optional:
    return _optional(value, name, field_of)


def optional_index(value: Any, index: Any) -> Optional:
    return _optional(value, index, index_of)


def index_of(value: Any, index: Any) -> Any:
    if isinstance(value, Optional):
        return optional_index(value, index)
    if isinstance(value, list):
        if not is_number(index) or int(index) != index:
            raise CelError("no such overload")
        if not 0 <= index < len(value):
            raise CelError(f"index out of bounds: {index}")
        return value[int(index)]
    if isinstance(value, dict):
        if isinstance(index, list | dict):
            raise CelError("no such overload")
        try:
            return value[index]
        except KeyError:
            raise CelError(f"no such key: {index}") from None
    raise CelError("no such overload")
