from __future__ import annotations

import datetime

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
        ("0 0 * * 7", "2026-01-01T00:00", "2026-01-04T00:00"),
    ],
)
def test_the_next_time(text: str, moment: str, expected: str) -> None:
    assert after(text, moment) == expected


def test_a_time_zone_counts() -> None:
    assert (
        after("30 2 * * *", "2026-03-29T00:00", "Europe/Berlin") == "2026-03-30T02:30"
    )  # 02:30 is skipped that day
    assert parse_schedule("0 9 * * *").after(0, zone_of("Asia/Tokyo")) == 24 * 3600


@pytest.mark.parametrize(
    "text", ["* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "5-1 * * * *", "@often"]
)
def test_bad_schedules_are_told(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


def test_unknown_zones_are_told() -> None:
    with pytest.raises(ScheduleError, match="unknown time zone"):
        zone_of("Mars/Base")
