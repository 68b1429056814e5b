"""Webhooks and policies that name another version of a built-in resource than the request does:
they see the object in their version (matchPolicy Equivalent, the default)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.builders import call, refused
from tests.apiserver.webhooks import Hook, bind, hook, patch, policy
from tiphys.testing import LocalCluster

__all__ = ["hook"]

EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
SCALERS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"


def rule(group: str, version: str, plural: str) -> dict[str, Any]:
    return {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [plural],
    }


def event(name: str) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    meta = {"name": name, "namespace": "default"}
    return {"metadata": meta, "involvedObject": about, "message": "said", "reason": "R"}


def scaler(name: str, version: str, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec},
    }


async def test_a_webhook_sees_and_patches_the_version_that_it_named(
    server: LocalCluster, hook: Hook
) -> None:
    await hook.register("Mutating", rules=[rule("events.k8s.io", "v1", "events")])
    hook.answer = lambda request: {
        "allowed": True,
        **patch({"op": "replace", "path": "/note", "value": "changed"}),
    }
    made = await call(server, "POST", EVENTS, event("a"))
    [asked] = hook.asked
    assert (asked["kind"]["group"], asked["requestKind"]["group"]) == ("events.k8s.io", "")
    assert (asked["object"]["apiVersion"], asked["object"]["note"]) == ("events.k8s.io/v1", "said")
    assert (made["apiVersion"], made["message"]) == ("v1", "changed")


async def test_a_webhook_is_told_of_the_version_that_was_requested(
    server: LocalCluster, hook: Hook
) -> None:
    await hook.register("Validating", rules=[rule("autoscaling", "v1", "*")])
    body = scaler("a", "v1", targetCPUUtilizationPercentage=50)
    await call(server, "POST", SCALERS.format("v1"), body)
    [asked] = hook.asked
    assert asked["requestKind"] == asked["kind"]
    assert asked["object"]["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_who_wants_a_version_exactly_is_not_asked_about_another(
    server: LocalCluster, hook: Hook
) -> None:
    await hook.register("Validating", rules=[rule("autoscaling", "v2", "*")], matchPolicy="Exact")
    await call(server, "POST", SCALERS.format("v1"), scaler("a", "v1"))
    assert not hook.asked
    await call(server, "POST", SCALERS.format("v2"), scaler("b", "v2"))
    assert len(hook.asked) == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_policy_sees_the_version_that_it_named(server: LocalCluster, version: str) -> None:
    rules = [rule("autoscaling", "v1", "horizontalpodautoscalers")]
    judged = policy(
        {"expression": "object.spec.targetCPUUtilizationPercentage < 60"},
        matchConstraints={"resourceRules": rules},
    )
    await bind(server, judged)
    path = SCALERS.format(version)
    for name, percentage in (("low", 50), ("high", 70)):
        target = {"type": "Utilization", "averageUtilization": percentage}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        spec: dict[str, Any] = {"targetCPUUtilizationPercentage": percentage}
        body = scaler(name, version, **(spec if version == "v1" else {"metrics": [metric]}))
        if name == "low":
            assert await call(server, "POST", path, body)
        else:
            assert (await refused(call(server, "POST", path, body))).code == 422


async def test_a_policy_changes_the_version_that_it_named(server: LocalCluster) -> None:
    rules = [rule("autoscaling", "v1", "horizontalpodautoscalers")]
    expression = "Object{spec: Object.spec{targetCPUUtilizationPercentage: 42}}"
    changing = policy(
        kind="Mutating",
        matchConstraints={"resourceRules": rules},
        reinvocationPolicy="Never",
        mutations=[
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": expression},
            }
        ],
    )
    await bind(server, changing)
    made = await call(server, "POST", SCALERS.format("v2"), scaler("a", "v2"))
    [metric] = made["spec"]["metrics"]
    assert metric["resource"]["target"]["averageUtilization"] == 42
