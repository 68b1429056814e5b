"""Since when a node is below its thresholds, and until when."""

from __future__ import annotations

import pytest

from tiphys.node.resources.pressure import Observed, Threshold, parse_thresholds
from tiphys.node.resources.thresholds import Thresholds, thresholds_of

HARD = parse_thresholds("memory.available<100")


def left(amount: int, signal: str = "memory.available") -> dict[str, Observed]:
    return {signal: Observed(amount, 1000)}


def signals(thresholds: list[Threshold]) -> list[str]:
    return [one.signal for one in thresholds]


@pytest.mark.parametrize(
    ("available", "expected"), [(99, True), (100, False), (101, False), (0, True)]
)
def test_a_threshold_is_crossed_below_it(available: int, expected: bool) -> None:
    thresholds = Thresholds(HARD)
    assert bool(thresholds.observe(left(available), 0).due) is expected
    assert thresholds.observe(left(0, "nodefs.available"), 0).due == []


def test_memory_comes_before_disks() -> None:
    thresholds = parse_thresholds("pid.available<9,nodefs.available<9,memory.available<9")
    observed = {threshold.signal: Observed(1, 10) for threshold in thresholds}
    crossed = Thresholds(thresholds).observe(observed, 0)
    assert signals(crossed.due) == ["memory.available", "nodefs.available", "pid.available"]


def soft(grace: float, amount: str = "200") -> tuple[Threshold, ...]:
    found = parse_thresholds(f"memory.available<{amount}")
    return thresholds_of((), found, {"memory.available": grace}, ())


def test_a_soft_threshold_counts_after_its_grace_period() -> None:
    thresholds = Thresholds(soft(30))
    shown = []
    for now, amount in ((0, 150), (29, 150), (30, 150), (40, 250), (50, 150), (79, 150), (80, 150)):
        crossed = thresholds.observe(left(amount), now)
        shown.append((bool(crossed.all), bool(crossed.due)))
    below, due, over = (True, False), (True, True), (False, False)
    assert shown == [below, below, due, over, below, below, due]


def test_the_hard_one_of_two_counts_first() -> None:
    thresholds = Thresholds([*soft(0), *HARD])
    [first, second] = thresholds.observe(left(50), 0).due
    assert (first.is_soft, second.is_soft) == (False, True)
    [only] = thresholds.observe(left(150), 1).due
    assert only.is_soft


def test_what_is_reclaimed_at_least_must_be_there_before_it_is_over() -> None:
    thresholds = Thresholds(thresholds_of(HARD, (), {}, parse_thresholds("memory.available<10%")))
    due = [bool(thresholds.observe(left(each), 0).due) for each in (150, 90, 150, 199, 200, 150)]
    assert due == [False, True, True, True, False, False]


def test_a_soft_threshold_needs_a_grace_period() -> None:
    with pytest.raises(ValueError, match="grace period must be specified for the soft eviction"):
        thresholds_of((), HARD, {}, ())
