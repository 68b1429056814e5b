"""What of a machine is left for pods."""

from __future__ import annotations

import pytest

from tiphys.node.resources.pressure import parse_thresholds
from tiphys.node.resources.reservation import allocatable, kept_back

CAPACITY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}


@pytest.mark.parametrize(
    ("reserved", "eviction", "left"),
    [
        ({}, "", CAPACITY),
        ({"cpu": 500}, "", {**CAPACITY, "cpu": "3500m"}),
        ({"memory": 1 << 30}, "memory.available<1Gi", {**CAPACITY, "memory": "6Gi"}),
        ({}, "nodefs.available<10%", {**CAPACITY, "ephemeral-storage": "90Gi"}),
        ({"memory": 1 << 40}, "nodefs.inodesFree<5%", {**CAPACITY, "memory": "0"}),
        ({"pid": 100}, "", CAPACITY),
    ],
)
def test_what_is_reserved_and_what_eviction_keeps_free_is_not(
    reserved: dict[str, int], eviction: str, left: dict[str, str]
) -> None:
    kept = kept_back(CAPACITY, reserved, parse_thresholds(eviction))
    assert allocatable(CAPACITY, kept) == left


def test_memory_of_huge_pages_is_given_as_these_alone() -> None:
    huge = {"hugepages-1Gi": "2Gi", "hugepages-2Mi": "0"}
    left = allocatable(CAPACITY | huge, {"memory": 1 << 30})
    assert left == CAPACITY | huge | {"memory": "5Gi"}
