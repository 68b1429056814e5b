"""Cron schedules: five fields or a word, in a time zone; which minute comes next. The rules are
those of robfig/cron v3, by which Kubernetes reads them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import NamedTuple
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
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of the months
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _DAYS),
)


class ScheduleError(ValueError):
    """The text is no schedule; the message says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sets of allowed values. `any_day` and `any_weekday`: the field has a star without a step. A
    day fits when both its number and its weekday do; if neither field has a star, one is enough."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    every: int = 0  # seconds, of "@every 5m"

    def fits(self, day: datetime.date) -> bool:
        """Whether it is one of its days."""
        of_month = day.day in self.days
        of_week = day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week

    def after(self, moment: float, zone: datetime.tzinfo) -> float | None:
        """The first scheduled second after `moment` (both seconds since the epoch), None within
        five years."""
        if self.every:
            return float(int(moment) + self.every)
        if not self._can_strike():
            return None
        search = _Search(self, zone, int(moment // 1) + 1)
        last_year = search.wall.year + 5
        while search.wall.year <= last_year:
            if not search.steps_over():
                return float(search.timestamp)
        return None

    def _can_strike(self) -> bool:
        """Whether there is such a day at all: to find none takes a search through five years."""
        if not all((self.minutes, self.hours, self.days, self.months, self.weekdays)):
            return False
        if not (self.any_day or self.any_weekday):
            return True
        return any(min(self.days) <= _LONGEST[month - 1] for month in self.months)


class _Search:
    """Goes on from second to second, by whole months, days, hours and minutes where they do not
    fit, as upstream does. Where a zone turns its clocks, that decides which hours come twice and
    which never: an hour that is repeated is scheduled twice, one that is left out is not."""

    def __init__(self, schedule: Schedule, zone: datetime.tzinfo, start: int) -> None:
        self._schedule = schedule
        self._zone = zone
        self._has_moved = False  # after which the units below the current step are at their start
        self.timestamp = start
        self.wall = datetime.datetime.fromtimestamp(start, zone)

    def steps_over(self) -> bool:
        """Whether it has reached the start of a larger unit, where all fields are to be checked
        again."""
        return self._months() or self._days() or self._hours() or self._minutes() or self._seconds()

    def _months(self) -> bool:
        while self.wall.month not in self._schedule.months:
            self._begin(self.wall.year, self.wall.month)
            years, month = divmod(self.wall.month, 12)
            self._go(self._on(self.wall.year + years, month + 1, 1, self.wall.hour))
            if self.wall.month == 1:
                return True
        return False

    def _days(self) -> bool:
        while not self._schedule.fits(self.wall):
            self._begin(self.wall.year, self.wall.month, self.wall.day)
            day = self.wall.date() + datetime.timedelta(days=1)
            self._go(self._on(day.year, day.month, day.day, self.wall.hour))
            hour = self.wall.hour
            if hour:  # there is no midnight that day
                self._go(self.timestamp + 3600 * (24 - hour if hour > 12 else -hour))
            if self.wall.day == 1:
                return True
        return False

    def _hours(self) -> bool:
        while self.wall.hour not in self._schedule.hours:
            self._begin(self.wall.year, self.wall.month, self.wall.day, self.wall.hour)
            self._go(self.timestamp + 3600)
            if self.wall.hour == 0:
                return True
        return False

    def _minutes(self) -> bool:
        while self.wall.minute not in self._schedule.minutes:
            self._has_moved = True
            self._go(self.timestamp - self.timestamp % 60 + 60)
            if self.wall.minute == 0:
                return True
        return False

    def _seconds(self) -> bool:
        if self.timestamp % 60 == 0:
            return False
        self._has_moved = True
        self._go(self.timestamp - self.timestamp % 60 + 60)
        return True

    def _begin(self, year: int, month: int, day: int = 1, hour: int = 0) -> None:
        if not self._has_moved:
            self._has_moved = True
            self._go(self._on(year, month, day, hour))

    def _go(self, timestamp: int) -> None:
        self.timestamp = timestamp
        self.wall = datetime.datetime.fromtimestamp(timestamp, self._zone)

    def _on(self, year: int, month: int, day: int, hour: int) -> int:
        """When the zone's clocks show that. Of a time that they show twice, or never, the one that
        Go's `time.Date` has."""
        shown = datetime.datetime(year, month, day, hour, tzinfo=datetime.UTC)
        seconds = int(shown.timestamp())
        guess = seconds - self._offset(seconds)
        return seconds - self._offset(guess)

    def _offset(self, timestamp: int) -> int:
        offset = datetime.datetime.fromtimestamp(timestamp, self._zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())


@remembered(2048)
def parse_schedule(text: str) -> Schedule:
    """A schedule. Raises ScheduleError in words for the user."""
    if not text:
        raise ScheduleError("empty spec string")
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
    fields = [_field(part, *_FIELDS[n][1:]) for n, part in enumerate(parts)]
    minutes, hours, days, months, weekdays = (field.values for field in fields)
    return Schedule(minutes, hours, days, months, weekdays, fields[2].has_star, fields[4].has_star)


class _Field(NamedTuple):
    values: frozenset[int]
    has_star: bool


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> _Field:
    values: set[int] = set()
    has_star = False
    for part in text.split(","):
        if not part:
            continue  # "1,,2" is "1,2"
        body, *steps = part.split("/")
        first, last, is_star = _range(body, low, high, names)
        step = 1
        if len(steps) > 1:
            raise ScheduleError(f"too many slashes: {part}")
        if steps:
            step = _number(steps[0], ())
            last = high if "-" not in body else last
        _check_range(part, first, last, step, low, high)
        values.update(range(first, last + 1, step))
        has_star = has_star or (is_star and step == 1)
    return _Field(frozenset(values), has_star)


def _range(body: str, low: int, high: int, names: tuple[str, ...]) -> tuple[int, int, bool]:
    """(first, last, whether it is a star)."""
    start, *ends = body.split("-")
    if start in ("*", "?"):
        return low, high, True
    first = _number(start, names)
    if len(ends) > 1:
        raise ScheduleError(f"too many hyphens: {body}")
    return first, _number(ends[0], names) if ends else first, False


def _check_range(part: str, first: int, last: int, step: int, low: int, high: int) -> None:
    """Raises ScheduleError."""
    if first < low:
        raise ScheduleError(f"beginning of range ({first}) below minimum ({low}): {part}")
    if last > high:
        raise ScheduleError(f"end of range ({last}) above maximum ({high}): {part}")
    if first > last:
        raise ScheduleError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {part}")


def _number(text: str, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    if lowered in names:
        return names.index(lowered) + (1 if names is _MONTHS else 0)
    digits = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ScheduleError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    value = int(text[:20])
    if not -(2**63) <= value < 2**63:
        raise ScheduleError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range'
        )
    if value < 0:
        raise ScheduleError(f"negative number ({value}) not allowed: {text}")
    return value


def zone_of(name: str | None) -> datetime.tzinfo:
    """A time zone by name; UTC without one. Raises ScheduleError."""
    if not name:
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"unknown time zone {name}") from None
