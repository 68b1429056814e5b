"""How long containers wait between restarts, and between attempts to start them."""

from __future__ import annotations

import pytest

from tiphys.node.containers.backoff import (
    LIMIT,
    PULL_FIRST,
    RESTART_RESET,
    START_FIRST,
    RestartBackoff,
    StartBackoff,
)


def test_restarts_of_a_container_that_ends_at_once_wait_longer_each_time() -> None:
    backoff = RestartBackoff()
    waits = []
    now = 0.0
    for _ in range(7):
        waits.append(backoff.remaining(now, now))
        now += waits[-1]
        backoff.record_start(now)
    assert waits == [0, 10, 20, 40, 80, 160, 300]


@pytest.mark.parametrize(
    ("ran", "remaining"),
    [(0.0, 10.0), (RESTART_RESET, 10.0), (RESTART_RESET + 1, 0.0)],
)
def test_a_container_that_ran_for_long_does_not_wait(ran: float, remaining: float) -> None:
    backoff = RestartBackoff(delay=10.0, started_at=100.0)
    assert backoff.remaining(100.0 + ran, 100.0 + ran) == remaining


@pytest.mark.parametrize(
    ("ago", "remaining"), [(0.0, 40.0), (15.0, 25.0), (40.0, 0.0), (99.0, 0.0)]
)
def test_the_wait_counts_from_the_end_of_the_container(ago: float, remaining: float) -> None:
    backoff = RestartBackoff(delay=40.0, started_at=1000.0)
    assert backoff.remaining(1010.0, 1010.0 + ago) == remaining


@pytest.mark.parametrize(
    ("since_last_start", "delay"),
    [(RESTART_RESET + 40.0, 80.0), (RESTART_RESET + 41.0, 10.0)],
)
def test_the_delay_starts_over_after_a_long_run(since_last_start: float, delay: float) -> None:
    backoff = RestartBackoff(delay=40.0, started_at=0.0)
    backoff.record_start(since_last_start)
    assert (backoff.delay, backoff.started_at) == (delay, since_last_start)


@pytest.mark.parametrize(
    ("first", "delays"),
    [
        (START_FIRST, [2.0, 4.0, 8.0, 16.0]),
        (PULL_FIRST, [10.0, 20.0, 40.0, 80.0]),
    ],
)
def test_attempts_to_start_wait_twice_as_long_each_time(first: float, delays: list[float]) -> None:
    backoff = StartBackoff()
    seen = []
    for _ in delays:
        backoff.record_failure(50.0, first)
        seen.append(backoff.delay)
    assert seen == delays
    for _ in range(9):
        backoff.record_failure(50.0, first)
    assert backoff.delay == LIMIT


def test_an_attempt_may_be_made_when_the_delay_is_over() -> None:
    backoff = StartBackoff()
    assert backoff.remaining(0.0) == 0.0
    backoff.record_failure(100.0, PULL_FIRST)
    assert [backoff.remaining(now) for now in (100.0, 104.0, 110.0, 111.0)] == [10.0, 6.0, 0.0, 0.0]
    backoff.reset()
    assert backoff.remaining(100.0) == 0.0
