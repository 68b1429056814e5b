"""Volumes follow their claims."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.testing import LocalCluster

_PROVISIONER = "example.com/provisioner"


def volume_and_claim() -> tuple[core_v1.PersistentVolume, core_v1.PersistentVolumeClaim]:
    """For each other; the volume's provisioner has something to do at its end."""
    mode = {"accessModes": ["ReadWriteOnce"]}
    claim_ref = {"namespace": "default", "name": "c"}
    csi = {"driver": "example.com", "volumeHandle": "1"}
    spec = {**mode, "capacity": {"storage": "1Gi"}, "claimRef": claim_ref, "csi": csi}
    volume = {"metadata": {"name": "pv", "finalizers": [_PROVISIONER]}, "spec": spec}
    wish = {**mode, "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": claim_ref, "spec": wish}
    return (
        from_builtins(volume, core_v1.PersistentVolume),
        from_builtins(claim, core_v1.PersistentVolumeClaim),
    )


async def test_a_volume_that_was_deleted_before_its_claim_is_released() -> None:
    async with LocalCluster(controllers=True) as cluster:
        for made in volume_and_claim():
            await cluster.client.create(made)

        async def is_in(phase: str) -> list[str]:
            volume = await cluster.client.get(core_v1.PersistentVolume, "pv")
            return volume.metadata.finalizers if volume.status.phase == phase else []

        await cluster.eventually(lambda: is_in("Bound"))
        await cluster.client.delete(core_v1.PersistentVolume, "pv")
        await cluster.client.delete(core_v1.PersistentVolumeClaim, "c", "default")
        await cluster.eventually(lambda: is_in("Released"))

        async def is_left_to_its_provisioner() -> bool:
            return await is_in("Released") == [_PROVISIONER]

        await cluster.eventually(is_left_to_its_provisioner)


async def test_a_volume_of_which_somebody_else_wrote_while_it_was_bound_is_bound() -> None:
    async with LocalCluster(controllers=True) as cluster:
        for made in volume_and_claim():
            await cluster.client.create(made)

        async def is_bound() -> bool:
            volume = await cluster.client.get(core_v1.PersistentVolume, "pv")
            return volume.status.phase == "Bound"

        await cluster.eventually(is_bound)
        lost = {"status": {"phase": "Pending"}}  # as if that write had been overtaken
        await cluster.client.patch(core_v1.PersistentVolume, "pv", lost, subresource="status")
        await cluster.eventually(is_bound)
