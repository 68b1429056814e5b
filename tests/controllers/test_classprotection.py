"""A volume attributes class that is deleted stays until nothing has it any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE
from tiphys.controllers.classprotection import PROTECTION, classes_of_claim
from tiphys.testing import LocalCluster


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """With the classes `fast` and `slow`."""
    async with LocalCluster(controllers=True) as made:
        for name in ("fast", "slow"):
            body = {"metadata": {"name": name}, "driverName": "d", "parameters": {"a": "b"}}
            await made.client.create(from_builtins(body, storage_v1.VolumeAttributesClass))
        yield made


def claim(**status: object) -> core_v1.PersistentVolumeClaim:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "volumeAttributesClassName": "fast",
    }
    body = {"metadata": {"name": "c", "namespace": "default"}, "spec": spec, "status": status}
    return from_builtins(body, core_v1.PersistentVolumeClaim)


async def classes(cluster: LocalCluster) -> dict[str, list[str]]:
    items = (await cluster.client.list(storage_v1.VolumeAttributesClass)).items
    return {one.metadata.name: one.metadata.finalizers for one in items}


def test_a_claim_has_the_classes_that_it_comes_from_and_goes_to() -> None:
    change = {"status": "InProgress", "targetVolumeAttributesClassName": "later"}
    changing = claim(currentVolumeAttributesClassName="old", modifyVolumeStatus=change)
    assert classes_of_claim(changing) == ["fast", "later", "old"]


async def test_a_class_stays_until_no_claim_has_it(cluster: LocalCluster) -> None:
    assert (await classes(cluster))["fast"] == [PROTECTION]
    await cluster.client.create(claim())
    for name in ("fast", "slow"):  # what is looked at first is still there when the other is gone
        await cluster.client.delete(storage_v1.VolumeAttributesClass, name)
    await cluster.eventually(lambda: _are(cluster, {"fast"}))
    await cluster.client.delete(core_v1.PersistentVolumeClaim, "c", "default")
    await cluster.eventually(lambda: _are(cluster, set()))


async def _are(cluster: LocalCluster, names: set[str]) -> bool:
    return set(await classes(cluster)) == names


async def test_a_class_that_lost_its_protection_gets_it_back(cluster: LocalCluster) -> None:
    change = {"metadata": {"finalizers": None}}
    await cluster.client.patch(storage_v1.VolumeAttributesClass, "slow", change, media=MERGE)

    async def is_protected() -> bool:
        return (await classes(cluster))["slow"] == [PROTECTION]

    await cluster.eventually(is_protected)
