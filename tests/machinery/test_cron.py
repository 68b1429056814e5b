from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

import pytest

from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of


def after(text: str, moment: str, zone: str = "") -> str:
    tz = zone_of(zone)
    found = parse_schedule(text).after(
        datetime.datetime.fromisoformat(moment).replace(tzinfo=tz).timestamp(), tz
    )
    assert found is not None
    return datetime.datetime.fromtimestamp(found, tz).isoformat(timespec="minutes")[:16]


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("* * * * *", "2026-01-01T10:00", "2026-01-01T10:01"),
        ("*/15 * * * *", "2026-01-01T10:14", "2026-01-01T10:15"),
        ("0 9-17/4 * * mon-fri", "2026-01-02T17:30", "2026-01-05T09:00"),
        ("30 4 1,15 * 5", "2026-01-01T05:00", "2026-01-02T04:30"),
        ("0 0 29 feb *", "2026-03-01T00:00", "2028-02-29T00:00"),
        ("@daily", "2026-01-01T10:00", "2026-01-02T00:00"),
        ("0 0 * * 0", "2026-01-01T00:00", "2026-01-04T00:00"),
        # a star with a step restricts its field: either the day or the weekday is enough
        ("0 0 */10 * fri", "2026-01-01T12:00", "2026-01-02T00:00"),
        ("0 0 * * fri", "2026-01-02T12:00", "2026-01-09T00:00"),
    ],
)
def test_the_next_time(text: str, moment: str, expected: str) -> None:
    assert after(text, moment) == expected


def test_an_hour_that_comes_twice_is_scheduled_twice() -> None:
    zone = zone_of("Europe/Berlin")
    first = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=zone).timestamp()
    half_past = parse_schedule("30 * * * *")
    assert half_past.after(first - 1, zone) == first
    assert half_past.after(first, zone) == first + 3600
    assert parse_schedule("30 2 * * *").after(first, zone) == first + 3600


GOLDENS = Path(__file__).parent / "goldens" / "cron.jsonl"
"""Schedule, zone, moment, and what robfig/cron v3 says: the next time, null for never, or what is
wrong with the schedule."""


def test_the_original_says_the_same() -> None:
    for line in GOLDENS.read_text().splitlines():
        text, zone, moment, expected = json.loads(line)
        found: float | str | None
        try:
            found = parse_schedule(text).after(moment, zone_of(zone))
        except ScheduleError as error:
            found = str(error)
        assert found == expected, line


@pytest.mark.parametrize("text", [", * * * *", "0 0 31 2 *", "0 0 30 feb *", "* * 31 4,6,9,11 *"])
def test_what_never_comes_is_known_at_once(text: str) -> None:
    schedule = parse_schedule(text)
    began = time.process_time()
    assert all(schedule.after(0.0, datetime.UTC) is None for _ in range(100))
    assert time.process_time() - began < 0.5  # a look at five years takes 10 ms


def test_a_time_zone_counts() -> None:
    assert (
        after("30 2 * * *", "2026-03-29T00:00", "Europe/Berlin") == "2026-03-30T02:30"
    )  # 02:30 is skipped that day
    assert parse_schedule("0 9 * * *").after(0, zone_of("Asia/Tokyo")) == 24 * 3600


@pytest.mark.parametrize(
    "text",
    ["* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "5-1 * * * *", "@often", "0 0 * * 7"],
)
def test_bad_schedules_are_told(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


def test_unknown_zones_are_told() -> None:
    with pytest.raises(ScheduleError, match="unknown time zone"):
        zone_of("Mars/Base")
