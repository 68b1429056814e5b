"""Times as Go reads them from JSON, and why one cannot be read, in the words of its package `time`.

`metav1.Time` and `metav1.MicroTime` parse RFC 3339 and are kept in UTC, in whole seconds or in
microseconds.
"""

from __future__ import annotations

import datetime
import functools
import re
from typing import NamedTuple

_TIME = "2006-01-02T15:04:05Z07:00"
_MICRO_TIME = "2006-01-02T15:04:05.000000Z07:00"
_SECOND = r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_CANONICAL = re.compile(_SECOND + "Z", re.ASCII)
_CANONICAL_MICRO = re.compile(_SECOND + r"\.\d{6}Z", re.ASCII)
_REMEMBERED = 64  # characters: longer texts are no times


class _Element(NamedTuple):
    """A part of a layout: how it is written there, what it looks like, and the least and the most
    that its number may be."""

    layout: str
    pattern: re.Pattern[str]
    name: str = ""
    least: int = 0
    most: int = 0


def _element(layout: str, pattern: str, *rest: object) -> _Element:
    return _Element(layout, re.compile(pattern, re.ASCII), *rest)  # type: ignore[arg-type]


_PARTS = (
    _element("2006", r"\d{4}", "year", 1, 9999),  # Go has a year 0, Python none
    _element("-", "-"),
    _element("01", r"\d\d", "month", 1, 12),
    _element("-", "-"),
    _element("02", r"\d\d", "day", 0, 99),  # the length of the month is checked last
    _element("T", "T"),
    _element("15", r"\d\d?", "hour", 0, 23),
    _element(":", ":"),
    _element("04", r"\d\d", "minute", 0, 59),
    _element(":", ":"),
    _element("05", r"\d\d", "second", 0, 59),
)
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_SIX_DIGITS = re.compile(r"[.,](\d{6})", re.ASCII)
_ZONE = re.compile(r"Z|([+-])(\d\d):(\d\d)", re.ASCII)


def canonical_time(text: str) -> str:
    """``2026-01-02T03:04:05Z`` of any time in RFC 3339. Raises ValueError in Go's words."""
    return text if _CANONICAL.fullmatch(text) else _canonical(text, False)


def canonical_micro_time(text: str) -> str:
    """``2026-01-02T03:04:05.000006Z``. Raises ValueError in Go's words."""
    return text if _CANONICAL_MICRO.fullmatch(text) else _canonical(text, True)


def _canonical(text: str, micro: bool) -> str:
    return (_remembered if len(text) <= _REMEMBERED else _parsed)(text, micro)


def _parsed(text: str, micro: bool) -> str:
    layout = _MICRO_TIME if micro else _TIME
    numbers, rest = _numbers(text, layout)
    fraction, rest = _fraction(text, rest, micro)
    zone = _ZONE.match(rest)
    if zone is None:
        raise _unfit(text, layout, rest, "Z07:00")
    if zone.end() < len(rest):
        raise ValueError(f"parsing time {_quoted(text)}: extra text: {_quoted(rest[zone.end() :])}")
    try:
        moment = datetime.datetime(*numbers)  # type: ignore[arg-type]
    except ValueError:
        raise _out_of_range(text, "day") from None
    try:
        shown = (moment - _offset(text, zone)).isoformat(timespec="seconds")
    except OverflowError:
        raise _out_of_range(text, "year") from None
    return f"{shown}.{fraction}Z" if micro else f"{shown}Z"


_remembered = functools.lru_cache(1024)(_parsed)


def _numbers(text: str, layout: str) -> tuple[list[int], str]:
    """Year to second, and what stands behind them."""
    numbers = []
    rest = text
    for part in _PARTS:
        match = part.pattern.match(rest)
        if match is None:
            raise _unfit(text, layout, rest, part.layout)
        rest = rest[match.end() :]
        if part.name:
            number = int(match[0])
            if not part.least <= number <= part.most:
                raise _out_of_range(text, part.name)
            numbers.append(number)
    return numbers, rest


def _fraction(text: str, rest: str, micro: bool) -> tuple[str, str]:
    """The digits of a second's fraction, and what stands behind them. Of a time in seconds there
    may be any number, of one in microseconds there are six."""
    match = (_SIX_DIGITS if micro else _FRACTION).match(rest)
    if match is not None:
        return match[1], rest[match.end() :]
    if micro:
        raise _unfit(text, _MICRO_TIME, rest, ".000000")
    return "", rest


def _offset(text: str, zone: re.Match[str]) -> datetime.timedelta:
    if zone[0] == "Z":
        return datetime.timedelta()
    hours = int(zone[2])
    minutes = int(zone[3])
    if hours > 24:
        raise _out_of_range(text, "time zone offset hour")
    if minutes > 60:
        raise _out_of_range(text, "time zone offset minute")
    size = datetime.timedelta(hours=hours, minutes=minutes)
    return -size if zone[1] == "-" else size


def _unfit(text: str, layout: str, rest: str, element: str) -> ValueError:
    shown = f'parsing time {_quoted(text)} as "{layout}"'
    return ValueError(f'{shown}: cannot parse {_quoted(rest)} as "{element}"')


def _out_of_range(text: str, part: str) -> ValueError:
    return ValueError(f"parsing time {_quoted(text)}: {part} out of range")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
