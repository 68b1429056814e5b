"""What drivers offer goes when they do not come back."""

from __future__ import annotations

from tests.scheduler.device_builders import device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.node.devices.slices import DriverSlices
from tiphys.testing import LocalCluster

DRIVER = "gpu.example.com"


async def left(server: LocalCluster) -> set[str]:
    page = await server.client.list(v1.ResourceSlice)
    return {one.spec.node_name or "" for one in page.items}


async def test_slices_of_a_driver_that_is_gone_go_from_its_node_alone(server: LocalCluster) -> None:
    for node in ("a", "b"):
        offered = slice_of(node, device("d0"))
        offered.metadata.uid = ""
        await server.client.create(offered)
    await DriverSlices(server.client, "a").look(set())
    assert await left(server) == {"a", "b"}  # it has half a minute to come back
    hasty = DriverSlices(server.client, "a", delay=0)
    await hasty.look({DRIVER})
    assert await left(server) == {"a", "b"}
    await hasty.look(set())
    assert await left(server) == {"b"}
