"""When a claim gets a volume, and when a volume's folder goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.addons.local_volumes.builders import claim, storage_class, volume
from tiphys.addons.local_volumes.controller import has_outgrown, is_released, needs_volume
from tiphys.addons.local_volumes.provisioning import PROVISIONER
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import MERGE
from tiphys.controllers.volumes import STORAGE_PROVISIONER
from tiphys.testing import LocalCluster

LATE = "WaitForFirstConsumer"

NEEDS = [
    (claim(), storage_class(), True),
    (claim(), storage_class(volume_binding_mode="Immediate"), True),
    (claim(), storage_class(volume_binding_mode=LATE), False),
    (claim(node="n1"), storage_class(volume_binding_mode=LATE), True),
    (claim("other.io/x"), storage_class(), False),
    (claim(), storage_class("other.io/x"), False),
    (claim(), None, False),
    (claim(volume="pv"), storage_class(), False),
]


@pytest.mark.parametrize(("asking", "kind", "expected"), NEEDS)
def test_a_claim_needs_a_volume(
    asking: PersistentVolumeClaim, kind: StorageClass | None, expected: bool
) -> None:
    assert needs_volume(asking, kind) == expected


def test_a_claim_that_is_being_deleted_needs_none() -> None:
    leaving = claim()
    leaving.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"  # type: ignore[assignment]
    assert not needs_volume(leaving, storage_class())


@pytest.mark.parametrize(
    ("phase", "policy", "expected"),
    [
        ("Released", "Delete", True),
        ("Released", "Retain", False),
        ("Bound", "Delete", False),
        ("Available", "Delete", False),
    ],
)
def test_a_volume_is_released(phase: str, policy: str, expected: bool) -> None:
    assert is_released(volume(phase, policy)) == expected


def test_a_volume_of_others_or_one_that_is_leaving_is_not_ours_to_remove() -> None:
    foreign, leaving = volume("Released"), volume("Released")
    foreign.metadata.annotations = {}
    leaving.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"  # type: ignore[assignment]
    assert not is_released(foreign) and not is_released(leaving)


@pytest.mark.parametrize(("asked", "expected"), [("2Gi", True), ("1Gi", False), ("500Mi", False)])
def test_a_volume_grows_when_its_claim_asks_for_more(asked: str, expected: bool) -> None:
    assert has_outgrown(claim(storage=asked), volume()) == expected


# --- in a cluster ---


def here(folder: Path) -> StorageClass:
    kind = {
        "metadata": {"name": "here"},
        "provisioner": "tiphys.io/local-path",
        "parameters": {"path": str(folder)},
        "allowVolumeExpansion": True,
    }
    return from_builtins(kind, StorageClass)


async def bound(cluster: LocalCluster, **annotations: str) -> PersistentVolume:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "here",
    }
    meta = {"name": "c", "namespace": "default", "annotations": annotations}
    body: dict[str, Any] = {"metadata": meta, "spec": spec}
    await cluster.client.create(from_builtins(body, PersistentVolumeClaim))

    async def phase() -> bool:
        return (await the_claim(cluster)).status.phase == "Bound"

    await cluster.eventually(phase)
    [provisioned] = (await cluster.client.list(PersistentVolume)).items
    return provisioned


async def the_claim(cluster: LocalCluster) -> PersistentVolumeClaim:
    return await cluster.client.get(PersistentVolumeClaim, "c", "default")


async def test_a_claim_is_bound_and_grows(tmp_path: Path, cluster: LocalCluster) -> None:
    await cluster.client.create(here(tmp_path))
    await bound(cluster)
    wish = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    await cluster.client.patch(PersistentVolumeClaim, "c", wish, "default", media=MERGE)

    async def capacity() -> bool:
        return (await the_claim(cluster)).status.capacity == {"storage": "2Gi"}

    await cluster.eventually(capacity)


@pytest.mark.parametrize("annotations", [{}, {STORAGE_PROVISIONER: PROVISIONER}])
async def test_a_claim_that_came_before_its_class_gets_its_volume(
    tmp_path: Path, cluster: LocalCluster, annotations: dict[str, str]
) -> None:
    """One that was handed over before does not change when its class comes."""
    waiting = cluster.tasks.start(bound(cluster, **annotations), "bound")

    async def events() -> list[str]:
        listed = await cluster.client.list(core_v1.Event, "default")
        return [event.message for event in listed.items if event.reason == "ProvisioningFailed"]

    assert await cluster.eventually(events) == ['storageclass.storage.k8s.io "here" not found']
    await cluster.client.create(here(tmp_path))
    assert (await waiting).metadata.name.startswith("pvc-")


async def test_a_volume_that_only_says_it_was_released_keeps_its_folder(
    tmp_path: Path, cluster: LocalCluster
) -> None:
    """Whoever may write the status of volumes does not remove the data of a claim."""
    await cluster.client.create(here(tmp_path))
    provisioned = await bound(cluster)
    assert provisioned.spec.host_path is not None
    folder = Path(provisioned.spec.host_path.path)
    folder.mkdir()
    provisioned.status.phase = "Released"
    await cluster.client.update_status(provisioned)
    await bound_again(cluster)
    assert folder.exists()


async def bound_again(cluster: LocalCluster) -> None:
    """Another claim of the same class has come through both controllers: what was queued before it
    is done."""
    body = {
        "metadata": {"name": "later", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "here",
        },
    }
    await cluster.client.create(from_builtins(body, PersistentVolumeClaim))

    async def phase() -> bool:
        later = await cluster.client.get(PersistentVolumeClaim, "later", "default")
        return later.status.phase == "Bound"

    await cluster.eventually(phase)
