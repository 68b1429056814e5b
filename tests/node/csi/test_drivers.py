"""Drivers that register stand in the node's CSINode, and those that go do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import node as a_node
from tests.node.csi.driverprogram import NAME, PLUGIN, DriverProgram
from tiphys.api import core_v1, storage_v1
from tiphys.node.csi import messages as m
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.nodeinfo import NODE_ID, NodeInfo
from tiphys.node.plugins.watcher import Plugin, PluginRefused
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.testing import LocalCluster

ZONE = "topology.disk.example.com/zone"


@pytest.mark.parametrize(
    ("versions", "why"),
    [
        ((), "Plugin returned an empty list for supported versions"),
        (("0.3.0",), r'None of the versions specified \["0.3.0"\] are supported'),
        (("2.0.0", "x"), r'None of the versions specified \["2.0.0" "x"\] are supported'),
    ],
)
def test_versions_that_are_not_spoken(tmp_path: Path, versions: tuple[str, ...], why: str) -> None:
    drivers = Drivers(KubeletFolder(tmp_path), None)  # type: ignore[arg-type]
    with pytest.raises(PluginRefused, match=why):
        drivers.validate(Plugin(NAME, "/var/lib/kubelet/x", versions))
    drivers.validate(Plugin(NAME, "/var/lib/kubelet/x", (*versions, "1.0.0")))


async def test_a_driver_comes_and_goes(tmp_path: Path, server: LocalCluster) -> None:
    client, folder = server.client, KubeletFolder(tmp_path / "kubelet")
    await client.create(a_node("n"))
    program = DriverProgram(folder)
    topology = m.Topology(segments={ZONE: "east"})
    program.info = m.NodeGetInfoResponse("n-1", 7, topology)
    await program.start()
    drivers = Drivers(folder, NodeInfo(client, "n"))
    await drivers.register(PLUGIN)
    node = await client.get(core_v1.Node, "n")
    csi_node = await client.get(storage_v1.CSINode, "n")
    resources = storage_v1.VolumeNodeResources(count=7)
    assert csi_node.spec.drivers == [storage_v1.CSINodeDriver(NAME, "n-1", [ZONE], resources)]
    assert csi_node.metadata.owner_references[0].uid == node.metadata.uid
    assert node.metadata.labels[ZONE] == "east"
    assert node.metadata.annotations[NODE_ID] == f'{{"{NAME}":"n-1"}}'
    await drivers.deregister(PLUGIN)
    assert (await client.get(storage_v1.CSINode, "n")).spec.drivers == []
    assert NODE_ID not in (await client.get(core_v1.Node, "n")).metadata.annotations
    await program.stop()


async def test_a_driver_is_asked_again_how_many_volumes_a_node_can_have(
    server: LocalCluster, tmp_path: Path
) -> None:
    folder = KubeletFolder(tmp_path / "kubelet")
    await server.client.create(a_node("n"))
    program = DriverProgram(folder)
    program.info = m.NodeGetInfoResponse("n-1", 7)
    await program.start()
    drivers = Drivers(folder, NodeInfo(server.client, "n"))
    await drivers.register(PLUGIN)
    program.info = m.NodeGetInfoResponse("n-1", 5)

    async def limit_after(period: int) -> int | None:
        async def period_of(driver: str) -> int:
            return period

        await drivers.renew(period_of)
        [row] = (await server.client.get(storage_v1.CSINode, "n")).spec.drivers
        return row.allocatable.count if row.allocatable is not None else None

    assert await limit_after(0) == 7
    assert await limit_after(3600) == 7
    drivers.get(NAME).asked_at -= 3600
    assert await limit_after(3600) == 5
    await program.stop()


async def test_a_driver_cannot_move_the_node(tmp_path: Path, server: LocalCluster) -> None:
    folder = KubeletFolder(tmp_path / "kubelet")
    there = a_node("n")
    there.metadata.labels[ZONE] = "west"
    await server.client.create(there)
    program = DriverProgram(folder)
    program.info = m.NodeGetInfoResponse("n-1", 0, m.Topology(segments={ZONE: "east"}))
    await program.start()
    drivers = Drivers(folder, NodeInfo(server.client, "n"))
    with pytest.raises(PluginRefused, match="detected topology value collision"):
        await drivers.register(PLUGIN)
    await program.stop()


async def test_the_csinode_of_a_node_before_this_one_is_replaced(server: LocalCluster) -> None:
    client = server.client
    await client.create(a_node("n"))
    before = await NodeInfo(client, "n").initialize()
    await client.delete(core_v1.Node, "n")
    await client.create(a_node("n"))
    after = await NodeInfo(client, "n").initialize()
    assert before.metadata.uid != after.metadata.uid
    assert await NodeInfo(client, "n").initialize() == after
