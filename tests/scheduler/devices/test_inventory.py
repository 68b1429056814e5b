"""Slices become pools, as one node sees them."""

from __future__ import annotations

import pytest

from tests.builders import node
from tests.scheduler.device_builders import DRIVER, device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.devices.inventory import DeviceID, Inventory


def generation(number: int, name: str, *devices: str, count: int = 1) -> v1.ResourceSlice:
    made = slice_of("a", *(device(one) for one in devices), name=name)
    made.spec.pool = v1.ResourcePool(name="a", generation=number, resource_slice_count=count)
    return made


def test_older_generations_do_not_count() -> None:
    inventory = Inventory()
    inventory.put(generation(1, "s1", "old"))
    inventory.put(generation(2, "s2", "new"))
    [pool] = inventory.pools_of(node("a"))
    assert [offer.id.device for offer in pool.offers] == ["new"]
    assert inventory.offer(DeviceID(DRIVER, "a", "old")) is None
    inventory.remove("s2")
    assert inventory.offer(DeviceID(DRIVER, "a", "old")) is not None


@pytest.mark.parametrize(
    ("slices", "usable"),
    [
        ([generation(1, "s1", "d0")], True),
        ([generation(1, "s1", "d0", count=2)], False),
        ([generation(1, "s1", "d0", count=2), generation(1, "s2", "d1", count=2)], True),
        ([generation(1, "s1", "d0", count=2), generation(1, "s2", "d0", count=2)], False),
    ],
    ids=["complete", "a slice is missing", "two slices", "a device twice"],
)
def test_which_pools_are_usable(slices: list[v1.ResourceSlice], usable: bool) -> None:
    inventory = Inventory()
    for one in slices:
        inventory.put(one)
    [pool] = inventory.pools_of(node("a"))
    assert pool.is_usable is usable


def test_a_node_sees_its_own_pools() -> None:
    inventory = Inventory()
    inventory.put(slice_of("a", device("d0")))
    inventory.put(slice_of("b", device("d0")))
    assert [pool.id.pool for pool in inventory.pools_of(node("a"))] == ["a"]
    inventory.remove("a")
    inventory.remove("a")
    assert inventory.pools_of(node("a")) == []
