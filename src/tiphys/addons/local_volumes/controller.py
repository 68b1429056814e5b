"""Watches claims that wait for a local volume and volumes whose claims are gone.

The rules are those of upstream's library for external provisioners
(sig-storage-lib-external-provisioner): the volume controller marks a claim with the provisioner of
its class, and a volume that was released with its phase.
"""

from __future__ import annotations

import copy

from tiphys.addons.local_volumes import provisioning
from tiphys.addons.local_volumes.provisioning import PROVISIONER
from tiphys.api.base import Quantity
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.storage_v1 import StorageClass
from tiphys.controllers.shell import Controller
from tiphys.controllers.volumes import PROVISIONED_BY, STORAGE_PROVISIONER
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found, is_write_overtaken
from tiphys.machinery.quantity import nano


def needs_volume(claim: Claim, storage_class: StorageClass | None) -> bool:
    """Whether a claim was handed over to us and can have its volume now: one of a class that waits
    for the first consumer needs a node first."""
    meta = claim.metadata
    if meta.deletion_timestamp or claim.spec.volume_name:
        return False
    if meta.annotations.get(STORAGE_PROVISIONER) != PROVISIONER:
        return False
    if storage_class is None or storage_class.provisioner != PROVISIONER:
        return False
    waits = storage_class.volume_binding_mode == "WaitForFirstConsumer"
    return not waits or bool(meta.annotations.get(volumes.SELECTED_NODE))


def is_ours(volume: Volume) -> bool:
    return volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER


def is_released(volume: Volume) -> bool:
    """Whether a volume's claim is gone and its folder has to go."""
    return (
        is_ours(volume)
        and not volume.metadata.deletion_timestamp
        and volume.status.phase == "Released"
        and volume.spec.persistent_volume_reclaim_policy == "Delete"
    )


def has_outgrown(claim: Claim, volume: Volume) -> bool:
    """Whether a claim requests more than its volume's capacity."""
    requested = claim.spec.resources.requests.get("storage", Quantity("0"))
    return nano(requested) > nano(volume.spec.capacity.get("storage", "0"))


class LocalVolumeController(Controller):
    """Keys are ``claim/NAMESPACE/NAME`` and ``volume/NAME``."""

    name = "local-volumes"
    event_source = PROVISIONER

    def watch(self) -> None:
        self._claims = self.informer(Claim)
        self._volumes = self.informer(Volume)
        self._classes = self.informer(StorageClass)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(self._class_changed)

    def _claim_changed(self, old: Claim | None, new: Claim | None) -> None:
        if new is not None:
            self.queue.add(f"claim/{new.metadata.namespace}/{new.metadata.name}")

    def _class_changed(self, old: StorageClass | None, new: StorageClass | None) -> None:
        """Claims may have waited for it."""
        for claim in self._claims:
            if needs_volume(claim, new):
                self._claim_changed(None, claim)

    def _volume_changed(self, old: Volume | None, new: Volume | None) -> None:
        if new is not None and is_ours(new):
            self.queue.add(f"volume/{new.metadata.name}")

    async def reconcile(self, key: str) -> float | None:
        kind, _, name = key.partition("/")
        if kind == "claim" and (claim := self._claims.get(name)) is not None:
            await self._claim(claim)
        elif kind == "volume" and (volume := self._volumes.get(name)) is not None:
            await self._volume(volume)
        return None

    async def _claim(self, claim: Claim) -> None:
        storage_class = self._classes.get(claim.spec.storage_class_name or "")
        if storage_class is not None and needs_volume(claim, storage_class):
            await self._provision(claim, storage_class)
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is not None and is_ours(volume) and volumes.reserved_for(volume, claim):
            await self._grow(claim, volume)

    async def _provision(self, claim: Claim, storage_class: StorageClass) -> None:
        try:
            volume = await provisioning.provision(self.client, claim, storage_class)
        except ValueError as error:
            self._report_failure(claim, error)
        except StatusError as error:
            if is_already_exists(error):
                return  # by an earlier try, whose volume the watch has not shown yet
            self._report_failure(claim, error)
            raise
        else:
            text = f"Successfully provisioned volume {volume.metadata.name}"
            self.context.recorder.record(claim, "Normal", "ProvisioningSucceeded", text)

    def _report_failure(self, claim: Claim, error: Exception) -> None:
        text = f"Failed to provision volume: {error}"
        self.context.recorder.record(claim, "Warning", "ProvisioningFailed", text)

    async def _grow(self, claim: Claim, volume: Volume) -> None:
        """A folder has no size: a volume grows by saying so."""
        if has_outgrown(claim, volume):
            grown = copy.deepcopy(volume)
            grown.spec.capacity["storage"] = claim.spec.resources.requests["storage"]
            volume = await self.client.update(grown)
        size = volume.spec.capacity.get("storage", Quantity("0"))
        if nano(size) > nano(claim.status.capacity.get("storage", size)):
            status = copy.deepcopy(claim.status)
            status.capacity = {**status.capacity, "storage": size}
            await self.write_status(claim, status)

    async def _volume(self, volume: Volume) -> None:
        if not is_released(volume) or await self._is_claimed(volume):
            return
        try:
            await provisioning.remove(self.client, volume)
        except provisioning.NotRemovedError as error:
            self.context.recorder.record(volume, "Warning", "VolumeFailedDelete", str(error))
            return
        try:
            await self.client.delete(Volume, volume.metadata.name, uid=volume.metadata.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def _is_claimed(self, volume: Volume) -> bool:
        """Asks the server itself before data is removed: the phase alone is not believed."""
        reference = volume.spec.claim_ref
        if reference is None:
            return False
        try:
            claim = await self.client.get(Claim, reference.name, reference.namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            return False
        bound_here = claim.spec.volume_name in ("", volume.metadata.name)
        return claim.metadata.uid == reference.uid and bound_here
