"""What pods that wait for a node say of it, with a real API server and the real scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.builders import untainted_nodes
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1, scheduling_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """One node of two processors, classes `high` and `low`, and nobody to run pods."""
    async with LocalCluster(controllers=True) as made:
        ready = node("a", cpu="2")
        ready.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
        await made.client.create(ready)
        for name, value in (("high", 1000), ("low", 1)):
            await made.client.create(
                scheduling_v1.PriorityClass(metadata=ObjectMeta(name=name), value=value)
            )
        await untainted_nodes(made)
        yield made


def asking(name: str, cpu: str, priority: str, **spec: Any) -> core_v1.Pod:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return pod(name, containers=[container], priorityClassName=priority, **spec)


async def read(cluster: LocalCluster, name: str) -> core_v1.Pod:
    return await cluster.client.get(core_v1.Pod, name, "default")


async def condition(
    cluster: LocalCluster, name: str, kind: str = "PodScheduled", text: str = ""
) -> core_v1.PodCondition:
    """The condition, as soon as there is one whose message has the text."""

    async def found() -> core_v1.PodCondition | None:
        rows = (await read(cluster, name)).status.conditions
        return next((c for c in rows if c.type == kind and text in c.message), None)

    made: core_v1.PodCondition = await cluster.eventually(found)
    return made


async def bound(cluster: LocalCluster, name: str) -> None:
    async def there() -> bool:
        return bool((await read(cluster, name)).spec.node_name)

    await cluster.eventually(there)


async def messages(cluster: LocalCluster, name: str, reason: str) -> list[str]:
    """What events of that reason say of a pod, as soon as there are any."""

    async def said() -> list[str]:
        events = (await cluster.client.list(core_v1.Event, "default")).items
        return [e.message for e in events if e.involved_object.name == name and e.reason == reason]

    found: list[str] = await cluster.eventually(said)
    return found


async def test_the_condition_tells_which_spec_it_is_about(cluster: LocalCluster) -> None:
    await cluster.client.create(asking("p", "3", "low", nodeSelector={"disk": "ssd"}))
    first = await condition(cluster, "p", text="node affinity/selector")
    assert (first.status, first.reason, first.observed_generation) == ("False", "Unschedulable", 1)
    more = [
        *(await read(cluster, "p")).spec.tolerations,
        core_v1.Toleration(key="new", operator="Exists"),
    ]
    change = {"spec": {"tolerations": to_builtins(more)}}
    await cluster.client.patch(core_v1.Pod, "p", change, "default", media=MERGE)

    async def seen() -> core_v1.PodCondition | None:
        now = await condition(cluster, "p")
        return now if now.observed_generation == 2 else None

    second = await cluster.eventually(seen)
    assert second.last_transition_time == first.last_transition_time


async def test_the_more_important_pod_takes_the_place_of_another(cluster: LocalCluster) -> None:
    await cluster.client.create(asking("low", "2", "low", terminationGracePeriodSeconds=3600))
    await bound(cluster, "low")
    await cluster.client.create(asking("high", "2", "high"))
    mark = await condition(cluster, "low", "DisruptionTarget")
    assert (mark.reason, mark.observed_generation) == ("PreemptionByScheduler", 1)
    assert mark.message == "default-scheduler: preempting to accommodate a higher priority pod"
    waiting = await condition(cluster, "high")
    assert waiting.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert (await read(cluster, "high")).status.nominated_node_name == "a"
    assert await messages(cluster, "low", "Preempted") == [
        f"Preempted by pod {(await read(cluster, 'high')).metadata.uid} on node a"
    ]
    await cluster.client.patch(
        core_v1.Pod, "high", {"metadata": {"labels": {"new": "yes"}}}, "default"
    )
    await condition(
        cluster,
        "high",
        text="preemption: not eligible due to a terminating pod on the nominated node.",
    )
    await cluster.client.delete(core_v1.Pod, "low", "default", grace=0)
    await bound(cluster, "high")
    assert not (await read(cluster, "high")).status.nominated_node_name


async def test_one_that_may_not_preempt_says_so(cluster: LocalCluster) -> None:
    await cluster.client.create(asking("low", "2", "low"))
    await bound(cluster, "low")
    meek = scheduling_v1.PriorityClass(
        metadata=ObjectMeta(name="meek"), value=1000, preemption_policy="Never"
    )
    await cluster.client.create(meek)
    await cluster.client.create(asking("meek", "2", "meek"))
    found = await condition(cluster, "meek")
    assert found.message == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
        "preemption: not eligible due to preemptionPolicy=Never."
    )


async def test_room_that_is_made_is_not_kept_from_the_more_important(cluster: LocalCluster) -> None:
    """The middle one's nomination is taken away when the most important one takes the node."""
    await cluster.client.create(
        scheduling_v1.PriorityClass(metadata=ObjectMeta(name="middle"), value=500)
    )
    await cluster.client.create(asking("low", "2", "low", terminationGracePeriodSeconds=3600))
    await bound(cluster, "low")
    await cluster.client.create(asking("middle", "2", "middle"))
    await condition(cluster, "low", "DisruptionTarget")
    await cluster.client.create(asking("high", "2", "high"))

    async def nominated() -> list[str]:
        return [
            (await read(cluster, name)).status.nominated_node_name for name in ("middle", "high")
        ]

    async def moved() -> bool:
        return await nominated() == ["", "a"]

    await cluster.eventually(moved)
    await cluster.client.delete(core_v1.Pod, "low", "default", grace=0)
    await bound(cluster, "high")
    assert not (await read(cluster, "middle")).spec.node_name


async def test_a_selector_that_fails_stops_the_scheduling_of_the_pod(cluster: LocalCluster) -> None:
    """Also when another node could give the device: upstream gives the cycle up."""
    await cluster.client.create(slice_of("a", device("d0")))
    await cluster.client.create(class_of("gpu"))
    wrong = claim("c", ask("r", 'device.attributes["gpu.example.com"].model == "x"'))
    wrong.metadata.uid = ""
    await cluster.client.create(wrong)
    await cluster.client.create(
        pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": "c"}])
    )
    found = await condition(cluster, "p")
    text = 'running "DynamicResources" filter plugin: claim default/c: selector #0: CEL runtime error: no such key: model'
    assert (found.status, found.reason, found.message) == ("False", "SchedulerError", text)
    assert await messages(cluster, "p", "FailedScheduling") == [text]


async def test_pods_of_other_schedulers_and_behind_gates_are_left_alone(
    cluster: LocalCluster,
) -> None:
    await cluster.client.create(pod("other", schedulerName="somebody-else"))
    await cluster.client.create(pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
    await cluster.client.create(pod("plain"))
    await bound(cluster, "plain")
    assert (await read(cluster, "plain")).metadata.generation == 1
    assert not (await read(cluster, "other")).status.conditions
    gate = await condition(cluster, "gated")
    assert (gate.status, gate.reason) == ("False", "SchedulingGated")
    await cluster.client.patch(
        core_v1.Pod, "gated", {"spec": {"schedulingGates": None}}, "default", media=MERGE
    )
    await bound(cluster, "gated")
    assert not (await read(cluster, "other")).spec.node_name
