"""Numbers as Go reads them (`strconv.ParseFloat`), by whose rules users' manifests are written: no
spaces around them, hexadecimal ones, and digits that underscores separate. Pure."""

from __future__ import annotations

import math
import re

_DIGITS = r"[0-9](?:_?[0-9])*"
_HEX_DIGITS = r"[0-9a-fA-F](?:_?[0-9a-fA-F])*"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(
    rf"[+-]?0[xX]_?(?:{_HEX_DIGITS}\.?(?:{_HEX_DIGITS})?|\.{_HEX_DIGITS})[pP][+-]?{_DIGITS}"
)
_NAMED = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE)


def parse_float(text: str) -> float:
    """Raises ValueError with Go's words."""
    if _NAMED.fullmatch(text):
        return float(text)
    value = math.inf
    try:
        if _HEXADECIMAL.fullmatch(text):
            value = float.fromhex(text.replace("_", ""))
        elif _DECIMAL.fullmatch(text):
            value = float(text)
        else:
            raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    except OverflowError:
        pass
    if math.isinf(value):
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value
