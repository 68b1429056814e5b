"""Who has how long when a node shuts down."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.node.shutdown.periods import Period, grouped, parse_periods, periods_of, total

CRITICAL = 2_000_000_000


def test_the_last_part_of_the_time_is_for_critical_pods() -> None:
    periods = periods_of(30, 10)
    assert periods == (Period(0, 20), Period(CRITICAL, 10))
    assert total(periods) == 30
    assert periods_of(0, 0) == ()


@pytest.mark.parametrize(("whole", "critical"), [(1, 2), (0.5, 0), (5, 0.5)])
def test_times_that_do_not_fit_are_refused(whole: float, critical: float) -> None:
    with pytest.raises(ValueError, match="invalid configuration: shutdownGracePeriod"):
        periods_of(whole, critical)


def test_periods_are_read_by_rising_priority() -> None:
    rows = [
        {"priority": 100, "shutdownGracePeriodSeconds": 5},
        {"shutdownGracePeriodSeconds": 7},
    ]
    assert parse_periods(rows) == (Period(0, 7), Period(100, 5))


@pytest.mark.parametrize(
    "wrong", [{}, ["x"], [{"name": 1}], [{"priority": "1"}], [{"shutdownGracePeriodSeconds": -1}]]
)
def test_what_is_no_period_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"it is no list|each entry has|is no "):
        parse_periods(wrong)


@pytest.mark.parametrize(
    ("priority", "group"), [(-5, 0), (0, 0), (99, 0), (100, 1), (199, 1), (200, 2), (10**9, 2)]
)
def test_a_pod_is_in_the_group_at_or_below_its_priority(priority: int, group: int) -> None:
    groups = grouped((Period(0, 1), Period(100, 2), Period(200, 3)), [(priority, "p")])
    assert [len(pods) for _, pods in groups] == [int(index == group) for index in range(3)]
