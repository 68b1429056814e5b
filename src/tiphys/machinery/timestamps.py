"""Times as the API writes them: RFC 3339 in UTC, whole seconds or microseconds."""

from __future__ import annotations

import datetime
import email.utils
import functools

from tiphys.machinery.remembered import remembered

_LONGEST = 64  # characters of a time


def rfc3339(seconds: float) -> str:
    """``2026-01-02T03:04:05Z`` of seconds since the epoch. Raises ValueError or OverflowError for
    years that there are not."""
    return _second(int(seconds))


@functools.lru_cache(64)
def _second(seconds: int) -> str:
    return (
        _moment(seconds).isoformat(timespec="seconds") + "Z"
    )  # strftime forgets the zeros of early years


def rfc3339_micro(seconds: float, micros: int = 0) -> str:
    """``2026-01-02T03:04:05.000006Z``. `micros` are counted on top: a float cannot hold those of a
    time far away."""
    moment = _moment(seconds) + datetime.timedelta(microseconds=micros)
    return moment.isoformat(timespec="microseconds") + "Z"


def rfc1123(seconds: float) -> str:
    """``Fri, 02 Jan 2026 03:04:05 +0000``, as some of upstream's messages have it."""
    return email.utils.format_datetime(_moment(seconds).replace(tzinfo=datetime.UTC))


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


def parse(text: str | None) -> float:
    """Seconds since the epoch; 0.0 for no time or one that cannot be read."""
    return _parsed(text) if text else 0.0


@remembered(4096, _LONGEST)
def _parsed(text: str) -> float:
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def split(text: str) -> tuple[int, int]:
    """(seconds since the epoch, microseconds) of a time."""
    moment = datetime.datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()), moment.microsecond


__all__ = ["parse", "rfc1123", "rfc3339", "rfc3339_micro", "split"]
