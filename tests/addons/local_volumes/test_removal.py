"""The controller alone, on a real API server: what it provisions, what it removes, and what stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.addons.local_volumes.builders import claim, storage_class
from tiphys.addons.local_volumes.controller import LocalVolumeController
from tiphys.addons.local_volumes.provisioning import PROVISIONER, provision, remove
from tiphys.api import core_v1
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.client.informer import Informers
from tiphys.controllers.shell import Context
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


class Recorder:
    """Remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def as_component(self, source: str) -> Recorder:
        assert source == PROVISIONER
        return self

    def record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((kind, reason, message))


class Provisioner:
    """The controller, one reconciliation after the other."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.client = cluster.client
        self.cluster = cluster
        self.kind = storage_class(parameters={"path": str(folder)})
        self.kind.metadata.name = "here"
        self.recorder = Recorder()
        recorder: Any = self.recorder
        informers = Informers(cluster.client, cluster.tasks)
        self.controller = LocalVolumeController(
            Context(cluster.client, informers, recorder, cluster.tasks)
        )
        self.controller.watch()
        self._informers = informers

    async def settled(self) -> None:
        """The informers have seen what is in the store."""
        await self._informers.synced()
        for kind in (Claim, Volume):
            wanted = (await self.client.list(kind)).items
            informer = self._informers.of(kind)

            def seen(wanted: Any = wanted, informer: Any = informer) -> bool:
                return {one.metadata.resource_version for one in wanted} == {
                    one.metadata.resource_version for one in informer
                }

            await self.cluster.eventually(seen)

    async def reconcile(self, key: str) -> None:
        await self.settled()
        await self.controller.reconcile(key)

    async def claim(self) -> Claim:
        asking = claim()
        asking.metadata.uid = ""
        asking.spec.storage_class_name = "here"
        return await self.client.create(asking)

    async def provisioned(self) -> Volume:
        await self.reconcile("claim/default/data")
        [made] = (await self.client.list(Volume)).items
        return made

    async def set_phase(self, volume: Volume, phase: str) -> Volume:
        volume.status.phase = phase
        return await self.client.update_status(volume)

    async def volumes(self) -> list[str]:
        return [one.metadata.name for one in (await self.client.list(Volume)).items]


@pytest.fixture
async def made(server: LocalCluster, tmp_path: Path) -> AsyncIterator[Provisioner]:
    provisioner = Provisioner(server, tmp_path)
    await server.client.create(provisioner.kind)
    yield provisioner


def folder_of(volume: Volume) -> Path:
    assert volume.spec.host_path is not None
    return Path(volume.spec.host_path.path)


async def test_a_claim_gets_one_volume_and_a_record_of_it(made: Provisioner) -> None:
    asking = await made.claim()
    volume = await made.provisioned()
    assert volume.metadata.name == f"pvc-{asking.metadata.uid}"
    record = await made.client.get(
        core_v1.ConfigMap, f"local-path-{volume.metadata.name}", "kube-system"
    )
    assert record.data == {"uid": volume.metadata.uid, "path": str(folder_of(volume))}
    [owner] = record.metadata.owner_references
    assert (owner.kind, owner.uid) == ("PersistentVolume", volume.metadata.uid)
    assert made.recorder.events == [
        (
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {volume.metadata.name}",
        )
    ]
    await made.reconcile("claim/default/data")
    assert len(await made.volumes()) == 1 and len(made.recorder.events) == 1


async def test_a_claim_of_a_class_that_makes_no_sense_is_told(made: Provisioner) -> None:
    made.kind.parameters = {"path": "here"}
    await made.client.delete(type(made.kind), "here")
    await made.client.create(made.kind)
    await made.claim()
    await made.reconcile("claim/default/data")
    assert await made.volumes() == []
    [(kind, reason, message)] = made.recorder.events
    assert (kind, reason) == ("Warning", "ProvisioningFailed")
    assert message.startswith('Failed to provision volume: parameter "path" of storage class')


async def test_a_released_volume_goes_with_its_folder(made: Provisioner) -> None:
    await made.claim()
    volume = await made.provisioned()
    folder_of(volume).mkdir(parents=True)
    (folder_of(volume) / "data").touch()
    await made.client.delete(Claim, "data", "default", grace=0)
    await gone(made)
    volume = await made.set_phase(volume, "Released")
    await made.reconcile(f"volume/{volume.metadata.name}")
    assert not folder_of(volume).exists()
    assert (await made.client.get(Volume, volume.metadata.name)).metadata.deletion_timestamp


async def gone(made: Provisioner) -> None:
    """A claim is protected until nobody uses it; nobody runs here who would let it go."""
    left = (await made.client.list(Claim)).items
    for one in left:
        one.metadata.finalizers = []
        await made.client.update(one)


async def test_a_folder_that_cannot_be_removed_keeps_its_volume(
    made: Provisioner, tmp_path: Path
) -> None:
    await made.claim()
    volume = await made.set_phase(await made.provisioned(), "Released")
    tmp_path.rmdir()
    tmp_path.touch()  # somebody has put a file in the way
    await made.client.delete(Claim, "data", "default", grace=0)
    await gone(made)
    await made.reconcile(f"volume/{volume.metadata.name}")
    left = await made.client.get(Volume, volume.metadata.name)
    assert not left.metadata.deletion_timestamp
    kind, reason, message = made.recorder.events[-1]
    assert (kind, reason) == ("Warning", "VolumeFailedDelete")
    assert message.startswith("the volume's folder could not be removed: [Errno 20]")
    tmp_path.unlink()
    await made.reconcile(f"volume/{volume.metadata.name}")
    left = await made.client.get(Volume, volume.metadata.name)
    assert left.metadata.deletion_timestamp, "there is nothing to remove any more"


@pytest.mark.parametrize("phase", ["Bound", "Available", "Failed"])
async def test_a_volume_in_any_other_phase_stays(made: Provisioner, phase: str) -> None:
    await made.claim()
    volume = await made.set_phase(await made.provisioned(), phase)
    folder_of(volume).mkdir(parents=True)
    await made.reconcile(f"volume/{volume.metadata.name}")
    assert folder_of(volume).exists() and await made.volumes()


async def test_a_volume_whose_claim_is_there_keeps_its_folder_whatever_its_phase(
    made: Provisioner,
) -> None:
    await made.claim()
    volume = await made.set_phase(await made.provisioned(), "Released")
    folder_of(volume).mkdir(parents=True)
    await made.reconcile(f"volume/{volume.metadata.name}")
    assert folder_of(volume).exists()


async def test_another_claim_of_the_same_name_does_not_hold_the_volume(made: Provisioner) -> None:
    await made.claim()
    volume = await made.set_phase(await made.provisioned(), "Released")
    folder_of(volume).mkdir(parents=True)
    await made.client.delete(Claim, "data", "default", grace=0)
    await gone(made)
    again = await made.claim()
    assert volume.spec.claim_ref is not None
    assert again.metadata.uid != volume.spec.claim_ref.uid
    await made.reconcile(f"volume/{volume.metadata.name}")
    assert not folder_of(volume).exists()


async def test_a_volume_that_somebody_made_up_keeps_what_it_names(
    made: Provisioner, tmp_path: Path
) -> None:
    """Whoever may create volumes may not have any folder of the machine removed."""
    precious = tmp_path / "precious"
    precious.mkdir()
    await made.claim()
    forged = await made.provisioned()
    forged.metadata.name, forged.metadata.uid, forged.metadata.resource_version = "forged", "", ""
    assert forged.spec.host_path is not None
    forged.spec.host_path.path = str(precious)
    forged.spec.claim_ref = None
    forged = await made.set_phase(await made.client.create(forged), "Released")
    await made.reconcile("volume/forged")
    assert precious.exists() and "forged" in await made.volumes()
    assert made.recorder.events[-1] == (
        "Warning",
        "VolumeFailedDelete",
        "the local-path provisioner has no record of having made this volume",
    )


async def test_a_record_of_an_earlier_volume_of_the_name_is_replaced(made: Provisioner) -> None:
    asking = await made.claim()
    first = await provision(made.client, asking, made.kind)
    first.metadata.finalizers = []
    await made.client.update(first)
    await made.client.delete(Volume, first.metadata.name)
    second = await provision(made.client, asking, made.kind)
    assert second.metadata.uid != first.metadata.uid
    await remove(made.client, second)  # nobody has used it: there is nothing to remove
    with pytest.raises(StatusError) as refused:
        await provision(made.client, asking, made.kind)
    assert refused.value.code == 409
