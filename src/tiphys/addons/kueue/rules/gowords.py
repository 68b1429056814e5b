"""Texts that Kueue parses as Go does: their values, or Go's error messages."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_LONGEST = 20  # characters of a number of 64 bits


class WordError(ValueError):
    """The text is no such value; Go's words."""


def integer(text: str, bits: int = 64, function: str = "Atoi") -> int:
    """Raises WordError."""
    if not _INTEGER.match(text):
        raise WordError(f'strconv.{function}: parsing "{text}": invalid syntax')
    value = int(text) if len(text) <= _LONGEST else 1 << bits
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise WordError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def boolean(text: str) -> bool:
    """Raises WordError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise WordError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
