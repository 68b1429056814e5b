"""Nodes that fall silent."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago, node_that_is, running
from tiphys.api import coordination_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.nodelifecycle import (
    ZONE,
    NodeLifecycleController,
    silenced,
    without_readiness,
)
from tiphys.controllers.pods import is_ready
from tiphys.machinery import timestamps


def test_a_silent_node_is_known_of_no_more() -> None:
    node = node_that_is("True", MemoryPressure="Unknown", Mine="True")
    node.metadata.creation_timestamp = ago(500)
    for condition in node.status.conditions:
        condition.last_heartbeat_time = ago(90)
        condition.last_transition_time = ago(400)
    found = {condition.type: condition for condition in silenced(node, NOW).status.conditions}
    assert list(found) == ["Ready", "MemoryPressure", "Mine", "DiskPressure", "PIDPressure"]
    assert (found["Ready"].status, found["Ready"].reason) == ("Unknown", "NodeStatusUnknown")
    assert found["Ready"].last_transition_time == ago(0)
    assert found["Ready"].last_heartbeat_time == ago(90)
    assert found["MemoryPressure"].last_transition_time == ago(400), "it was unknown before"
    assert found["DiskPressure"].reason == "NodeStatusNeverUpdated"
    assert found["DiskPressure"].last_heartbeat_time == ago(500)
    assert found["Mine"].status == "True" and node.status.conditions[0].status == "True"


def test_a_pod_of_a_silent_node_is_not_ready_any_more() -> None:
    pod = running("p")
    changed = without_readiness(pod, NOW)
    assert changed is not None and not is_ready(changed) and is_ready(pod)
    assert changed.status.conditions[0].last_transition_time == ago(0)
    assert without_readiness(changed, NOW) is None


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def nodes(bench: Bench) -> NodeLifecycleController:
    return bench.start(NodeLifecycleController)


async def come(bench: Bench, name: str = "", ready: str = "True") -> core_v1.Node:
    made = node(f"{bench.namespace}{name}", **{ZONE: bench.namespace})
    beat = timestamps.rfc3339(bench.now())
    made.status.conditions = [
        core_v1.NodeCondition(type="Ready", status=ready, last_heartbeat_time=beat)
    ]
    return await bench.add(made)


async def step(bench: Bench, nodes: NodeLifecycleController, name: str = "") -> float | None:
    await bench.seen()
    return await nodes.reconcile(f"{bench.namespace}{name}")


async def seen_as(bench: Bench, name: str = "") -> tuple[str, list[tuple[str, str]]]:
    """The node's readiness, and its taints."""
    found = await bench.client.get(core_v1.Node, f"{bench.namespace}{name}")
    [ready] = [each.status for each in found.status.conditions if each.type == "Ready"]
    return ready, [(each.key.partition("/")[2], each.effect) for each in found.spec.taints]


UNREACHABLE = [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]


@together
async def test_a_node_is_unreachable_when_it_was_silent_for_too_long(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    for name in ("", "-peer"):
        await come(bench, name)
    await bench.add(pod("p", nodeName=bench.namespace))
    one = await bench.get(core_v1.Pod, "p")
    await bench.say(one, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    wait = await step(bench, nodes)
    assert wait == 51 and await seen_as(bench) == ("True", [])
    bench.later = 50
    assert await step(bench, nodes) == 1
    assert await seen_as(bench) == ("True", []), "not yet"
    bench.later = 51
    assert await step(bench, nodes) == 5
    assert await seen_as(bench) == ("Unknown", UNREACHABLE)
    assert bench.reasons() == ["NodeNotReady"]
    one = await bench.get(core_v1.Pod, "p")
    assert one is not None and one.status.conditions[0].status == "False"
    assert await step(bench, nodes) == 5 and bench.reasons() == [], "it is told once"


@together
async def test_a_lease_is_a_sign_of_life(bench: Bench, nodes: NodeLifecycleController) -> None:
    await come(bench)
    lease = coordination_v1.Lease(
        metadata=ObjectMeta(name=bench.namespace, namespace="kube-node-lease")
    )
    lease = await bench.client.create(lease)
    await step(bench, nodes)
    for later, wait in ((40, 51), (60, 31)):
        bench.later = later
        if later == 40:
            stamp = timestamps.rfc3339(bench.now())
            await bench.change(lease, spec={"renewTime": stamp.replace("Z", ".000000Z")})
        assert await step(bench, nodes) == wait
    stranger = coordination_v1.Lease(metadata=ObjectMeta(name=bench.namespace))
    await bench.add(stranger)
    assert await step(bench, nodes) == 31, "that is no lease of a node"
    await bench.client.delete(coordination_v1.Lease, bench.namespace, "kube-node-lease")


@together
async def test_when_all_are_silent_nobody_is_sent_away(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    await come(bench)
    others = [one for one in await bench.all(core_v1.Node) if one.metadata.name != bench.namespace]
    for other in others:
        await bench.remove(other)
    await step(bench, nodes)
    bench.later = 60
    await step(bench, nodes)
    assert await seen_as(bench) == ("Unknown", UNREACHABLE[:1])
    await come(bench, "-peer")
    await step(bench, nodes)
    assert await seen_as(bench) == ("Unknown", UNREACHABLE)


@together
async def test_one_node_after_the_other_is_emptied(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    for name in ("-a", "-b", "-c", "-d", "-e"):
        await come(bench, name)
    for name in ("-a", "-b"):
        await step(bench, nodes, name)
    bench.later = 60
    for name in ("-a", "-b"):
        await step(bench, nodes, name)
    assert await seen_as(bench, "-a") == ("Unknown", UNREACHABLE)
    assert await seen_as(bench, "-b") == ("Unknown", UNREACHABLE[:1])
    await step(bench, nodes, "-a")
    assert await seen_as(bench, "-a") == ("Unknown", UNREACHABLE), "it stays so"
    bench.later = 69
    await step(bench, nodes, "-b")
    assert await seen_as(bench, "-b") == ("Unknown", UNREACHABLE[:1])
    bench.later = 70
    await step(bench, nodes, "-b")
    assert await seen_as(bench, "-b") == ("Unknown", UNREACHABLE)


@together
async def test_pods_leave_when_they_tolerate_it_no_longer(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    made = await come(bench)
    await bench.change(made, spec={"taints": [{"key": "mine", "effect": "NoExecute"}]})
    soon = {"key": "mine", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    for name, tolerations in (
        ("none", []),
        ("soon", [soon]),
        ("later", [{**soon, "tolerationSeconds": 90}]),
        ("ever", [{"operator": "Exists"}]),
    ):
        one = pod(name, nodeName=bench.namespace, tolerations=tolerations)
        one.metadata.finalizers = ["a.b/c"]
        await bench.add(one)
    wait = await step(bench, nodes)
    assert wait is not None and 28 < wait < 31
    leaving = [
        one.metadata.name for one in await bench.all(core_v1.Pod) if one.metadata.deletion_timestamp
    ]
    assert leaving == ["none"]
    gone = await bench.get(core_v1.Pod, "none")
    assert gone is not None
    [condition] = [each for each in gone.status.conditions if each.type == "DisruptionTarget"]
    assert condition.reason == "DeletionByTaintManager"
    assert bench.reasons() == ["TaintManagerEviction"]
    bench.later = 35
    wait = await step(bench, nodes)
    assert bench.reasons() == ["TaintManagerEviction"] and wait == 16
    bench.later = 100
    await step(bench, nodes)
    leaving = [
        one.metadata.name for one in await bench.all(core_v1.Pod) if one.metadata.deletion_timestamp
    ]
    assert leaving == ["later", "none", "soon"]
    for one in await bench.all(core_v1.Pod):
        await bench.change(one, metadata={"finalizers": None})


@together
async def test_a_pod_that_is_bound_to_a_tainted_node_leads_to_it(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    made = await come(bench)
    await come(bench, "-well")
    await bench.change(made, spec={"taints": [{"key": "mine", "effect": "NoExecute"}]})
    await bench.queued(nodes)
    await bench.add(pod("well", nodeName=f"{bench.namespace}-well"))
    await bench.add(pod("free"))
    assert await bench.queued(nodes) == []
    one = await bench.add(pod("bad", nodeName=bench.namespace))
    assert await bench.queued(nodes) == [bench.namespace]
    await bench.change(one, metadata={"labels": {"a": "b"}})
    assert await bench.queued(nodes) == [], "it was there before"


@together
async def test_a_node_that_is_gone_is_forgotten(
    bench: Bench, nodes: NodeLifecycleController
) -> None:
    made = await come(bench)
    await bench.change(made, spec={"taints": [{"key": "mine", "effect": "NoExecute"}]})
    await step(bench, nodes)
    assert bench.namespace in nodes._heartbeats and bench.namespace in nodes._tainted
    await bench.remove(made)
    assert await step(bench, nodes) is None
    assert bench.namespace not in nodes._heartbeats and bench.namespace not in nodes._tainted
