"""Durations: read in Go's syntax (``1h30m``, ``250ms``), and shown as kubectl shows an age."""

from __future__ import annotations

import datetime
import re

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # the micro sign
    "μs": 1e-6,  # the Greek letter
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_LONGEST = (2**63 - 1) / 10**9  # seconds: Go counts nanoseconds in an int64
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
# Characters. Go reads any number of them; each `1h` of a megabyte takes its microsecond, and a
# request's `timeout` is read before the request is authenticated.
_MOST = 256
_UNIT = re.compile(r"[^.0-9]*")


class DurationError(ValueError):
    """A text that is no duration. Its message is the one of Go's `time.ParseDuration`."""


def parse(text: str) -> datetime.timedelta:
    """The duration that a text says: an optional sign, then numbers with a unit each, or ``0``.

    Raises DurationError. What is finer than a microsecond is rounded.
    """
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return datetime.timedelta()
    if not unsigned or len(unsigned) > _MOST:
        raise DurationError(f'time: invalid duration "{text}"')
    seconds = 0.0
    position = 0
    while position < len(unsigned):
        number = _NUMBER.match(unsigned, position)
        if number is None:
            raise DurationError(f'time: invalid duration "{text}"')
        unit = _UNIT.match(unsigned, number.end())
        if unit is None or not unit[0]:
            raise DurationError(f'time: missing unit in duration "{text}"')
        if unit[0] not in _UNITS:
            raise DurationError(f'time: unknown unit "{unit[0]}" in duration "{text}"')
        seconds += float(number[0]) * _UNITS[unit[0]]
        position = unit.end()
    if seconds > _LONGEST:
        raise DurationError(f'time: invalid duration "{text}"')
    return datetime.timedelta(seconds=-seconds if text[0] == "-" else seconds)


def seconds(text: str) -> float:
    """As `parse`, in seconds."""
    return parse(text).total_seconds()


def go_text(seconds: float) -> str:
    """Whole seconds as Go prints them: ``10s``, ``2m40s``, ``1h0m10s``."""
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def human(seconds: float) -> str:
    """A duration as kubectl's AGE column shows it: ``45s``, ``3m5s``, ``2h``, ``5d``."""
    whole_seconds = int(seconds)
    if whole_seconds < -1:
        return "<invalid>"
    if whole_seconds < 0:
        return "0s"
    if whole_seconds < 120:
        return f"{whole_seconds}s"
    minutes = whole_seconds // 60
    if minutes < 10:
        return _two_units(minutes, "m", whole_seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = whole_seconds // 3600
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return _two_units(years, "y", days % 365, "d")
    return f"{years}y"


def _two_units(count: int, unit: str, rest: int, smaller: str) -> str:
    return f"{count}{unit}{rest}{smaller}" if rest else f"{count}{unit}"
