"""A volume has grown when its claim does not say so yet; what its driver cannot do, the claim says."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.node.csi.builders import Node, a_pod
from tests.node.csi.builders import node as node
from tests.node.csi.driverprogram import NAME
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import patch
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.expansion import Expander, has_grown, status_after, wanted_size
from tiphys.node.csi.source import of_persistent


def claim(
    size: str, *conditions: str, turn: str = "NodeResizePending", allocated: str = "2Gi"
) -> core_v1.PersistentVolumeClaim:
    status = {
        "capacity": {"storage": size} if size else {},
        "conditions": [{"type": type, "status": "True"} for type in conditions],
        "allocatedResourceStatuses": {"storage": turn} if turn else {},
        "allocatedResources": {"storage": allocated} if allocated else {},
    }
    asked = {"requests": {"storage": "2Gi"}}
    body = {"metadata": {"name": "c"}, "spec": {"resources": asked}, "status": status}
    return from_builtins(body, core_v1.PersistentVolumeClaim)


def volume(size: str) -> core_v1.PersistentVolume:
    csi = {"driver": NAME, "volumeHandle": "disk-1"}
    body = {"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": size}, "csi": csi}}
    return from_builtins(body, core_v1.PersistentVolume)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [("1Gi", "2Gi", True), ("1024Mi", "1Gi", False), ("2Gi", "1Gi", False), ("", "1Gi", False)],
)
def test_what_has_grown(before: str, now: str, expected: bool) -> None:
    assert has_grown(claim(before), volume(now)) is expected


@pytest.mark.parametrize(
    ("turn", "allocated", "expected"),
    [
        ("NodeResizePending", "2Gi", "2Gi"),
        ("NodeResizeInProgress", "2Gi", "2Gi"),
        ("NodeResizeInfeasible", "2Gi", ""),
        ("ControllerResizeInProgress", "2Gi", ""),
        ("", "2Gi", ""),
        ("", "", "3Gi"),
    ],
)
def test_whose_turn_it_is_stands_in_the_claim(turn: str, allocated: str, expected: str) -> None:
    assert wanted_size(claim("1Gi", turn=turn, allocated=allocated), volume("3Gi")) == expected


def test_the_claim_says_so_afterwards() -> None:
    grown = claim("1Gi", "FileSystemResizePending", "NodeResizeError", "Other")
    change = status_after(grown, "2Gi")["status"]
    assert change["capacity"] == {"storage": "2Gi"}
    assert [one["type"] for one in change["conditions"]] == ["Other"]
    assert change["allocatedResourceStatuses"] == {"storage": None}


class Cluster:
    """Has one claim and the events about it."""

    def __init__(self) -> None:
        self.claim = claim("1Gi")
        self.turns: list[str] = []
        self.events: list[str] = []

    async def get(self, kind: type, name: str, namespace: str) -> core_v1.PersistentVolumeClaim:
        return self.claim

    async def patch(self, kind: type, name: str, change: Any, *args: Any, **how: Any) -> None:
        whole = patch.merge(to_builtins(self.claim), change)
        self.claim = from_builtins(whole, core_v1.PersistentVolumeClaim)
        self.turns.append(self.claim.status.allocated_resource_statuses.get("storage", ""))

    def record(self, about: Any, kind: str, reason: str, text: str) -> None:
        self.events.append(reason)


async def grow(node: Node, cluster: Any, times: int = 1) -> None:
    """The pod has the volume, and the node looks whether it has grown."""
    source = of_persistent(volume("2Gi"), read_only=False)
    await node.mounter.mount(a_pod("a"), source)
    credentials = Credentials(node.objects)  # type: ignore[arg-type]
    expander = Expander(cluster, cluster, node.drivers, node.mounter, credentials)
    for _ in range(times):
        await expander.expand(a_pod("a"), cluster.claim, volume("2Gi"), source)


async def test_the_driver_is_told_once_and_the_claim_follows(node: Node) -> None:
    cluster = Cluster()
    await grow(node, cluster, times=2)
    assert node.program.methods() == ["Stage", "Publish", "Expand"]
    assert node.program.last("Expand").capacity_range.required_bytes == 2 << 30
    assert cluster.turns == ["NodeResizeInProgress", ""]
    assert cluster.claim.status.capacity == {"storage": "2Gi"}
    assert cluster.events == ["FileSystemResizeSuccessful"] * 2


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
    await grow(node, cluster, times=2)
    assert cluster.turns[-1] == turn
    assert cluster.events == ["VolumeResizeFailed"] * failures
    (condition,) = cluster.claim.status.conditions
    assert condition.type == "NodeResizeError"
    assert condition.message.startswith("failed to expand pvc with Expander.NodeExpand failed to")


async def test_what_failed_before_is_given_up_when_less_is_asked_for(node: Node) -> None:
    cluster = Cluster()
    node.program.refuses["NodeExpandVolume"] = grpc.StatusCode.INTERNAL, "full"
    cluster.claim.spec.resources.requests = {"storage": "1536Mi"}  # type: ignore[dict-item]
    await grow(node, cluster, times=2)
    assert cluster.turns == ["NodeResizeInProgress", "NodeResizeInProgress", "NodeResizeInfeasible"]


async def test_a_driver_that_may_still_be_at_work_is_asked_again(node: Node) -> None:
    cluster = Cluster()
    node.program.refuses["NodeExpandVolume"] = grpc.StatusCode.UNAVAILABLE, "busy"
    await grow(node, cluster, times=2)
    assert cluster.turns == ["NodeResizeInProgress"]
    assert cluster.claim.status.conditions == []
