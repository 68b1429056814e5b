"""Cron schedules: five fields or a word, in a time zone; which minute comes next."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tiphys.machinery import durations
from tiphys.machinery.remembered import remembered

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)


class ScheduleError(ValueError):
    """The text is no schedule; it says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sets of allowed values. A day fits when the day of the month or, if both are restricted, the
    weekday does."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    every: int = 0  # seconds, of "@every 5m"

    def _day_fits(self, day: datetime.date) -> bool:
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week

    def after(
        self, moment: float, zone: datetime.tzinfo, until: float | None = None
    ) -> float | None:
        """The first scheduled second after `moment` (both seconds since the epoch), None within
        five years, or within the days up to `until`."""
        if self.every:
            return float(int(moment) + self.every)
        local = datetime.datetime.fromtimestamp(moment, zone)
        day = local.date()
        last = datetime.datetime.fromtimestamp(until, zone).date() if until is not None else None
        for _ in range(366 * 5):
            if last is not None and day > last:
                return None
            if day.month in self.months and self._day_fits(day):
                found = self._in_day(day, moment, zone)
                if found is not None:
                    return found
            day += datetime.timedelta(days=1)
        return None

    def _in_day(self, day: datetime.date, moment: float, zone: datetime.tzinfo) -> float | None:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                at = datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                stamp = at.timestamp()
                # An hour that summer time skips does not exist that day.
                back = datetime.datetime.fromtimestamp(stamp, zone)
                if stamp > moment and (back.hour, back.minute) == (hour, minute):
                    return stamp
        return None


@remembered(2048)
def parse_schedule(text: str) -> Schedule:
    """A schedule. Raises ScheduleError in words for the user."""
    text = text.strip()
    if text.startswith("@every "):
        try:
            seconds = int(durations.seconds(text[7:].strip()))
        except durations.DurationError as error:
            raise ScheduleError(f"failed to parse duration {text}: {error}") from None
        nothing: frozenset[int] = frozenset()
        return Schedule(nothing, nothing, nothing, nothing, nothing, True, True, max(seconds, 1))
    if text.startswith("@"):
        if text not in _WORDS:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    parts = text.split()
    if len(parts) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    sets = [_field(part, *_FIELDS[n][1:]) for n, part in enumerate(parts)]
    weekdays = frozenset(0 if day == 7 else day for day in sets[4])
    return Schedule(
        sets[0], sets[1], sets[2], sets[3], weekdays, parts[2][0] in "*?", parts[4][0] in "*?"
    )


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        body, slash, step_text = part.partition("/")
        step = _number(step_text, ()) if slash else 1
        if step <= 0:
            raise ScheduleError(f"step of range should be a positive number: {part}")
        if body in ("*", "?"):
            first, last = low, high if high != 7 else 6
        else:
            start, dash, end = body.partition("-")
            first = _number(start, names)
            last = _number(end, names) if dash else high if slash else first
        if first < low:
            raise ScheduleError(f"beginning of range ({first}) below minimum ({low}): {part}")
        if last > high:
            raise ScheduleError(f"end of range ({last}) above maximum ({high}): {part}")
        if first > last:
            raise ScheduleError(
                f"beginning of range ({first}) beyond end of range ({last}): {part}"
            )
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    if lowered in names:
        return names.index(lowered) + (1 if names is _MONTHS else 0)
    if not (text.isascii() and text.isdigit()):
        raise ScheduleError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    return int(text)


def zone_of(name: str | None) -> datetime.tzinfo:
    """A time zone by name; UTC without one. Raises ScheduleError."""
    if not name:
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"unknown time zone {name}") from None
