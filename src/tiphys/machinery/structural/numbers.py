"""Numbers of custom objects as Go writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

# What msgspec writes for a float that may be whole: ``1.0`` before what ends a value, or with an
# exponent after what begins one.
_SUSPECT = re.compile(rb"\.0[],}]|[:\[,]-?\d[\d.]*e\d")
_MOST = 2**63  # from here on Go reads an integer as a float, too


def encoded(obj: Any, encode: Callable[[Any], bytes]) -> bytes:
    """The JSON of an object, as `encode` makes it, with whole floats as integers: Go's encoder
    writes 100.0 as ``100``, and it is an integer for whoever reads it then."""
    data = encode(obj)
    if _SUSPECT.search(data) is None:
        return data
    return msgspec.json.encode(with_integers(msgspec.json.decode(data)))


def with_integers(value: Any) -> Any:
    """A plain value, in which whole floats have become integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _MOST else value
    if isinstance(value, dict):
        return {key: with_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [with_integers(each) for each in value]
    return value
