"""The local-path provisioner: a persistent volume is a folder on the node that was chosen.

Whoever may make persistent volumes can make one that looks like ours and names any folder of the machine. So for each
volume that was made here a record is kept where they cannot write, a ConfigMap in kube-system that goes with the volume;
only what a record names is removed, for the very volume it was written for.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tiphys.api import core_v1
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import Client
from tiphys.machinery import handles, volumes
from tiphys.machinery.errors import StatusError

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
LOCAL_PATH = "tiphys.io/local-path"
_ROOT = "/var/lib/tiphys/volumes"
_RECORDS = "kube-system"


class NotRemovedError(Exception):
    """A volume's folder stays; the text is for the volume's events."""


def local_volume(claim: Claim, kind: StorageClass) -> Volume:
    """The volume for a claim. Raises ValueError for a class whose folder is no absolute path."""
    root = kind.parameters.get("path", _ROOT)
    if not root.startswith("/"):
        raise ValueError(
            f'parameter "path" of storage class {kind.metadata.name} is not an absolute path: {root!r}'
        )
    name = f"pvc-{claim.metadata.uid}"
    folder = Path(root) / f"{name}_{claim.metadata.namespace}_{claim.metadata.name}"
    node = claim.metadata.annotations.get(volumes.SELECTED_NODE, "")
    annotations = {PROVISIONED_BY: LOCAL_PATH}
    meta = ObjectMeta(name=name, annotations=annotations, finalizers=[VOLUME_PROTECTION])
    made = Volume(metadata=meta)
    spec = made.spec
    spec.capacity = {"storage": claim.spec.resources.requests["storage"]}
    spec.access_modes = list(claim.spec.access_modes)
    spec.volume_mode = claim.spec.volume_mode
    spec.storage_class_name = kind.metadata.name
    spec.persistent_volume_reclaim_policy = kind.reclaim_policy or "Delete"
    spec.mount_options = list(kind.mount_options)
    spec.host_path = core_v1.HostPathVolumeSource(path=str(folder), type="DirectoryOrCreate")
    spec.claim_ref = reference(claim)
    if node:
        here = core_v1.NodeSelectorRequirement(
            key="kubernetes.io/hostname", operator="In", values=[node]
        )
        term = core_v1.NodeSelectorTerm(match_expressions=[here])
        required = core_v1.NodeSelector(node_selector_terms=[term])
        spec.node_affinity = core_v1.VolumeNodeAffinity(required=required)
    return made


def reference(claim: Claim) -> core_v1.ObjectReference:
    meta = claim.metadata
    return core_v1.ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


async def provision(client: Client, claim: Claim, kind: StorageClass) -> Volume:
    """Makes a claim's volume and the record of it. Raises StatusError, ValueError."""
    made = await client.create(local_volume(claim, kind))
    assert made.spec.host_path is not None
    meta = made.metadata
    owner = OwnerReference(api_version="v1", kind="PersistentVolume", name=meta.name, uid=meta.uid)
    record = core_v1.ConfigMap(data={"uid": meta.uid, "path": made.spec.host_path.path})
    record.metadata = ObjectMeta(
        name=_record_of(meta.name), namespace=_RECORDS, owner_references=[owner]
    )
    try:
        await client.create(record)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        await client.update(record)  # it was another volume's, of the same name
    return made


async def remove(client: Client, volume: Volume) -> None:
    """Removes the folder of a volume that was made here. Raises NotRemovedError, StatusError."""
    try:
        record = await client.get(core_v1.ConfigMap, _record_of(volume.metadata.name), _RECORDS)
    except StatusError as error:
        if error.code != 404:
            raise
        raise NotRemovedError(
            "the local-path provisioner has no record of having made this volume"
        ) from None
    path = record.data.get("path", "")
    source = volume.spec.host_path
    if record.data.get("uid") != volume.metadata.uid or source is None or source.path != path:
        raise NotRemovedError("the local-path provisioner made another volume of this name")
    try:
        await asyncio.to_thread(remove_folder, path)
    except OSError as error:
        raise NotRemovedError(f"the volume's folder could not be removed: {error}") from None


def remove_folder(path: str) -> None:
    """Removes a folder and what is in it; no link there is followed. Raises OSError."""
    above, name = os.path.split(path)
    try:
        root = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # no pod ever used it
    try:
        handles.remove_tree(root, name)
    finally:
        os.close(root)


def _record_of(volume: str) -> str:
    return f"local-path-{volume}"
