"""Volumes out of claims, and the records of them.

A user who may create persistent volumes can create one that looks like ours and names any folder of
the machine. So for each volume that was provisioned here a record is kept where they cannot write,
a ConfigMap in kube-system that is owned by the volume; only a folder that a record names is
removed, and only for the very volume it was written for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tiphys.addons.local_volumes.folders import remove_folder
from tiphys.api import core_v1
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import Client
from tiphys.controllers.volumes import PROVISIONED_BY, VOLUME_PROTECTION, claim_reference
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found

PROVISIONER = "tiphys.io/local-path"
_DEFAULT_FOLDER = "/var/lib/tiphys/volumes"
_RECORD_NAMESPACE = "kube-system"


class NotRemovedError(Exception):
    """A volume's folder stays; the text is for the volume's events."""


def local_volume(claim: Claim, storage_class: StorageClass) -> Volume:
    """The volume for a claim. Raises ValueError for a class whose folder is no absolute path."""
    folder = _folder(claim, storage_class)
    volume = Volume(
        metadata=ObjectMeta(
            name=f"pvc-{claim.metadata.uid}",
            annotations={PROVISIONED_BY: PROVISIONER},
            finalizers=[VOLUME_PROTECTION],
        )
    )
    spec = volume.spec
    spec.capacity = {"storage": claim.spec.resources.requests["storage"]}
    spec.access_modes = list(claim.spec.access_modes)
    spec.volume_mode = claim.spec.volume_mode
    spec.storage_class_name = storage_class.metadata.name
    spec.persistent_volume_reclaim_policy = storage_class.reclaim_policy or "Delete"
    spec.mount_options = list(storage_class.mount_options)
    spec.host_path = core_v1.HostPathVolumeSource(path=str(folder), type="DirectoryOrCreate")
    spec.claim_ref = claim_reference(claim)
    selected_node = claim.metadata.annotations.get(volumes.SELECTED_NODE, "")
    if selected_node:
        spec.node_affinity = _only_on(selected_node)
    return volume


def _folder(claim: Claim, storage_class: StorageClass) -> Path:
    parent = storage_class.parameters.get("path", _DEFAULT_FOLDER)
    if not parent.startswith("/"):
        raise ValueError(
            f'parameter "path" of storage class {storage_class.metadata.name} '
            f"is not an absolute path: {parent!r}"
        )
    meta = claim.metadata
    return Path(parent) / f"pvc-{meta.uid}_{meta.namespace}_{meta.name}"


def _only_on(node: str) -> core_v1.VolumeNodeAffinity:
    hostname = core_v1.NodeSelectorRequirement(
        key="kubernetes.io/hostname", operator="In", values=[node]
    )
    term = core_v1.NodeSelectorTerm(match_expressions=[hostname])
    return core_v1.VolumeNodeAffinity(required=core_v1.NodeSelector(node_selector_terms=[term]))


async def provision(client: Client, claim: Claim, storage_class: StorageClass) -> Volume:
    """Creates a claim's volume and the record of it. Raises StatusError, ValueError."""
    volume = await client.create(local_volume(claim, storage_class))
    record = _record(volume)
    try:
        await client.create(record)
    except StatusError as error:
        if not is_already_exists(error):
            raise
        await client.update(record)  # it was that of an earlier volume of the same name
    return volume


async def remove(client: Client, volume: Volume) -> None:
    """Removes the folder of a volume that was provisioned here. Raises NotRemovedError,
    StatusError."""
    path = await _recorded_path(client, volume)
    try:
        await asyncio.to_thread(remove_folder, path)
    except OSError as error:
        raise NotRemovedError(f"the volume's folder could not be removed: {error}") from None


async def _recorded_path(client: Client, volume: Volume) -> str:
    name = _record_name(volume.metadata.name)
    try:
        record = await client.get(core_v1.ConfigMap, name, _RECORD_NAMESPACE)
    except StatusError as error:
        if not is_not_found(error):
            raise
        raise NotRemovedError(
            "the local-path provisioner has no record of having made this volume"
        ) from None
    return recorded_path(record, volume)


def recorded_path(record: core_v1.ConfigMap, volume: Volume) -> str:
    """The folder of a volume, where its record is of this very one. Raises NotRemovedError."""
    path = record.data.get("path", "")
    source = volume.spec.host_path
    same_volume = record.data.get("uid") == volume.metadata.uid
    if not same_volume or source is None or source.path != path:
        raise NotRemovedError("the local-path provisioner made another volume of this name")
    return path


def _record(volume: Volume) -> core_v1.ConfigMap:
    assert volume.spec.host_path is not None
    meta = volume.metadata
    owner = OwnerReference(api_version="v1", kind="PersistentVolume", name=meta.name, uid=meta.uid)
    record = core_v1.ConfigMap(data={"uid": meta.uid, "path": volume.spec.host_path.path})
    record.metadata = ObjectMeta(
        name=_record_name(meta.name), namespace=_RECORD_NAMESPACE, owner_references=[owner]
    )
    return record


def _record_name(volume: str) -> str:
    return f"local-path-{volume}"
