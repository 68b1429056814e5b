"""How many replicas metrics call for."""

from __future__ import annotations

import pytest

from tiphys.api import autoscaling_v2
from tiphys.controllers.autoscaling import (
    PodView,
    Tolerance,
    average_replicas,
    ratio_replicas,
    tolerance_of,
    value_replicas,
)


def pods(*values: int | None, request: int = 100, ready: bool = True) -> list[PodView]:
    return [PodView(value, request, ready) for value in values]


@pytest.mark.parametrize(
    ("ratio", "covered"),
    [(0.89, False), (0.9, True), (1.0, True), (1.1, True), (1.11, False)],
)
def test_what_is_near_enough_is_left_alone(ratio: float, covered: bool) -> None:
    assert Tolerance().covers(ratio) is covered
    assert Tolerance(down=0.0, up=0.0).covers(1.0)


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [
        ((100, 100), 50, 4),
        ((25, 25), 50, 1),
        ((52, 48), 50, 2),
        ((55, 55), 50, 2),
        ((56, 56), 50, 3),
        ((90, 90, 90), 50, 6),
    ],
)
def test_utilization_moves_the_count(values: tuple[int, ...], target: int, wanted: int) -> None:
    found = ratio_replicas(pods(*values), len(values), target, True, Tolerance())
    assert found.replicas == wanted


@pytest.mark.parametrize(
    ("views", "target", "wanted"),
    [
        (pods(100, None), 50, 2),  # would be 4 if the missing one were alike
        (pods(10, None), 50, 2),  # and is no reason to shrink
        (pods(300, None), 50, 6),
        (pods(100) + pods(100, ready=False), 50, 2),
        (pods(10) + pods(100, ready=False), 50, 1),  # what is not ready does not keep it
        (pods(100, None), 200, 2),  # missing ones use what they may
        (pods(10, 10, None), 150, 2),
    ],
)
def test_pods_without_metrics_dampen(views: list[PodView], target: int, wanted: int) -> None:
    found = ratio_replicas(views, len(views), target, True, Tolerance())
    assert found.replicas == wanted


def test_averages_are_compared_without_requests() -> None:
    found = ratio_replicas(pods(400, 200, request=0), 2, 150, False, Tolerance())
    assert (found.replicas, found.usage.average, found.usage.percent) == (4, 300, 0)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (pods(None), "pods might be unready"),
        (pods(5, ready=False), "pods might be unready"),
        (pods(5, request=0), "no metrics returned matched known pods"),
    ],
)
def test_without_metrics_nothing_is_said(views: list[PodView], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_replicas(views, 1, 50, True, Tolerance())


@pytest.mark.parametrize(
    ("value", "current", "target", "ready", "wanted"),
    [
        (20, 3, 10, 3, 6),
        (105, 3, 100, 3, 3),
        (20, 3, 10, 2, 4),  # of three replicas two do the work
        (5, 0, 10, 0, 1),
        (25, 0, 10, 0, 3),
        (0, 0, 10, 0, 0),
        (1 << 60, 3, 1, 3, (1 << 31) - 1),
    ],
)
def test_one_value_for_all(value: int, current: int, target: int, ready: int, wanted: int) -> None:
    assert value_replicas(value, current, target, ready, Tolerance()) == wanted


@pytest.mark.parametrize(
    ("value", "present", "wanted"), [(100, 3, 5), (63, 3, 3), (67, 3, 4), (40, 0, 2)]
)
def test_one_value_that_is_shared(value: int, present: int, wanted: int) -> None:
    assert average_replicas(value, present, 20, Tolerance()) == wanted


def test_a_behavior_says_what_is_near_enough() -> None:
    hpa = autoscaling_v2.HorizontalPodAutoscaler()
    assert tolerance_of(hpa) == Tolerance(down=0.1, up=0.1)
    rules = autoscaling_v2.HPAScalingRules(tolerance="0.5")  # type: ignore[arg-type]
    hpa.spec.behavior = autoscaling_v2.HorizontalPodAutoscalerBehavior(scale_up=rules)
    assert tolerance_of(hpa) == Tolerance(down=0.1, up=0.5)
    found = [value_replicas(value, 3, 10, 3, tolerance_of(hpa)) for value in (14, 8, 16)]
    assert found == [3, 3, 5]
