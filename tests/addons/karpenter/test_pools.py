"""What NodePools, classes and overlays say of themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, ON_DEMAND, state
from tests.addons.karpenter.reconciling import Bench
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.pools import (
    EC2NodeClassReconciler,
    NodeOverlayReconciler,
    NodePoolReconciler,
    TiphysNodeClassReconciler,
)
from tiphys.addons.karpenter.types import Budget, NodeClaim, NodeOverlay, NodePool, TiphysNodeClass
from tiphys.addons.karpenter.types.ec2 import EC2NodeClass
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import conditions, timestamps

NOT_FOUND = ("False", "NodeClassNotFound", "NodeClass not found on cluster")


class Pools(Bench):
    """`reconciler` is the one that a test is about."""

    def __init__(self, kind: Any = NodePoolReconciler) -> None:
        super().__init__()
        self.reconciler = kind(self.context, "karpenter")

    async def of(self, obj: Any) -> Any:
        """The object after a look at it."""
        copy = from_builtins(to_builtins(obj), type(obj))
        assert await self.reconciler.reconcile(copy) is None
        return self.server.of(type(obj)).get(obj.metadata.name)


def told(obj: Any, type_: str) -> tuple[str, str, str]:
    found = conditions.find(obj.status.conditions, type_)
    assert found is not None, type_
    return found.status, found.reason, found.message


# --- pools ---


async def test_a_pool_is_ready_with_its_class() -> None:
    bench = Pools()
    bench.node_class()
    made = await bench.of(bench.pool())
    assert told(made, "ValidationSucceeded") == ("True", "ValidationSucceeded", "")
    assert told(made, "NodeClassReady") == ("True", "NodeClassReady", "")
    assert told(made, names.READY) == ("True", "Ready", "")
    version = made.metadata.resource_version
    assert (await bench.of(made)).metadata.resource_version == version


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (None, "NodeClassNotFound", "NodeClass not found on cluster"),
        ({"ready": False}, "NodeClassNotReady", "m"),
        ({"conditions": []}, "NodeClassNotReady", "not looked at yet"),
        ({"deletion": True}, "NodeClassTerminating", "NodeClass is Terminating"),
    ],
)
async def test_a_pool_is_not_ready_without_one(change: Any, reason: str, message: str) -> None:
    bench = Pools()
    if change is not None:
        class_ = bench.node_class(ready=change.get("ready", True))
        class_.status.conditions = change.get("conditions", class_.status.conditions)
        if "deletion" in change:
            class_.metadata.deletion_timestamp = timestamps.rfc3339(bench.time)
    made = await bench.of(bench.pool())
    assert told(made, "NodeClassReady") == ("False", reason, message)
    assert told(made, names.READY) == ("False", "UnhealthyDependents", "NodeClassReady=False")


@pytest.mark.parametrize(
    ("group", "kind", "reason"),
    [
        ("karpenter.k8s.aws", "EC2NodeClass", "UnsupportedNodeClass"),
        (names.OWN_GROUP, "Other", "UnsupportedNodeClass"),
        (names.OWN_GROUP, "TiphysNodeClass", "NodeClassNotFound"),
    ],
)
async def test_a_pool_of_another_cloud_says_so(group: str, kind: str, reason: str) -> None:
    bench = Pools()
    one = bench.pool()
    reference = one.spec.template.spec.node_class_ref
    reference.group, reference.kind = group, kind
    made = await bench.of(one)
    assert told(made, "NodeClassReady")[1] == reason
    assert conditions.find(made.status.conditions, names.REGISTRATION_HEALTHY) is None


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        (("a", "Gt", "5"), ""),
        (("a", "Gt", "x"), "key a must be compared with a number"),
        (
            (
                "a",
                "Lt",
            ),
            "key a must be compared with a number",
        ),
        (("a", "Gte", "-1"), "key a must be compared with a number"),
        (("a", "Lte", "5"), ""),
        (("a", "Exists"), ""),
        (("a", "Exists", "x"), "key a has values beside the operator Exists"),
        (("a", "DoesNotExist", "x"), "key a has values beside the operator DoesNotExist"),
        (("a", "In", "x"), ""),
    ],
)
async def test_what_the_definition_lets_pass_is_judged(
    requirement: tuple[str, ...], problem: str
) -> None:
    bench = Pools()
    bench.node_class()
    made = await bench.of(bench.pool(ON_DEMAND, requirement))
    reason = "NodePoolValidationFailed" if problem else "ValidationSucceeded"
    status = "False" if problem else "True"
    assert told(made, "ValidationSucceeded") == (status, reason, problem)
    assert told(made, names.READY)[0] == status


async def test_a_pool_says_what_its_nodes_have() -> None:
    bench = Pools()
    for name in ("a", "b"):
        one = state(name, "m7.large")
        assert one.claim is not None and one.node is not None
        bench.server.put(one.claim)
        bench.server.put(one.node)
    made = await bench.of(bench.pool(limits={"cpu": "1500m", "memory": "1Ki"}))
    assert made.status.nodes == 2
    assert str(made.status.resources["cpu"]) == "4"
    kind = {"nodepool": "default"}
    assert bench.counted("nodepools_usage", resource_type="cpu", **kind) == 4
    assert bench.counted("nodepools_usage", resource_type="nodes", **kind) == 2
    assert bench.counted("nodepools_limit", resource_type="cpu", **kind) == 1.5
    assert bench.counted("nodepools_limit", resource_type="memory", **kind) == 1024


async def test_a_pool_bears_the_hash_of_its_template() -> None:
    bench = Pools()
    made = await bench.of(bench.pool())
    mark = made.metadata.annotations[names.POOL_HASH]
    assert made.metadata.annotations[names.POOL_HASH_VERSION] == names.HASH_VERSION
    made.metadata.annotations["own"] = "one"
    again = await bench.of(bench.server.put(made))
    assert again.metadata.annotations["own"] == "one"
    other = await bench.of(bench.pool(labels={"a": "b"}))
    assert other.metadata.annotations[names.POOL_HASH] != mark


async def test_a_budget_that_cannot_be_is_an_event_once_in_a_while() -> None:
    bench = Pools()
    bench.node_class()
    one = bench.pool()
    one.spec.disruption.budgets = [Budget(nodes="1", schedule="never", duration="1h")]
    for later, count in ((0, 1), (899, 1), (900, 2)):
        bench.time = NOW + later
        await bench.of(one)
        assert len(bench.events) == count
    assert bench.events[0][1] == "InvalidBudget"
    assert bench.events[0][2].endswith(": the budget allows no disruption")


async def test_a_pool_is_healthy_while_its_nodes_come_up() -> None:
    bench = Pools()
    bench.node_class()
    one = bench.pool()
    one.metadata.generation = 1
    registrations = bench.shared.registrations
    made = await bench.of(one)
    assert told(made, names.REGISTRATION_HEALTHY)[0] == "Unknown"
    assert made.status.node_class_observed_generation == 1
    registrations.note("pool-default")
    made = await bench.of(made)
    assert told(made, names.REGISTRATION_HEALTHY)[0] == "True"
    made.metadata.generation = 2
    changed = await bench.of(bench.server.put(made))
    assert told(changed, names.REGISTRATION_HEALTHY)[0] == "Unknown", "of another template"
    registrations.note("pool-default")
    healthy = await bench.of(changed)
    assert told(healthy, names.REGISTRATION_HEALTHY)[0] == "True"
    bench.node_class().metadata.generation = 2
    assert told(await bench.of(healthy), names.REGISTRATION_HEALTHY)[0] == "Unknown"


async def test_claims_and_classes_concern_their_pools() -> None:
    bench = Pools()
    keys: list[str] = []
    one = bench.pool()
    bench.reconciler.watch(keys.append)
    keys.clear()
    claim = bench.claim()
    assert keys == ["default"]
    bench.node_class()
    assert keys == ["default"] * 2
    bench.server.take(claim)
    assert keys == ["default"] * 3
    claim.metadata.labels = {}
    bench.server.put(claim)
    assert keys == ["default"] * 3
    bench.shared.registrations.note("pool-default")
    bench.server.take(one)
    assert bench.shared.registrations._pools == {}
    assert bench.server.of(NodePool).get("default") is None
    assert bench.server.of(NodeClaim).get("c") is not None


# --- classes and overlays ---


@pytest.mark.parametrize(
    ("spec", "machines", "problem"),
    [
        ({}, False, ""),
        ({"image": "base@2026.46"}, False, ""),
        ({"image": "other@latest"}, False, 'there is no image "other": base, gpu'),
        ({"zones": ["tiphys-1a"]}, False, ""),
        (
            {"zones": ["tiphys-1a", "z", "y"]},
            False,
            "there is no zone y, z: tiphys-1a, tiphys-1b, tiphys-1c",
        ),
        (
            {"runtime": "containerd"},
            False,
            "nodes of this cluster cannot run containers: use runtime hollow",
        ),
        ({"runtime": "containerd"}, True, ""),
    ],
)
async def test_a_class_is_of_what_the_cloud_has(
    spec: dict[str, Any], machines: bool, problem: str
) -> None:
    bench = Pools(TiphysNodeClassReconciler)
    around: Any = bench.shared.context
    around.machines = SimpleNamespace() if machines else None
    row = {"metadata": {"name": "default"}, "spec": spec}
    made = await bench.of(bench.server.put(from_builtins(row, TiphysNodeClass)))
    reason = "Invalid" if problem else "Ready"
    assert told(made, names.READY) == ("False" if problem else "True", reason, problem)
    image = spec.get("image", "base@latest").replace("latest", "2026.47")
    assert made.status.image == ("" if "other" in image else image)


async def test_a_class_of_another_cloud_is_not_ready() -> None:
    bench = Pools(EC2NodeClassReconciler)
    row = {"metadata": {"name": "default"}}
    made = await bench.of(bench.server.put(from_builtins(row, EC2NodeClass)))
    assert told(made, names.READY)[:2] == ("False", "UnsupportedNodeClass")


def overlay(name: str, price: str, generation: int = 1) -> NodeOverlay:
    requirement = {"key": names.INSTANCE_TYPE, "operator": "In", "values": ["m7.large"]}
    meta = {"name": name, "uid": name, "generation": generation}
    made: NodeOverlay = from_builtins(
        {"metadata": meta, "spec": {"requirements": [requirement], "price": price}}, NodeOverlay
    )
    return made


async def test_overlays_that_contradict_each_other_do_not_count() -> None:
    bench = Pools(NodeOverlayReconciler)
    bench.pool()
    made = await bench.of(bench.server.put(overlay("a", "1.0")))
    assert told(made, "ValidationSucceeded") == ("True", "ValidationSucceeded", "")
    assert told(made, names.READY) == ("True", "Ready", "")
    second = await bench.of(bench.server.put(overlay("b", "2.0")))
    both = [second, await bench.of(made)]
    lost = [one for one in both if told(one, names.READY)[0] == "False"]
    assert lost
    for one in lost:
        assert told(one, "ValidationSucceeded")[1] == "Conflict"
        assert told(one, names.READY)[1:] == ("UnhealthyDependents", "ValidationSucceeded=False")


async def test_an_overlay_that_changes_concerns_all_of_them() -> None:
    bench = Pools(NodeOverlayReconciler)
    bench.server.put(overlay("a", "1.0"))
    bench.server.put(overlay("b", "1.0"))
    keys: list[str] = []
    bench.reconciler.watch(keys.append)
    keys.clear()
    woken = bench.woken
    bench.server.put(overlay("a", "1.0"))
    assert keys == [] and bench.woken == woken, "its status alone"
    bench.server.put(overlay("a", "2.0", generation=2))
    assert sorted(keys) == ["a", "b"] and bench.woken == woken + 1
    keys.clear()
    bench.pool()
    assert sorted(keys) == ["a", "b"]
    keys.clear()
    bench.server.take(overlay("b", "1.0"))
    assert keys == ["a"]
