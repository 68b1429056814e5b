"""Parts of times and spans."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    CelError,
)


def _zone(name: str) -> datetime.tzinfo:
    if not name:
        return datetime.UTC
    match = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name)
    if match:
        span = datetime.timedelta(hours=int(match[2]), minutes=int(match[3]))
        return datetime.timezone(-span if match[1] == "-" else span)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CelError(f"unknown time zone {name}") from None


def _part(
    of_time: Callable[[datetime.datetime], int], of_span: Callable[[float], int] | None = None
) -> Function:
    def read(value: Any, zone: str = "UTC") -> int:
        if isinstance(value, datetime.timedelta):
            if of_span is None:
                raise CelError("no such overload")
            return of_span(value.total_seconds())
        return of_time(value.astimezone(datetime.UTC if zone == "UTC" else _zone(zone)))

    return read


METHODS: dict[str, Function] = {
    "getFullYear": _part(lambda t: t.year),
    "getMonth": _part(lambda t: t.month - 1),
    "getDate": _part(lambda t: t.day),
    "getDayOfMonth": _part(lambda t: t.day - 1),
    "getDayOfWeek": _part(lambda t: t.isoweekday() % 7),
    "getDayOfYear": _part(lambda t: t.timetuple().tm_yday - 1),
    "getHours": _part(lambda t: t.hour, lambda s: int(s / 3600)),
    "getMinutes": _part(lambda t: t.minute, lambda s: int(s / 60)),
    "getSeconds": _part(lambda t: t.second, lambda s: int(s)),
    "getMilliseconds": _part(lambda t: t.microsecond // 1000, lambda s: int(s * 1000)),
}
