"""What pods that wait for a node say of it, with a real API server and the real scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.builders import node, pod
from tests.scheduler.builders import framework, info, requesting, snapshot_of, untainted_nodes
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1, scheduling_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.scheduler.cycle import SchedulingCycle
from tiphys.scheduler.extenders.chain import ExtenderVerdict
from tiphys.scheduler.nominator import Nominator
from tiphys.scheduler.podinfo import PodInfo
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


async def events_of(cluster: LocalCluster, name: str) -> list[core_v1.Event]:
    events = (await cluster.client.list(core_v1.Event, "default")).items
    return [event for event in events if event.involved_object.name == name]


async def messages(cluster: LocalCluster, name: str, reason: str) -> list[str]:
    """What events of that reason say of a pod, as soon as there are any."""

    async def said() -> list[str]:
        return [e.message for e in await events_of(cluster, name) if e.reason == reason]

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
    [event] = [e for e in await events_of(cluster, "low") if e.reason == "Preempted"]
    assert event.action == "Preempting" and event.reporting_component == "default-scheduler"
    assert event.related is not None and event.related.name == "high"


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


# --- what extenders say of nodes ---


class Extenders:
    """Say what a test has them say; `meanwhile` happens while they think."""

    def __init__(self, verdict: ExtenderVerdict) -> None:
        self.verdict = verdict
        self.asked: list[list[str]] = []
        self.meanwhile: Any = lambda: None

    def is_interested(self, one: core_v1.Pod) -> bool:
        return "extended" in one.metadata.name

    async def filter_and_score(self, one: core_v1.Pod, nodes: Any) -> ExtenderVerdict:
        self.asked.append([each.metadata.name for each in nodes])
        self.meanwhile()
        self.meanwhile = lambda: None
        return self.verdict


class Choice:
    """One cycle over three nodes that a pod fits, and one that it does not."""

    def __init__(self, **verdict: Any) -> None:
        self.snapshot = snapshot_of(node("a"), node("b"), node("c"), node("small", cpu="1"))
        self.nominator = Nominator(self.snapshot)
        self.extenders = Extenders(ExtenderVerdict(**verdict))
        cycle: Any = SchedulingCycle.__new__(SchedulingCycle)
        cycle._snapshot, cycle._nominator = self.snapshot, self.nominator
        profile = SimpleNamespace(framework=framework(self.snapshot), extenders=self.extenders)
        cycle._profiles = {"default-scheduler": profile}
        self.cycle: SchedulingCycle = cycle

    async def placed(self, name: str = "extended") -> Any:
        one = PodInfo(requesting(name, {"cpu": "2"}, schedulerName="default-scheduler"))
        return await self.cycle.find_node(one)


async def test_a_pod_that_no_extender_cares_for_is_placed_without_them() -> None:
    choice = Choice(passed=set())
    assert (await choice.placed("plain")).node in ("a", "b", "c") and choice.extenders.asked == []


async def test_extenders_are_asked_about_the_nodes_that_fit_and_choose_by_scores() -> None:
    choice = Choice(passed={"a", "b"}, scores={"b": 900.0, "c": 9000.0, "gone": 1.0})
    assert (await choice.placed()).node == "b"
    assert choice.extenders.asked == [["a", "b", "c"]]


async def test_a_node_that_a_pod_is_nominated_to_is_taken_if_extenders_let_it() -> None:
    for passed, chosen in (({"a", "b"}, "a"), ({"b"}, "b")):
        choice = Choice(passed=passed, scores={"b": 900.0})
        choice.nominator._node_names["extended"] = "a"
        assert (await choice.placed()).node == chosen


async def test_why_extenders_let_no_node_pass_is_said_with_the_rest() -> None:
    choice = Choice(passed=set(), reasons={"no licence": 2, "too far": 1}, unresolvable={"c"})
    placement = await choice.placed()
    assert placement.node == "" and placement.unschedulable_plugins == []
    assert placement.reasons["no licence"] == 2 and placement.reasons["Insufficient cpu"] == 1
    left = placement.resolvable_rows(choice.snapshot)
    assert [choice.snapshot.names[row] for row in np.flatnonzero(left)] == ["a", "b"]


async def test_an_extender_that_fails_stops_the_cycle() -> None:
    choice = Choice(passed={"a"}, error="no answer")
    placement = await choice.placed()
    assert (placement.node, placement.error) == ("", "no answer")


async def test_nodes_that_go_or_come_meanwhile_are_noticed() -> None:
    choice = Choice(passed={"a"})
    choice.extenders.meanwhile = lambda: choice.snapshot.remove_node("a")
    assert (await choice.placed()).node == ""
    choice = Choice(passed={"a"})
    more = [node(f"more-{number}") for number in range(100)]
    choice.extenders.meanwhile = lambda: [choice.snapshot.put_node(each) for each in more]
    assert (await choice.placed()).node == "a"
    assert [len(names) for names in choice.extenders.asked] == [3, 103], "all are asked about"


async def test_a_pod_that_fits_nowhere_is_not_shown_to_extenders() -> None:
    choice = Choice(passed={"a"})
    for name in ("a", "b", "c"):
        choice.snapshot.remove_node(name)
    placement = await choice.placed()
    assert placement.node == "" and choice.extenders.asked == []
    assert placement.reasons == {"Insufficient cpu": 1}


@pytest.mark.parametrize(
    ("concerned", "there", "kept", "reserved"),
    [
        (False, True, False, True),
        (True, True, True, True),
        (True, True, False, False),
        (True, False, True, False),
    ],
)
def test_devices_are_reserved_on_a_node_that_is_there(
    concerned: bool, there: bool, kept: bool, reserved: bool
) -> None:
    choice = Choice(passed=set())
    cycle: Any = choice.cycle
    asked: list[str] = []

    def reserve(one: core_v1.Pod, where: core_v1.Node) -> bool:
        asked.append(where.metadata.name)
        return kept

    cycle._devices = SimpleNamespace(concerns=lambda one: concerned, reserve=reserve)
    assert cycle.reserve(info("p"), "a" if there else "gone") is reserved
    assert asked == (["a"] if concerned and there else [])
