"""Built-in resources of two versions: what one says in the words of the other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.registry.builders import created, registry
from tiphys.api import autoscaling_v2
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.registry.conversion import from_storage, to_storage

AUTOSCALERS = BY_PATH["autoscaling", "v1", "horizontalpodautoscalers"]
EVENTS = BY_PATH["events.k8s.io", "v1", "events"]


def metric(name: str, **target: int) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def current(name: str, **values: int) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "current": values}}


@pytest.mark.parametrize(
    ("metrics", "percentage"),
    [
        ([metric("cpu", averageUtilization=50)], 50),
        ([metric("memory", averageUtilization=50)], None),
        ([metric("cpu", averageValue=5)], None),
        ([metric("memory", averageValue=5), metric("cpu", averageUtilization=7)], 7),
        ([{"type": "Pods", "pods": {}}], None),
    ],
)
def test_the_older_autoscaler_knows_the_use_of_cpu_alone(
    metrics: list[Any], percentage: int | None
) -> None:
    shown = from_storage(
        AUTOSCALERS, {"spec": {"metrics": metrics, "behavior": {}, "maxReplicas": 3}}
    )
    expected = {} if percentage is None else {"targetCPUUtilizationPercentage": percentage}
    assert shown["spec"] == {"maxReplicas": 3, **expected}
    assert shown["apiVersion"] == "autoscaling/v1"


def test_the_status_of_the_older_autoscaler_has_its_counts() -> None:
    status = {
        "currentMetrics": [
            current("memory", averageUtilization=1),
            current("cpu", averageUtilization=9),
        ],
        "conditions": [{}],
        "currentReplicas": 2,
    }
    shown = from_storage(AUTOSCALERS, {"status": status})
    assert shown["status"] == {
        "currentReplicas": 2,
        "desiredReplicas": 0,
        "currentCPUUtilizationPercentage": 9,
    }


def test_what_the_older_autoscaler_says_is_kept_as_a_metric() -> None:
    spec = {"targetCPUUtilizationPercentage": 50, "maxReplicas": 3}
    kept = to_storage(AUTOSCALERS, {"spec": spec, "status": {"currentCPUUtilizationPercentage": 9}})
    target = {"type": "Utilization", "averageUtilization": 50}
    assert kept["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    ]
    assert kept["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 9
    assert from_storage(AUTOSCALERS, kept)["spec"] == spec
    assert to_storage(AUTOSCALERS, {})["spec"] == {}


def test_events_have_other_names_in_their_own_group() -> None:
    stored = to_storage(
        EVENTS, {"regarding": {"name": "p"}, "note": "n", "deprecatedCount": 2, "type": "Normal"}
    )
    assert stored == {
        "involvedObject": {"name": "p"},
        "message": "n",
        "count": 2,
        "type": "Normal",
        "apiVersion": "v1",
    }
    assert from_storage(EVENTS, stored)["note"] == "n"


async def test_objects_are_looked_up_in_the_version_that_is_asked_for() -> None:
    async with registry() as objects:
        spec = autoscaling_v2.HorizontalPodAutoscalerSpec(max_replicas=3)
        spec.scale_target_ref.kind, spec.scale_target_ref.name = "Deployment", "d"
        spec.scale_target_ref.api_version = "apps/v1"
        made = autoscaling_v2.HorizontalPodAutoscaler(spec=spec)
        made.metadata.name, made.metadata.namespace = "a", "default"
        await created(objects, made)
        for version in ("v1", "v2"):
            row = BY_PATH["autoscaling", version, "horizontalpodautoscalers"]
            [found] = objects.select_plain(row, "default", "a", None)
            assert found["apiVersion"] == f"autoscaling/{version}"
            assert len(objects.select_plain(row, "default", "", None)) == 1
            assert objects.select_plain(row, "default", "b", None) == []
            assert objects.select_plain(row, "other", "", None) == []
