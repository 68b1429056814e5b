"""Which metrics of pods are believed, what pods request, and what a value calls for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.controllers.builders import NOW, running
from tests.controllers.metricbuilders import container, started, target
from tiphys.api import core_v1
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricTarget
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.controllers import metrics
from tiphys.controllers.metricsapis import Sample
from tiphys.controllers.metricvalues import (
    averaged,
    is_believed,
    request_of,
    shown,
    valued,
)


def pending() -> core_v1.Pod:
    made = started(900)
    made.status.phase = "Pending"
    return made


LATEST = Sample(1, NOW, 30)


@pytest.mark.parametrize(
    ("one", "sample", "name", "believed"),
    [
        (pending(), LATEST, "memory", False),
        (started(900, ready=False, ready_for=890), LATEST, "memory", True),
        (started(10, ready=False), None, "cpu", True),
        (started(900), LATEST, "cpu", True),
        (started(900, ready=False, ready_for=600), LATEST, "cpu", True),  # it was ready once
        (started(900, ready=False, ready_for=890), LATEST, "cpu", False),  # it never was
        (started(900, ready=None), LATEST, "cpu", False),
        (started(299, ready_for=40), LATEST, "cpu", True),
        (started(299, ready_for=20), LATEST, "cpu", False),  # measured while it was starting
        (started(299, ready_for=30), LATEST, "cpu", True),
        (started(299, ready=False, ready_for=40), LATEST, "cpu", False),
        (started(300, ready_for=20), LATEST, "cpu", True),
    ],
)
def test_the_cpu_of_a_pod_that_is_starting_says_little(
    one: core_v1.Pod, sample: Sample | None, name: str, believed: bool
) -> None:
    assert is_believed(one, sample, name, NOW) is believed


def test_a_pod_that_was_never_started_is_not_believed() -> None:
    assert not is_believed(running("p"), LATEST, "cpu", NOW)


SIDECAR = container("side", "50m", restartPolicy="Always")


@pytest.mark.parametrize(
    ("spec", "chosen", "amount"),
    [
        ({"containers": [container("a", "100m"), container("b", "1")]}, None, 1100),
        ({"containers": [container("a", "100m"), container("b", "1")]}, "a", 100),
        ({"containers": [container("a", "1")], "initContainers": [SIDECAR]}, None, 1050),
        ({"containers": [container("a", "1")], "initContainers": [SIDECAR]}, "side", 50),
        ({"containers": [container("a", "1")], "initContainers": [container("i")]}, None, 1000),
        ({"containers": [container("a")], "resources": {"requests": {"cpu": "2"}}}, None, 2000),
    ],
)
def test_what_runs_counts_as_requested(spec: dict[str, Any], chosen: str, amount: int) -> None:
    assert request_of(pod(**spec), chosen, "cpu") == amount


def test_amounts_are_in_thousandths() -> None:
    whole = pod(containers=[container("a")], resources={"requests": {"cpu": "2", "memory": "2"}})
    assert [request_of(whole, None, name) for name in ("cpu", "memory")] == [2000, 2000]


@pytest.mark.parametrize(
    ("spec", "chosen", "message"),
    [
        ({"containers": [container("a")]}, None, "missing request for cpu in container a of Pod p"),
        ({"containers": [container("a", "1")]}, "b", "container b not found in Pod p"),
        (
            {"containers": [container("a")], "resources": {"requests": {"memory": "1"}}},
            None,
            "missing pod-level request for cpu in Pod p",
        ),
    ],
)
def test_a_request_that_is_missing_is_named(
    spec: dict[str, Any], chosen: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        request_of(pod(**spec), chosen, "cpu")


def views(*pods: core_v1.Pod, known: str = "a") -> list[tuple[int | None, bool]]:
    samples = {name: Sample(7) for name in known}
    found = metrics.Metrics(None, None, lambda: NOW)  # type: ignore[arg-type]
    return [(v.value, v.ready) for v in found._views(list(pods), samples, "", lambda pod: 0)]


def test_pods_that_have_failed_or_go_do_not_count() -> None:
    failed, going = running("f"), running("g")
    failed.status.phase, going.metadata.deletion_timestamp = "Failed", "x"
    assert views(running("a"), failed, going, known="afg") == [(7, True)]
    assert views(running("a"), running("b")) == [(7, True), (None, True)]


@pytest.mark.parametrize(
    ("pods", "message"),
    [
        ([], "no pods returned by selector"),
        ([running("b")], "did not receive metrics for targeted pods"),
    ],
)
def test_without_a_metric_of_any_pod_there_is_none(pods: list[core_v1.Pod], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        views(*pods)


def test_a_value_is_weighed_against_what_does_the_work() -> None:
    hpa, wanted = HorizontalPodAutoscaler(), MetricTarget(value="10", average_value="10")  # type: ignore[arg-type]
    working = target(3, running("a"), running("b"), running("c", ready=False))
    assert working.ready() == 2
    replicas, current = valued(hpa, 20_000, wanted, working)
    assert (replicas, current.value) == (4, "20")
    replicas, current = averaged(hpa, 50_000, wanted, working)
    assert (replicas, current.average_value) == (5, "16667m")
    assert valued(hpa, 10_000, wanted, target(3))[0] == 3, "nobody asks for the pods"
    with pytest.raises(ValueError, match="no pods returned by selector"):
        valued(hpa, 20_000, wanted, target(3))


def test_selectors_are_shown_as_go_shows_them() -> None:
    assert shown(None) == "nil"
    some = LabelSelector(
        match_labels={"c": "d", "a": "b"},
        match_expressions=[LabelSelectorRequirement(key="k", operator="In", values=["x", "y"])],
    )
    assert shown(some) == (
        "&LabelSelector{MatchLabels:map[string]string{a: b,c: d,},MatchExpressions:"
        "[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}"
    )
