"""Claims, classes and volumes, small."""

from __future__ import annotations

from tiphys.addons.local_volumes.provisioning import PROVISIONER, local_volume
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.storage_v1 import StorageClass
from tiphys.controllers.volumes import STORAGE_PROVISIONER
from tiphys.machinery.volumes import SELECTED_NODE


def claim(
    provisioner: str = PROVISIONER, node: str = "", storage: str = "1Gi", volume: str = ""
) -> PersistentVolumeClaim:
    """A claim that was handed over to `provisioner`, for a pod on `node`."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage}},
        "storageClassName": "standard",
        "volumeName": volume,
    }
    built = from_builtins({"spec": spec}, PersistentVolumeClaim)
    annotations = {STORAGE_PROVISIONER: provisioner}
    if node:
        annotations[SELECTED_NODE] = node
    built.metadata = ObjectMeta(name="data", namespace="default", uid="u1", annotations=annotations)
    return built


def storage_class(provisioner: str = PROVISIONER, **fields: object) -> StorageClass:
    built = StorageClass(metadata=ObjectMeta(name="standard"), provisioner=provisioner)
    for key, value in fields.items():
        setattr(built, key, value)
    return built


def volume(phase: str = "Bound", policy: str = "Delete") -> PersistentVolume:
    """One of ours."""
    built = local_volume(claim(), storage_class(reclaim_policy=policy))
    built.status.phase = phase
    return built
