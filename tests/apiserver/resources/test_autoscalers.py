"""Horizontal pod autoscalers: upstream's autoscaling/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.autoscaling_v1 import HorizontalPodAutoscaler as First
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.api.base import from_builtins, to_builtins
from tiphys.apiserver.resources.horizontalpodautoscalers import HorizontalPodAutoscalerStrategy

HPA = "horizontalpodautoscalers.autoscaling"


def metric(kind: str, **source: Any) -> dict[str, Any]:
    name = kind[0].lower() + kind[1:]
    return {"spec": {"metrics": [{"type": kind, name: source}]}}


def target(kind: str = "AverageValue", **parts: Any) -> dict[str, Any]:
    return {"target": {"type": kind, **parts}}


HALF = target("Utilization", averageUtilization=50)
ONE = target(averageValue="1")
WHOLE = target("Value", value="1")
BOTH = target("Value", value="1", averageValue="1")
CPU = {"name": "cpu"}
METRIC = {"metric": {"name": "m"}}
OBJECT = {"describedObject": {"kind": "K", "name": "n"}}
SOURCE = "spec.metrics[0]"


@each_row(
    [
        (metric("Resource", **CPU, **HALF), []),
        (metric("Resource", **CPU, **ONE), []),
        (metric("Resource", **CPU, **target()), [".resource.target.averageUtilization"]),
        (metric("Resource", **CPU, **target(averageValue="1", averageUtilization=1)), [".resource.target.averageValue"]),
        (metric("Resource", **HALF), [".resource.name"]),
        (metric("ContainerResource", container="c", **CPU, **HALF), []),
        (metric("ContainerResource", **CPU, **HALF), [".containerResource.container"]),
        (metric("ContainerResource", container="c", **HALF), [".containerResource.name"]),
        (metric("Pods", **METRIC, **ONE), []),
        (metric("Pods", **METRIC, **WHOLE), [".pods.target.averageValue"]),
        (metric("Pods", metric={"name": ""}, **ONE), [".pods.metric.name"]),
        (metric("Pods", metric={"name": "a/b"}, **ONE), [".pods.metric.name"]),
        (metric("Pods", metric={"name": "m", "selector": {"matchLabels": {"a b": "c"}}}, **ONE), [".pods.metric.selector.matchLabels"]),
        (metric("Object", **METRIC, **OBJECT, **WHOLE), []),
        (metric("Object", **METRIC, **OBJECT, **ONE), []),
        (metric("Object", **METRIC, **OBJECT, **BOTH), []),
        (metric("Object", **METRIC, **OBJECT, **target("Value")), [".object.target.averageValue"]),
        (metric("Object", **METRIC, describedObject={"kind": "K", "name": ""}, **ONE), [".object.describedObject.name"]),
        (metric("Object", **METRIC, describedObject={"kind": "", "name": "n"}, **ONE), [".object.describedObject.kind"]),
        (metric("Object", **METRIC, describedObject={"kind": "K", "name": "n", "apiVersion": "a/b/c"}, **ONE), [".object.describedObject.apiVersion"]),
        (metric("External", **METRIC, **WHOLE), []),
        (metric("External", **METRIC, **ONE), []),
        (metric("External", **METRIC, **BOTH), [".external.target.value"]),
        (metric("External", **METRIC, **target("Value")), [".external.target.value"]),
        (metric("External", **METRIC, **target("Value", value="0")), [".external.target.value"]),
        (metric("External", **METRIC, **target(averageValue="-1")), [".external.target.averageValue"]),
        (metric("Resource", **CPU, **target("Utilization", averageUtilization=0)), [".resource.target.averageUtilization"]),
        ({"spec": {"metrics": [{"type": "Pods"}]}}, [".pods"]),
        ({"spec": {"metrics": [{"type": ""}]}}, [".type"]),
        ({"spec": {"metrics": [{"type": "Other", "pods": {**METRIC, **ONE}}]}}, [".type"]),
        ({"spec": {"metrics": [{"type": "Pods", "pods": {**METRIC, **ONE}, "resource": {**CPU, **HALF}}]}}, [".resource"]),
    ],
)  # fmt: skip
def test_metrics(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(HPA, parts)) == [SOURCE + end for end in wrong]


def scaling(**rules: Any) -> dict[str, Any]:
    return {"spec": {"behavior": {"scaleUp": rules}}}


def policy(kind: str = "Pods", value: int = 1, seconds: int = 1) -> dict[str, Any]:
    return scaling(policies=[{"type": kind, "value": value, "periodSeconds": seconds}])


@each_row(
    [
        (policy(), []),
        (policy("Percent", seconds=1800), []),
        (policy("Share"), [".policies[0].type"]),
        (policy(value=0), [".policies[0].value"]),
        (policy(seconds=0), [".policies[0].periodSeconds"]),
        (policy(seconds=1801), [".policies[0].periodSeconds"]),
        (scaling(selectPolicy="Disabled"), []),
        (scaling(selectPolicy="Most"), [".selectPolicy"]),
        (scaling(stabilizationWindowSeconds=0), []),
        (scaling(stabilizationWindowSeconds=-1), [".stabilizationWindowSeconds"]),
        (scaling(stabilizationWindowSeconds=3600), []),
        (scaling(stabilizationWindowSeconds=3601), [".stabilizationWindowSeconds"]),
        (scaling(tolerance="0"), []),
        (scaling(tolerance="-1m"), [".tolerance"]),
    ],
)
def test_behaviour(parts: dict[str, Any], wrong: list[str]) -> None:
    path = "spec.behavior.scaleUp"
    assert fields(wrong_with(HPA, parts)) == [path + end for end in wrong]
    down = {"spec": {"behavior": {"scaleDown": parts["spec"]["behavior"]["scaleUp"]}}}
    assert fields(wrong_with(HPA, down)) == ["spec.behavior.scaleDown" + end for end in wrong]


def sized(**parts: Any) -> dict[str, Any]:
    return {"spec": parts}


def scaled(version: str, kind: str = "Deployment") -> dict[str, Any]:
    return sized(scaleTargetRef={"apiVersion": version, "kind": kind, "name": "x"})


@each_row(
    [
        (sized(minReplicas=2, maxReplicas=2), []),
        (sized(minReplicas=1, maxReplicas=0), ["spec.maxReplicas", "spec.maxReplicas"]),
        (sized(maxReplicas=-1), ["spec.maxReplicas", "spec.maxReplicas"]),
        (sized(minReplicas=0), ["spec.minReplicas"]),
        (scaled("v1", "ReplicationController"), []),
        (scaled("v1", "Pod"), ["spec.scaleTargetRef.apiVersion"]),
        (scaled("", "ReplicationController"), []),
        (scaled("a/b/c"), ["spec.scaleTargetRef.apiVersion"]),
    ],
)
def test_how_many_of_what(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(HPA, parts)) == wrong


def test_a_target_of_before_the_rule_may_stay() -> None:
    before, more = scaled("v1", "Pod"), sized(maxReplicas=9)
    assert wrong_with_change(HPA, before, more) == []
    moved = {"spec": {**scaled("v1", "Node")["spec"]}}
    assert fields(wrong_with_change(HPA, before, moved)) == ["spec.scaleTargetRef.apiVersion"]


def test_what_is_not_said_of_behaviour() -> None:
    """Upstream's GenerateHPAScaleUpRules and GenerateHPAScaleDownRules."""
    spec = to_builtins(built(SERVED[HPA], sized(behavior={})).spec)
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    double = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up = {"selectPolicy": "Max", "policies": [pods, double], "stabilizationWindowSeconds": 0}
    down = {"selectPolicy": "Max", "policies": [double]}
    assert spec["behavior"] == {"scaleUp": up, "scaleDown": down}
    said = {"selectPolicy": "Min", "policies": [pods], "stabilizationWindowSeconds": 7}
    kept = to_builtins(built(SERVED[HPA], sized(behavior={"scaleUp": said})).spec)
    assert kept["behavior"] == {"scaleUp": said, "scaleDown": down}


def test_what_is_not_said_of_metrics() -> None:
    spec = to_builtins(built(SERVED[HPA], {}).spec)
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    assert spec["metrics"] == [{"type": "Resource", "resource": cpu}]
    assert spec["minReplicas"] == 1 and "behavior" not in spec
    said = metric("Pods", **METRIC, **ONE)
    assert len(built(SERVED[HPA], {"spec": {**said["spec"], "minReplicas": 2}}).spec.metrics) == 1
    assert built(SERVED[HPA], sized(minReplicas=2)).spec.min_replicas == 2


# --- columns ---


def shown(autoscaler: Any) -> dict[str, Any]:
    return {column.name: column.cell(autoscaler) for column in HorizontalPodAutoscalerStrategy.columns[1:-1]}  # fmt: skip


def current(**value: Any) -> dict[str, Any]:
    return {"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": value}}]}


MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}}
CPU_HALF = {"type": "Resource", "resource": {**CPU, **HALF}}
OTHER = {"type": "Pods", "pods": {**METRIC, **ONE}}


@each_row(
    [
        ([], {}, "<none>"),
        ([CPU_HALF], {}, "cpu: <unknown>/50%"),
        ([CPU_HALF], current(averageUtilization=0), "cpu: 0%/50%"),
        ([CPU_HALF], current(averageUtilization=70), "cpu: 70%/50%"),
        ([MEMORY], {}, "memory: <unknown>/1Gi"),
        (
            [{"type": "Resource", "resource": {**CPU, **target(averageValue="2")}}],
            current(averageValue="1"),
            "cpu: 1/2",
        ),
        ([CPU_HALF, OTHER], {}, "cpu: <unknown>/50%, <unknown>/Pods"),
        ([OTHER], {"currentMetrics": [OTHER]}, "<unknown>/Pods"),
    ],
)
def test_targets(metrics: list[dict[str, Any]], status: dict[str, Any], text: str) -> None:
    reference = {"kind": "Deployment", "name": "web"}
    body = {"spec": {"scaleTargetRef": reference, "metrics": metrics}, "status": status}
    cells = shown(from_builtins(body, HorizontalPodAutoscaler))
    assert (cells["Reference"], cells["Targets"]) == ("Deployment/web", text)


@pytest.mark.parametrize(
    ("spec", "status", "targets"),
    [
        ({"minReplicas": 1}, {}, ("<none>", "1")),
        ({"targetCPUUtilizationPercentage": 80}, {}, ("cpu: <unknown>/80%", "<unset>")),
        (
            {"targetCPUUtilizationPercentage": 80},
            {"currentCPUUtilizationPercentage": 0},
            ("cpu: 0%/80%", "<unset>"),
        ),
    ],
)
def test_targets_of_the_first_version(
    spec: dict[str, Any], status: dict[str, Any], targets: tuple[str, str]
) -> None:
    cells = shown(from_builtins({"spec": spec, "status": status}, First))
    assert (cells["Targets"], cells["MinPods"]) == targets
