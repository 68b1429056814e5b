"""The arithmetic of horizontal pod autoscalers."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.controllers.autoscaling import (
    Bounded,
    MetricError,
    PodView,
    Record,
    Tolerance,
    bounded,
    ratio_replicas,
    tolerance_of,
    value_replicas,
)


def pods(*values: int | None, request: int = 100, ready: bool = True) -> list[PodView]:
    return [PodView(value, request, ready) for value in values]


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [((100, 100), 50, 4), ((25, 25), 50, 1), ((52, 48), 50, 2), ((54, 54), 50, 2), ((90, 90, 90), 50, 6)],
)
def test_utilization_moves_the_count(values: tuple[int, ...], target: int, wanted: int) -> None:
    assert ratio_replicas(pods(*values), len(values), target, True, Tolerance())[0] == wanted


def test_pods_without_metrics_dampen() -> None:
    assert ratio_replicas(pods(100, None), 2, 50, True, Tolerance())[0] == 2  # would be 4 if the missing one were alike
    assert ratio_replicas(pods(10, None), 2, 50, True, Tolerance())[0] == 2  # and is no reason to shrink
    mixed = pods(100) + pods(100, ready=False)
    assert ratio_replicas(mixed, 2, 50, True, Tolerance())[0] == 2
    with pytest.raises(MetricError):
        ratio_replicas(pods(None), 1, 50, True, Tolerance())


def test_one_value_for_all() -> None:
    assert value_replicas(20, 3, 10, Tolerance()) == 6 and value_replicas(105, 3, 100, Tolerance()) == 3


def hpa(**spec: Any) -> autoscaling_v2.HorizontalPodAutoscaler:
    body = {"minReplicas": 1, "maxReplicas": 100, "scaleTargetRef": {"kind": "Deployment", "name": "x"}, **spec}
    return autoscaling_v2.HorizontalPodAutoscaler(spec=from_builtins(body, autoscaling_v2.HorizontalPodAutoscalerSpec))


def test_it_grows_no_faster_than_the_policies_allow() -> None:
    assert bounded(hpa(), 2, 50, Record(), 0) == Bounded(6, True, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")  # fmt: skip
    assert bounded(hpa(), 20, 50, Record(), 0).replicas == 40
    assert bounded(hpa(maxReplicas=3), 2, 50, Record(), 0).reason == "TooManyReplicas"
    rules = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    record = Record()
    assert bounded(hpa(behavior=rules), 2, 50, record, 0).replicas == 4
    record.ups.append((0, 2))
    assert bounded(hpa(behavior=rules), 4, 50, record, 30).replicas == 4
    assert bounded(hpa(behavior=rules), 4, 50, record, 61).replicas == 6


def test_it_shrinks_only_when_the_window_agrees() -> None:
    record = Record()
    assert bounded(hpa(), 10, 10, record, 0).replicas == 10
    assert bounded(hpa(), 10, 2, record, 60).replicas == 10
    assert bounded(hpa(), 10, 2, record, 301).replicas == 2
    quick = hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert bounded(quick, 10, 0, Record(), 0).reason == "TooFewReplicas"
    never = hpa(behavior={"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}})
    assert bounded(never, 10, 2, Record(), 0).replicas == 10


def test_a_behaviour_says_what_is_near_enough() -> None:
    hpa = autoscaling_v2.HorizontalPodAutoscaler()
    rules = autoscaling_v2.HPAScalingRules(tolerance="0.5")  # type: ignore[arg-type]
    hpa.spec.behavior = autoscaling_v2.HorizontalPodAutoscalerBehavior(scale_up=rules)
    assert tolerance_of(hpa) == Tolerance(down=0.1, up=0.5)
    assert value_replicas(14, 3, 10, tolerance_of(hpa)) == 3 and value_replicas(8, 3, 10, tolerance_of(hpa)) == 3
    assert value_replicas(16, 3, 10, tolerance_of(hpa)) == 5 and value_replicas(5, 0, 10, tolerance_of(hpa)) == 1
