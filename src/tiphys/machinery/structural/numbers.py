"""Numbers of custom objects as Go writes them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

# How msgspec writes a float that may be whole, before what ends a value.
_SUSPECTS = (b".0,", b".0]", b".0}", b"e16", b"e17", b"e18")
_PARTS = (b".0", b"e1")  # most objects have neither: two searches, not six
_MOST = 2**63  # from here on Go reads an integer as a float, too


def encoded(obj: Any, encode: Callable[[Any], bytes]) -> bytes:
    """The JSON of an object, as `encode` makes it, with whole floats as integers: Go's encoder
    writes 100.0 as ``100``, and its readers see an integer."""
    data = encode(obj)
    if _PARTS[0] not in data and _PARTS[1] not in data:
        return data
    if not any(suspect in data for suspect in _SUSPECTS):
        return data
    return msgspec.json.encode(with_integers(msgspec.json.decode(data)))


def with_integers(value: Any) -> Any:
    """A plain value, in which whole floats have become integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _MOST else value
    if isinstance(value, dict):
        return {key: with_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_integers(item) for item in value]
    return value
