"""Nodes of a real cluster get ranges of pods, and give them back."""

from __future__ import annotations

from typing import Any

from tests.builders import node
from tiphys.api import core_v1
from tiphys.controllers.nodeleaving import LEAVES
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

TWO = {"pod_networks": ("10.50.0.0/23", "fd00:50::/63"), "service_networks": ("10.96.0.0/16",)}


def joinable() -> LocalCluster:
    """A cluster whose pod networks have ranges for two nodes."""
    return LocalCluster(controllers=True, machines=TWO)


async def join(cluster: LocalCluster, *names: str) -> None:
    for name in names:
        await cluster.client.create(node(name))


async def ranges(cluster: LocalCluster, name: str) -> list[str]:
    return list((await cluster.client.get(core_v1.Node, name)).spec.pod_cidrs)


async def test_each_node_gets_a_range_of_each_family_and_a_leaving_one_gives_it_back() -> None:
    async with joinable() as cluster:
        await join(cluster, "a", "b", "c")
        given = [await cluster.eventually(lambda n=n: ranges(cluster, n)) for n in "ab"]
        assert given == [["10.50.0.0/24", "fd00:50::/64"], ["10.50.1.0/24", "fd00:50:0:1::/64"]]
        assert await cluster.eventually(lambda: events(cluster, "CIDRNotAvailable")) == ["c"]
        await cluster.client.delete(core_v1.Node, "a")
        assert await cluster.eventually(lambda: ranges(cluster, "c")) == given[0]


async def events(cluster: LocalCluster, reason: str) -> list[str]:
    listed = (await cluster.client.list(core_v1.Event)).items
    return sorted({e.involved_object.name for e in listed if e.reason == reason})


async def test_what_nodes_had_before_the_controllers_started_is_not_given_again(
    tmp_path: Any,
) -> None:
    async with LocalCluster(store="sqlite", root=tmp_path) as before:
        old = node("old")
        old.spec.pod_cidrs = ["10.50.0.0/24"]
        await before.client.create(old)
    async with LocalCluster(
        controllers=True, store="sqlite", root=tmp_path, machines=TWO
    ) as cluster:
        await join(cluster, "new")
        assert (await cluster.eventually(lambda: ranges(cluster, "new")))[0] == "10.50.1.0/24"


async def test_a_node_that_asks_for_it_is_deleted_with_its_pods() -> None:
    async with LocalCluster(nodes=1) as cluster:
        await join(cluster, "leaver", "other")
        for name, uid in (("other", "of-another"), ("leaver", "")):  # worked on in this order
            there = await cluster.client.get(core_v1.Node, name)
            change = {"metadata": {"annotations": {LEAVES: uid or there.metadata.uid}}}
            await cluster.client.patch(core_v1.Node, name, change)
        await cluster.eventually(lambda: is_gone(cluster, "leaver"))
        assert not await is_gone(cluster, "other")


async def is_gone(cluster: LocalCluster, name: str) -> bool:
    try:
        await cluster.client.get(core_v1.Node, name)
    except StatusError as error:
        return error.code == 404
    return False
