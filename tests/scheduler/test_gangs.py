"""Gangs: all pods of one have a node, or none has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.scheduler.builders import default_account
from tiphys.api import core_v1, scheduling_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.scheduler.gangs import Gang, gang_of
from tiphys.testing import LocalCluster

NAME = "scheduling.x-k8s.io/pod-group"
SIZE = "pod-group.scheduling.sigs.k8s.io/min-available"


together = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(controllers=True) as made:
        await default_account(made)
        for name, value in (("high", 1000), ("low", 1)):
            await made.client.create(
                scheduling_v1.PriorityClass(metadata=ObjectMeta(name=name), value=value)
            )
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(shared: LocalCluster) -> AsyncIterator[LocalCluster]:
    """Without nodes and pods."""
    yield shared
    for node_ in (await shared.client.list(core_v1.Node)).items:
        await shared.client.delete(core_v1.Node, node_.metadata.name)
    for one in await shared.pods():
        await shared.client.delete(core_v1.Pod, one.metadata.name, "default", grace=0)


async def add_node(cluster: LocalCluster, name: str, cpu: int) -> None:
    made = node(name, cpu=str(cpu))
    made.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    await cluster.client.create(made)


def member(gang: str, index: int, size: int, cpu: int = 1, **spec: Any) -> core_v1.Pod:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": str(cpu)}}}
    made = pod(f"{gang}-{index}", containers=[container], **spec)
    made.metadata.labels = {NAME: gang, SIZE: str(size)}
    return made


async def create(cluster: LocalCluster, gang: str, size: int, count: int = 0, **rest: Any) -> None:
    for index in range(count or size):
        await cluster.client.create(member(gang, index, size, **rest))


async def nodes_of(cluster: LocalCluster, gang: str) -> list[str]:
    """The nodes of its pods that have one."""
    pods = await cluster.pods(labels=f"{NAME}={gang}")
    return [one.spec.node_name for one in pods if one.spec.node_name]


async def bound(cluster: LocalCluster, gang: str, count: int) -> None:
    async def check() -> bool:
        return len(await nodes_of(cluster, gang)) == count

    await cluster.eventually(check)


async def refused(cluster: LocalCluster, gang: str, text: str) -> None:
    """Waits until every pod of a gang says that it has no node, in those words."""

    async def check() -> bool:
        pods = await cluster.pods(labels=f"{NAME}={gang}")
        said = [
            condition.message
            for one in pods
            for condition in one.status.conditions
            if condition.type == "PodScheduled" and condition.status == "False"
        ]
        return len(said) == len(pods) and all(text in message for message in said)

    await cluster.eventually(check)


@together
async def test_all_or_none(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 2)
    await create(cluster, "g", 3)
    await refused(cluster, "g", "pod group default/g needs nodes for 3 pods at once: 0/1 nodes")
    assert await nodes_of(cluster, "g") == []
    await add_node(cluster, "b", 1)
    await bound(cluster, "g", 3)


@together
async def test_a_node_is_not_promised_twice(cluster: LocalCluster) -> None:
    """Neither by a gang nor by pods alone, of which the next is looked at while one is bound."""
    await add_node(cluster, "a", 2)
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    pods = [pod(f"p{number}", containers=[container]) for number in range(6)]
    await asyncio.gather(*(cluster.client.create(one) for one in pods))

    async def all_are_decided_on() -> bool:
        """There has been room for two at least; of the others the node has been said to be full."""
        placed, waiting = [], []
        for one in await cluster.pods():
            (placed if one.spec.node_name else waiting).append(one)
        told = [c.message for one in waiting for c in one.status.conditions]
        return len(placed) >= 2 and sum("Insufficient cpu" in one for one in told) == len(waiting)

    await cluster.eventually(all_are_decided_on)
    assert len([one for one in await cluster.pods() if one.spec.node_name]) == 2


@together
async def test_a_gang_waits_for_its_pods(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 9)
    await create(cluster, "g", 3, count=2)
    await refused(cluster, "g", "of 3 pods")
    assert await nodes_of(cluster, "g") == []
    await cluster.client.create(member("g", 2, 3))
    await bound(cluster, "g", 3)


@together
async def test_two_gangs_that_do_not_fit_both_do_not_block_each_other(
    cluster: LocalCluster,
) -> None:
    """Their pods come in turns: placed one by one, each gang would have half of the room."""
    await add_node(cluster, "a", 4)
    for index in range(4):
        for gang in ("g", "h"):
            await cluster.client.create(member(gang, index, 4))

    async def one_has_all() -> bool:
        return sorted([len(await nodes_of(cluster, g)) for g in ("g", "h")]) == [0, 4]

    await cluster.eventually(one_has_all)
    winner = "g" if await nodes_of(cluster, "g") else "h"
    for index in range(4):
        await cluster.client.delete(core_v1.Pod, f"{winner}-{index}", "default", grace=0)
    await bound(cluster, "h" if winner == "g" else "g", 4)


@together
async def test_what_a_gang_does_not_get_is_there_for_others(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 2)
    await create(cluster, "g", 3)
    await refused(cluster, "g", "at once")
    alone = member("x", 0, 1, cpu=2)
    alone.metadata.labels = {}
    await cluster.client.create(alone)

    async def check() -> bool:
        return bool((await cluster.client.get(core_v1.Pod, "x-0", "default")).spec.node_name)

    await cluster.eventually(check)


@together
async def test_one_that_is_replaced_joins_those_that_have_nodes(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 3)
    await create(cluster, "g", 3)
    await bound(cluster, "g", 3)
    await cluster.client.delete(core_v1.Pod, "g-1", "default", grace=0)
    await cluster.client.create(member("g", 1, 3))
    await bound(cluster, "g", 3)


@together
async def test_those_that_are_more_than_needed_take_what_is_left(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 3)
    await create(cluster, "g", 2, count=4)
    await bound(cluster, "g", 3)
    await add_node(cluster, "b", 1)
    await bound(cluster, "g", 4)


@together
async def test_room_is_made_for_all_of_a_gang_or_for_none(cluster: LocalCluster) -> None:
    await add_node(cluster, "a", 2)
    await add_node(cluster, "b", 1)
    await create(cluster, "low", 3, priorityClassName="low", terminationGracePeriodSeconds=0)
    await bound(cluster, "low", 3)
    await create(cluster, "large", 4, priorityClassName="high")
    await refused(cluster, "large", "at once")
    assert len(await nodes_of(cluster, "low")) == 3
    await create(cluster, "fits", 3, priorityClassName="high")
    await bound(cluster, "fits", 3)
    assert await nodes_of(cluster, "large") == []


@together
@pytest.mark.parametrize("seed", range(3))
async def test_no_gang_is_ever_half_placed(cluster: LocalCluster, seed: int) -> None:
    """Gangs of random sizes, pods in random order, and nodes that come meanwhile."""
    dice = random.Random(seed)
    sizes = {f"g{index}": dice.randint(2, 6) for index in range(12)}
    pods = [(gang, i) for gang, size in sizes.items() for i in range(size)]
    steps: list[tuple[str, int]] = [*pods, *((f"node-{i}", 0) for i in range(8))]
    dice.shuffle(steps)
    for name, index in steps:
        if name in sizes:
            await cluster.client.create(
                member(name, index, sizes[name], cpu=dice.choice((1, 1, 2)))
            )
        else:
            await add_node(cluster, name, dice.randint(2, 6))

    async def settled() -> dict[str, int] | None:
        found = await cluster.pods()
        known = all(
            one.spec.node_name or any(c.type == "PodScheduled" for c in one.status.conditions)
            for one in found
        )
        counts = {gang: len(await nodes_of(cluster, gang)) for gang in sizes}
        whole = all(count in (0, sizes[gang]) for gang, count in counts.items())
        return counts if known and whole else None

    counts = await cluster.eventually(settled)
    assert any(counts.values())
    used: dict[str, int] = {}
    for one in await cluster.pods():
        if one.spec.node_name:
            cpu = int(one.spec.containers[0].resources.requests["cpu"])
            used[one.spec.node_name] = used.get(one.spec.node_name, 0) + cpu
    for one_node in (await cluster.client.list(core_v1.Node)).items:
        assert used.get(one_node.metadata.name, 0) <= int(one_node.status.allocatable["cpu"])


@pytest.mark.parametrize(
    ("labels", "gang"),
    [
        ({}, None),
        ({NAME: "g"}, None),
        ({SIZE: "3"}, None),
        ({NAME: "g", SIZE: "1"}, None),
        ({NAME: "g", SIZE: "-3"}, None),
        ({NAME: "g", SIZE: "many"}, None),
        ({NAME: "g", SIZE: "9999999999"}, None),
        ({NAME: "g", SIZE: "3"}, Gang("ns/g", 3)),
        ({"pod-group.scheduling.sigs.k8s.io/name": "g", SIZE: "3"}, Gang("ns/g", 3)),
    ],
)
def test_who_is_in_a_gang(labels: dict[str, str], gang: Gang | None) -> None:
    assert gang_of("ns", labels) == gang
