"""Drivers are told of volumes that have grown, and what they say is understood."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.node.csi.builders import Node, a_pod
from tests.node.csi.builders import node as node
from tests.node.volumes.growing import Cluster, volume
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.expansion import Expander
from tiphys.node.csi.source import of_persistent
from tiphys.node.volumes.growth import VolumeGrowth


async def grow(node: Node, cluster: Any) -> None:
    """The pod has the volume, and the node looks whether it has grown, twice."""
    source = of_persistent(volume("2Gi"), read_only=False)
    await node.mounter.mount(a_pod("a"), source)
    credentials = Credentials(node.objects)  # type: ignore[arg-type]
    growth = VolumeGrowth(cluster, cluster)
    expander = Expander(growth, node.drivers, node.mounter, credentials)
    for _ in range(2):
        await expander.expand(a_pod("a"), cluster.claim, volume("2Gi"), source)


async def test_the_driver_is_told_once(node: Node) -> None:
    await grow(node, Cluster())
    assert node.program.methods() == ["Stage", "Publish", "Expand"]
    request = node.program.last("Expand")
    assert request.capacity_range.required_bytes == 2 << 30
    assert request.staging_target_path == node.program.last("Stage").staging_target_path


async def test_a_driver_that_has_no_part_in_it_is_not_told(node: Node) -> None:
    cluster = Cluster()
    node.drivers.get("disk.example.com").can = frozenset()
    await grow(node, cluster)
    assert node.program.methods() == ["Publish"]
    assert cluster.turns == []


@pytest.mark.parametrize(
    ("code", "turn", "failures"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, "NodeResizeInfeasible", 1),
        (grpc.StatusCode.INTERNAL, "NodeResizeInProgress", 2),
        (grpc.StatusCode.FAILED_PRECONDITION, "NodeResizeInProgress", 1),
    ],
)
async def test_a_refusal_stands_in_the_claim(
    node: Node, code: grpc.StatusCode, turn: str, failures: int
) -> None:
    cluster = Cluster()
    node.program.refuses["NodeExpandVolume"] = code, "too large"
    await grow(node, cluster)
    assert cluster.turns[-1] == turn
    assert cluster.events == ["VolumeResizeFailed"] * failures
    (condition,) = cluster.claim.status.conditions
    assert condition.message.startswith("failed to expand pvc with Expander.NodeExpand failed to")


async def test_a_driver_that_may_still_be_at_work_has_not_failed(node: Node) -> None:
    cluster = Cluster()
    node.program.refuses["NodeExpandVolume"] = grpc.StatusCode.UNAVAILABLE, "busy"
    await grow(node, cluster)
    assert cluster.events == ["VolumeResizeFailed"] * 2
    assert cluster.claim.status.conditions == []
