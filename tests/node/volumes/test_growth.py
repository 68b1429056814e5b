"""A volume has grown when its claim does not say so yet; whose turn it is stands in the claim."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tests.node.volumes.growing import Cluster, claim, volume
from tiphys.node.volumes.growth import (
    GrowthError,
    VolumeGrowth,
    has_grown,
    status_after,
    wanted_size,
)


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


async def grow(cluster: Cluster, error: GrowthError | None = None, times: int = 2) -> list[str]:
    """The sizes that were asked for while a node looked so often."""
    sizes: list[str] = []

    async def carry_out(size: str) -> None:
        sizes.append(size)
        if error is not None:
            raise error

    growth = VolumeGrowth(cluster, cluster)  # type: ignore[arg-type]
    for _ in range(times):
        await growth.follow(pod(), cluster.claim, volume("2Gi"), carry_out)
    return sizes


async def test_it_grows_once_and_the_claim_follows() -> None:
    cluster = Cluster()
    assert await grow(cluster) == ["2Gi"]
    assert cluster.turns == ["NodeResizeInProgress", ""]
    assert cluster.claim.status.capacity == {"storage": "2Gi"}
    assert cluster.events == ["FileSystemResizeSuccessful"] * 2


@pytest.mark.parametrize(
    ("error", "turn", "tries"),
    [
        (GrowthError("x", is_infeasible=True), "NodeResizeInfeasible", 1),
        (GrowthError("x"), "NodeResizeInProgress", 2),
        (GrowthError("x", is_in_use=True), "NodeResizeInProgress", 1),
    ],
)
async def test_what_failed_stands_in_the_claim(error: GrowthError, turn: str, tries: int) -> None:
    cluster = Cluster()
    assert len(await grow(cluster, error)) == tries
    assert cluster.turns[-1] == turn
    assert cluster.events == ["VolumeResizeFailed"] * tries
    (condition,) = cluster.claim.status.conditions
    assert (condition.type, condition.message) == ("NodeResizeError", "failed to expand pvc with x")


async def test_what_failed_before_is_given_up_when_less_is_asked_for() -> None:
    cluster = Cluster()
    cluster.claim.spec.resources.requests = {"storage": "1536Mi"}  # type: ignore[dict-item]
    await grow(cluster, GrowthError("x"))
    assert cluster.turns == ["NodeResizeInProgress", "NodeResizeInProgress", "NodeResizeInfeasible"]


async def test_what_may_still_go_on_does_not_stand_in_the_claim() -> None:
    cluster = Cluster()
    await grow(cluster, GrowthError("x", is_final=False))
    assert cluster.turns == ["NodeResizeInProgress"]
    assert cluster.claim.status.conditions == []
