"""Folders of the node that pods mount: host paths, and volumes that lie on the node's disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from pathlib import Path

from tiphys.api import core_v1
from tiphys.node.drivervolumes import DriverVolumes, Growth
from tiphys.node.references import References
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.localdisks import LocalDisks
from tiphys.node.volumes.ownership import give_to_group
from tiphys.node.volumes.volumefiles import VolumeError

_PROVISIONED_BY, _LOCAL_PATH = "pv.kubernetes.io/provisioned-by", "tiphys.io/local-path"


def host_path(source: core_v1.HostPathVolumeSource, kubelet: KubeletFolder) -> str:
    """The path on the machine, of the type that the source asks for. What pods call
    /var/lib/kubelet is the node's own folder. Raises VolumeError."""
    try:
        return _checked(source, kubelet)
    except (OSError, ValueError) as error:
        raise VolumeError(f"hostPath {source.path!r}: {error}") from None


def _checked(source: core_v1.HostPathVolumeSource, kubelet: KubeletFolder) -> str:
    kind = source.type or ""
    path = Path(kubelet.place(source.path, make=kind in ("", "DirectoryOrCreate")))
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    checks = {
        "Directory": path.is_dir,
        "File": path.is_file,
        "Socket": path.is_socket,
        "CharDevice": path.is_char_device,
        "BlockDevice": path.is_block_device,
    }
    if kind in checks and not checks[kind]():
        raise VolumeError(f"hostPath type check failed: {source.path} is not a {kind.lower()}")
    if not kind and not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    return str(path)


class ClaimedVolumes:
    """Persistent volumes of the kinds that lie on the node's disk."""

    def __init__(
        self,
        references: References,
        kubelet: KubeletFolder,
        disks: LocalDisks,
        drivers: DriverVolumes,
        growth: Growth,
    ) -> None:
        self._references = references
        self._kubelet = kubelet
        self._disks = disks
        self._drivers = drivers
        self._growth = growth

    async def path(self, pod: core_v1.Pod, name: str, read_only: bool, is_own: bool) -> str:
        """Where the volume of the pod's claim `name` is. A claim that `is_own` must have been made
        for the pod. Raises VolumeError."""
        claim = await self._claim(pod, name, is_own)
        volume_name = claim.spec.volume_name
        volume = await self._references.get(core_v1.PersistentVolume, "", volume_name)
        try:
            return await self._path(pod, volume, volume_name, read_only)
        except VolumeError as error:
            error.volume = error.volume or volume_name
            raise

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Lets file systems grow whose disks have."""
        for name in await asyncio.to_thread(self._disks.of_pod, pod.metadata.uid):
            volume = await self._references.get(core_v1.PersistentVolume, "", name)
            if volume is None or volume.spec.local is None or volume.spec.claim_ref is None:
                continue
            owner = volume.spec.claim_ref
            claim = await self._references.get(
                core_v1.PersistentVolumeClaim, owner.namespace, owner.name
            )
            if claim is not None and claim.metadata.namespace == pod.metadata.namespace:
                grow = partial(self._disks.grow, pod.metadata.uid, volume)
                await self._growth.follow(pod, claim, volume, grow)

    async def _path(
        self,
        pod: core_v1.Pod,
        volume: core_v1.PersistentVolume | None,
        volume_name: str,
        read_only: bool,
    ) -> str:
        if volume is not None and volume.spec.csi is not None:
            return await self._drivers.mount_claimed(pod, volume, read_only)
        if volume is not None and volume.spec.host_path is not None:
            return await self._host_path(pod, volume, read_only)
        if volume is not None and volume.spec.local is not None:
            return await self._local(pod, volume, read_only)
        text = f'persistentvolume "{volume_name}" is of a kind that this node does not support'
        raise VolumeError(text)

    async def _local(
        self, pod: core_v1.Pod, volume: core_v1.PersistentVolume, read_only: bool
    ) -> str:
        assert volume.spec.local is not None
        path = volume.spec.local.path
        if not os.path.exists(path):
            raise VolumeError(f'path "{path}" does not exist')
        if volume.spec.volume_mode == "Block":
            return path
        if Path(path).is_block_device():
            path = await self._disks.mount(pod.metadata.uid, volume, read_only)
        elif not os.path.isdir(path):
            raise VolumeError("only directory and block device are supported")
        if not read_only:
            await _give_to_group_of(pod, path)
        return path

    async def _claim(
        self, pod: core_v1.Pod, name: str, is_own: bool
    ) -> core_v1.PersistentVolumeClaim:
        meta = pod.metadata
        claim: core_v1.PersistentVolumeClaim | None = await self._references.get(
            core_v1.PersistentVolumeClaim, meta.namespace, name
        )
        if claim is None or claim.status.phase != "Bound":
            raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
        owners = {owner.uid for owner in claim.metadata.owner_references}
        if is_own and meta.uid not in owners:
            names = f"PVC {meta.namespace}/{name}", f"pod {meta.namespace}/{meta.name}"
            text = f"{names[0]} was not created for {names[1]} (pod is not owner)"
            raise VolumeError(text)
        return claim

    async def _host_path(
        self, pod: core_v1.Pod, volume: core_v1.PersistentVolume, read_only: bool
    ) -> str:
        assert volume.spec.host_path is not None
        is_provisioned = volume.metadata.annotations.get(_PROVISIONED_BY) == _LOCAL_PATH
        if is_provisioned:
            _make_writable_folder(Path(volume.spec.host_path.path))
        path = host_path(volume.spec.host_path, self._kubelet)
        if is_provisioned and not read_only:
            await _give_to_group_of(pod, path)
        return path


def _make_writable_folder(path: Path) -> None:
    """Makes the folder of a volume of the local-path provisioner. As with upstream's, any user of a
    pod may write to it."""
    if path.exists():
        return
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        path.chmod(0o777)


async def _give_to_group_of(pod: core_v1.Pod, path: str) -> None:
    security = pod.spec.security_context
    if security is None or security.fs_group is None:
        return
    group = security.fs_group
    try:
        await asyncio.to_thread(give_to_group, path, group, security.fs_group_change_policy)
    except OSError as error:
        raise VolumeError(f"giving {path} to group {group}: {error}") from None
