"""The arithmetic of horizontal pod autoscalers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import deployment
from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.autoscaler import AutoscalerController
from tiphys.controllers.autoscaling import (
    FAST_UP,
    STABLE_DOWN,
    STABLE_UP,
    TOO_FEW,
    TOO_MANY,
    PodView,
    Record,
    Tolerance,
    average_replicas,
    bounded,
    ratio_replicas,
    tolerance_of,
    value_replicas,
)
from tiphys.controllers.metrics import shown
from tiphys.controllers.shell import Context
from tiphys.machinery import timestamps
from tiphys.testing import LocalCluster


def pods(*values: int | None, request: int = 100, ready: bool = True) -> list[PodView]:
    return [PodView(value, request, ready) for value in values]


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [
        ((100, 100), 50, 4),
        ((25, 25), 50, 1),
        ((52, 48), 50, 2),
        ((54, 54), 50, 2),
        ((90, 90, 90), 50, 6),
    ],
)
def test_utilization_moves_the_count(values: tuple[int, ...], target: int, wanted: int) -> None:
    assert ratio_replicas(pods(*values), len(values), target, True, Tolerance())[0] == wanted


def test_pods_without_metrics_dampen() -> None:
    assert (
        ratio_replicas(pods(100, None), 2, 50, True, Tolerance())[0] == 2
    )  # would be 4 if the missing one were alike
    assert (
        ratio_replicas(pods(10, None), 2, 50, True, Tolerance())[0] == 2
    )  # and is no reason to shrink
    mixed = pods(100) + pods(100, ready=False)
    assert ratio_replicas(mixed, 2, 50, True, Tolerance())[0] == 2
    assert (
        ratio_replicas(pods(100, None), 2, 200, True, Tolerance())[0] == 2
    )  # missing ones use what they may
    with pytest.raises(ValueError, match="pods might be unready"):
        ratio_replicas(pods(None), 1, 50, True, Tolerance())


def test_one_value_for_all() -> None:
    assert (
        value_replicas(20, 3, 10, 3, Tolerance()) == 6
        and value_replicas(105, 3, 100, 3, Tolerance()) == 3
    )
    assert value_replicas(20, 3, 10, 2, Tolerance()) == 4  # of three replicas two do the work
    assert (
        average_replicas(100, 3, 20, Tolerance()) == 5
        and average_replicas(63, 3, 20, Tolerance()) == 3
    )


def hpa(**spec: Any) -> autoscaling_v2.HorizontalPodAutoscaler:
    body = {
        "minReplicas": 1,
        "maxReplicas": 100,
        "scaleTargetRef": {"kind": "Deployment", "name": "x"},
        **spec,
    }
    return autoscaling_v2.HorizontalPodAutoscaler(
        spec=from_builtins(body, autoscaling_v2.HorizontalPodAutoscalerSpec)
    )


def test_it_grows_no_faster_than_the_policies_allow() -> None:
    assert bounded(hpa(), 1, 50, Record(), 0)[:2] == (4, FAST_UP)
    assert bounded(hpa(), 20, 50, Record(), 0).replicas == 40
    assert bounded(hpa(maxReplicas=3), 2, 50, Record(), 0).limit == TOO_MANY
    rules = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    record = Record()
    assert bounded(hpa(behavior=rules), 2, 50, record, 0).replicas == 4
    record.scaled(2, 0)
    assert bounded(hpa(behavior=rules), 4, 50, record, 30).replicas == 4
    assert bounded(hpa(behavior=rules), 4, 50, record, 61).replicas == 6


def test_what_was_taken_away_may_come_back_within_the_period() -> None:
    rules = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    record = Record()
    record.scaled(-3, 0)
    assert bounded(hpa(behavior=rules), 4, 50, record, 30).replicas == 9


def test_it_shrinks_only_when_the_window_agrees() -> None:
    record = Record()
    record.seen(10, 0)
    assert bounded(hpa(), 10, 2, record, 60) == (
        10,
        bounded(hpa(), 10, 10, Record(), 0).limit,
        STABLE_DOWN,
    )
    assert bounded(hpa(), 10, 2, record, 301).replicas == 2
    quick = hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert bounded(quick, 10, 0, Record(), 0).limit == TOO_FEW
    never = hpa(
        behavior={"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}
    )
    assert bounded(never, 10, 2, Record(), 0).replicas == 10


def test_it_grows_only_when_the_window_agrees() -> None:
    record = Record()
    record.seen(3, 0)
    slow = hpa(behavior={"scaleUp": {"stabilizationWindowSeconds": 100}})
    assert bounded(slow, 3, 6, record, 50)[::2] == (3, STABLE_UP)
    assert bounded(slow, 3, 6, record, 120).replicas == 6


def test_a_behaviour_says_what_is_near_enough() -> None:
    hpa = autoscaling_v2.HorizontalPodAutoscaler()
    rules = autoscaling_v2.HPAScalingRules(tolerance="0.5")  # type: ignore[arg-type]
    hpa.spec.behavior = autoscaling_v2.HorizontalPodAutoscalerBehavior(scale_up=rules)
    assert tolerance_of(hpa) == Tolerance(down=0.1, up=0.5)
    found = [value_replicas(value, 3, 10, 3, tolerance_of(hpa)) for value in (14, 8, 16)]
    assert found == [3, 3, 5] and value_replicas(5, 0, 10, 0, tolerance_of(hpa)) == 1


def test_selectors_are_shown_as_go_shows_them() -> None:
    assert shown(None) == "nil"
    one = LabelSelector(match_labels={"a": "b"})
    text = "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}"
    assert shown(one) == text


async def test_a_scaling_is_dated_when_it_has_been_written(server: LocalCluster) -> None:
    """A policy's period begins there: metrics that took long to fetch must not shorten it."""
    client = server.client
    await client.create(deployment("web", 1))
    hpa = autoscaling_v2.HorizontalPodAutoscaler(
        metadata=ObjectMeta(name="web", namespace="default")
    )
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 9}
    hpa.spec = from_builtins(spec, autoscaling_v2.HorizontalPodAutoscalerSpec)
    await client.create(hpa)
    moments = [1_700_000_000.0]

    class Slow(AutoscalerController):
        async def _rescale(self, *args: Any) -> None:
            await super()._rescale(*args)
            moments.append(moments[0] + 60)

    recorder = EventRecorder(client, "test")
    informers = Informers(client, server.tasks)
    context = Context(client, informers, recorder, server.tasks, lambda: moments[-1])
    controller = Slow(context)
    controller.watch()
    await informers.synced()
    await controller.reconcile("default/web")
    found = await client.get(autoscaling_v2.HorizontalPodAutoscaler, "web", "default")
    assert found.status.desired_replicas == 2
    assert found.status.last_scale_time == timestamps.rfc3339(1_700_000_060)
