"""Windows of time, at their edges."""

from __future__ import annotations

import datetime

import pytest

from tiphys.machinery import cron
from tiphys.machinery.windows import is_open

EIGHT_HOURS = 8 * 3600.0


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-27T08:59:59", False),  # a Friday
        ("2026-11-27T09:00:00", True),
        ("2026-11-27T16:59:59", True),
        ("2026-11-27T17:00:00", False),
        ("2026-11-28T12:00:00", False),  # a Saturday
        ("2026-11-30T12:00:00", True),  # a Monday
    ],
)
def test_office_hours(when: str, expected: bool) -> None:
    assert is_open("0 9 * * mon-fri", EIGHT_HOURS, at(when)) is expected


def test_a_window_may_last_longer_than_until_the_next_one() -> None:
    assert all(is_open("@hourly", 5400, at(f"2026-11-27T{hour:02}:59:59")) for hour in range(24))


def test_a_window_over_midnight() -> None:
    assert is_open("0 22 * * *", EIGHT_HOURS, at("2026-11-28T05:59:59"))
    assert not is_open("0 22 * * *", EIGHT_HOURS, at("2026-11-28T06:00:00"))


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(cron.ScheduleError):
        is_open("60 9 * * *", EIGHT_HOURS, 0)
