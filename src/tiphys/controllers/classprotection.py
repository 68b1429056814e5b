"""A volume attributes class stays while a claim or a volume uses it, or is to use it."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.storage_v1 import VolumeAttributesClass
from tiphys.client.client import MERGE
from tiphys.controllers.shell import Controller

PROTECTION = "kubernetes.io/vac-protection"
_INDEX = "attributes class"


def classes_of_claim(claim: core_v1.PersistentVolumeClaim) -> list[str]:
    """What it asks for, what it has, and what it is being changed to."""
    change = claim.status.modify_volume_status
    named = {
        claim.spec.volume_attributes_class_name or "",
        claim.status.current_volume_attributes_class_name or "",
        change.target_volume_attributes_class_name if change is not None else "",
    }
    return sorted(named - {""})


def classes_of_volume(volume: core_v1.PersistentVolume) -> list[str]:
    name = volume.spec.volume_attributes_class_name
    return [name] if name else []


class ClassProtectionController(Controller):
    """Keys are volume attributes classes."""

    name = "volumeattributesclass-protection"
    workers = 1

    def watch(self) -> None:
        self._classes = self.informer(VolumeAttributesClass)
        self._claims = self.informer(core_v1.PersistentVolumeClaim)
        self._volumes = self.informer(core_v1.PersistentVolume)
        self._claims.index(_INDEX, classes_of_claim)
        self._volumes.index(_INDEX, classes_of_volume)
        self._classes.on_change(self.enqueue)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)

    def _claim_changed(self, old: Any, new: Any) -> None:
        for name in classes_of_claim(old) if old is not None else ():
            self.queue.add(name)

    def _volume_changed(self, old: Any, new: Any) -> None:
        for name in classes_of_volume(old) if old is not None else ():
            self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        about = self._classes.get(key)
        if about is None:
            return None
        finalizers = about.metadata.finalizers
        is_leaving = bool(about.metadata.deletion_timestamp)
        if is_leaving and PROTECTION in finalizers and not self._is_used(key):
            await self._write(about, [name for name in finalizers if name != PROTECTION])
        if not is_leaving and PROTECTION not in finalizers:
            await self._write(about, [*finalizers, PROTECTION])
        return None

    def _is_used(self, name: str) -> bool:
        return bool(self._claims.by(_INDEX, name) or self._volumes.by(_INDEX, name))

    async def _write(self, about: VolumeAttributesClass, finalizers: list[str]) -> None:
        meta = about.metadata
        change = {"finalizers": finalizers or None, "resourceVersion": meta.resource_version}
        body = {"metadata": change}
        await self.client.patch(VolumeAttributesClass, meta.name, body, media=MERGE)
