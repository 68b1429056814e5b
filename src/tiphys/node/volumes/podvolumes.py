"""A pod's volumes: prepared on disk before its containers start, kept up to date while they run,
and removed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import handles, quantity
from tiphys.node import hugepages
from tiphys.node.containers.environment import expand
from tiphys.node.containers.restartpolicy import is_sidecar
from tiphys.node.drivervolumes import DriverVolumes, Growth
from tiphys.node.references import References
from tiphys.node.runtime import DeviceNode, Mount
from tiphys.node.volumes.hostpaths import ClaimedVolumes, host_path
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.localdisks import LocalDisks
from tiphys.node.volumes.mounts import make_shared, mount_huge_pages, mount_tmpfs, unmount_below
from tiphys.node.volumes.nesting import places_inside
from tiphys.node.volumes.podfiles import make_termination_log, write_hosts
from tiphys.node.volumes.projection import Files, write_files
from tiphys.node.volumes.subpaths import SubPath, SubPathError, mount_sub_path
from tiphys.node.volumes.volumefiles import VolumeError, VolumeFiles, is_made_of_objects

log = logging.getLogger(__name__)

_PROPAGATION = {"HostToContainer": 1, "Bidirectional": 2}  # CRI's numbers; 0 is private
_VOLUMES = "volumes"
_SECRETS_OPTIONS = "mode=0755,size=64m"  # of the tmpfs of a volume with secrets


class Volumes:
    """The volumes of all pods of a node, below `root`/pods/UID."""

    refresh_every: float | None = 15.0

    def __init__(
        self,
        root: Path,
        references: References,
        allocatable: dict[str, str],
        drivers: DriverVolumes,
        growth: Growth,
    ) -> None:
        self._pods = root / "pods"
        self._allocatable = allocatable
        self._files = VolumeFiles(references, allocatable)
        self._kubelet = KubeletFolder(root / "kubelet")
        self._drivers = drivers
        self._growth = growth
        disks = LocalDisks(self._pods)
        self._claimed = ClaimedVolumes(references, self._kubelet, disks, drivers, growth)

    def folder(self, uid: str) -> Path:
        return self._pods / uid

    def path(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Path:
        """Where a volume lies in the pod's folder; laid out as upstream does it."""
        kinds = core_v1.VolumeSource.__struct_fields__
        kind = next((kind for kind in kinds if getattr(volume, kind) is not None), "empty_dir")
        plugin = f"kubernetes.io~{kind.replace('_', '-')}"
        return self.folder(pod.metadata.uid) / _VOLUMES / plugin / volume.name

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        """Volume name -> host path. Raises VolumeError."""
        volumes = pod.spec.volumes
        paths = await asyncio.gather(*(self._set_up_named(pod, volume) for volume in volumes))
        return {volume.name: path for volume, path in zip(volumes, paths, strict=True)}

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Writes again what is projected from objects that may have changed."""
        for volume in pod.spec.volumes:
            if is_made_of_objects(volume):
                with contextlib.suppress(VolumeError):
                    files = await self._files.of(pod, volume)
                    _write(self.path(pod, volume), files, _group(pod))
        await self._claimed.refresh(pod)
        await self._drivers.refresh(pod)

    async def _set_up_named(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        try:
            return await self._set_up(pod, volume)
        except VolumeError as error:
            error.volume = error.volume or volume.name
            raise

    async def _set_up(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        if volume.host_path is not None:
            place = host_path(volume.host_path, self._kubelet)
            if self._kubelet.holds(volume.host_path.path) and _propagates(pod, volume.name):
                await asyncio.to_thread(_make_shared, self._kubelet.root)
            return place
        if volume.persistent_volume_claim is not None:
            claim = volume.persistent_volume_claim
            return await self._claimed.path(pod, claim.claim_name, claim.read_only, is_own=False)
        if volume.ephemeral is not None:
            name = f"{pod.metadata.name}-{volume.name}"
            return await self._claimed.path(pod, name, read_only=False, is_own=True)
        if volume.csi is not None:
            return await self._drivers.mount_inline(pod, volume)
        path = self.path(pod, volume)
        path.mkdir(parents=True, exist_ok=True)
        if volume.empty_dir is not None:
            self._make_empty_dir(path, volume.empty_dir, pod)
        elif is_made_of_objects(volume):
            files = await self._files.of(pod, volume)
            if volume.secret is not None or volume.projected is not None:
                _mount_tmpfs(path, _SECRETS_OPTIONS)  # secrets and tokens never reach the disk
            _write(path, files, _group(pod))
            _make_places(path, places_inside(pod, volume.name))
        elif volume.image is None:  # an image is mounted there before a container with it starts
            text = f'volume "{volume.name}" is of a kind that this node does not support'
            raise VolumeError(text)
        return str(path)

    def _make_empty_dir(
        self, path: Path, source: core_v1.EmptyDirVolumeSource, pod: core_v1.Pod
    ) -> None:
        mode = 0o777
        if source.medium == "Memory":
            _mount_tmpfs(path, f"size={memory_size(pod.spec, source, self._allocatable)}")
            mode |= stat.S_ISVTX  # as the kernel makes a tmpfs, and upstream leaves it
        elif source.medium.startswith(hugepages.MEDIUM):
            _mount_huge_pages(path, pod.spec, source.medium)
        elif source.medium:
            raise VolumeError(f"unknown storage medium {source.medium!r}")
        group = _group(pod)
        if group is not None:
            mode |= stat.S_ISGID  # what is made in a group's folder belongs to the group, too
        with handles.folder(path) as folder:
            if group is not None:
                os.fchown(folder, -1, group)
            os.fchmod(folder, mode)

    # --- mounts of one container ---

    def mounts(
        self,
        pod: core_v1.Pod,
        container: Any,
        paths: dict[str, str],
        env: dict[str, str],
        attempt: int,
    ) -> list[Mount]:
        """Raises VolumeError."""
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        mounts = []
        for index, mount in enumerate(container.volume_mounts):
            path = paths[mount.name]
            if _is_claimed(volumes[mount.name]) and _is_block(path):
                problem = "has volumeMode Block, but is specified in volumeMounts"
                raise VolumeError(f"volume {mount.name} {problem}")
            sub_path = mount.sub_path
            if mount.sub_path_expr:
                sub_path = expand(mount.sub_path_expr, env)
            if sub_path:
                wanted = SubPath(path, sub_path, mount.name, container.name, index)
                path = self._sub_path(pod, wanted)
            propagation = _PROPAGATION.get(mount.mount_propagation or "", 0)
            recursion = (mount.recursive_read_only or "") if mount.read_only else ""
            read_only = mount.read_only or _is_read_only(volumes[mount.name])
            if volumes[mount.name].image is not None and not recursion:
                # Its files cannot be written to in any case. Asked for it, runc mounts it anew,
                # and drops "noexec" with that.
                read_only = False
            mounts.append(
                Mount(path, mount.mount_path, read_only, propagation, mount.name, recursion)
            )
        return mounts + self._own_files(pod, container, attempt)

    def devices(self, container: Any, paths: dict[str, str]) -> list[DeviceNode]:
        """The block volumes of one container. Raises VolumeError."""
        nodes = []
        for device in container.volume_devices:
            path = paths[device.name]
            if not _is_block(path):
                problem = "has volumeMode Filesystem, but is specified in volumeDevices"
                raise VolumeError(f"volume {device.name} {problem}")
            nodes.append(DeviceNode(os.path.realpath(path), device.device_path, "mrw"))
        return nodes

    def _sub_path(self, pod: core_v1.Pod, wanted: SubPath) -> str:
        try:
            return mount_sub_path(self.folder(pod.metadata.uid), wanted)
        except SubPathError as error:
            raise VolumeError(str(error)) from None

    def _own_files(self, pod: core_v1.Pod, container: Any, attempt: int) -> list[Mount]:
        """The termination log, and /etc/hosts unless the container brings its own."""
        folder = self.folder(pod.metadata.uid)
        log_file = make_termination_log(folder, container.name, attempt)
        mounts = [Mount(str(log_file), container.termination_message_path)]
        if all(mount.mount_path != "/etc/hosts" for mount in container.volume_mounts):
            mounts.append(Mount(str(folder / "etc-hosts"), "/etc/hosts"))
        return mounts

    def write_hosts(self, pod: core_v1.Pod, ips: Sequence[str], hostname: str, domain: str) -> None:
        """Writes the pod's /etc/hosts."""
        write_hosts(self.folder(pod.metadata.uid), pod, ips, hostname, domain)

    # --- the end ---

    def pod_uids(self) -> set[str]:
        """The uids of pods that have something on disk."""
        uids = self._drivers.pod_uids()
        try:
            return uids | set(os.listdir(self._pods))
        except FileNotFoundError:
            return uids

    async def give_back(self, uid: str) -> None:
        """Gives volumes of drivers back, once no container of the pod runs. Raises VolumeError
        while a driver refuses."""
        if uid in self._drivers.pod_uids():
            parts = self.folder(uid) / "volume-subpaths"  # mounts of them keep a volume busy
            await asyncio.to_thread(unmount_below, parts)
            await self._drivers.release(uid)

    def release(self, uid: str) -> None:
        """Removes the volumes of a pod that has ended, as upstream does; what its status was read
        from stays until it is deleted."""
        folder = self.folder(uid)
        unmount_below(folder)
        try:
            with handles.folder(folder) as pod:
                handles.remove_tree(pod, _VOLUMES)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("Volumes of pod %s stay in %s: %s", uid, folder, error)

    def tear_down(self, uid: str) -> None:
        """Removes all that a pod had on disk, and nothing that its containers linked or mounted
        there."""
        self._growth.forget(uid)
        unmount_below(self.folder(uid))
        try:
            with handles.folder(self._pods) as pods:
                handles.remove_tree(pods, uid)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("Files of pod %s stay in %s: %s", uid, self.folder(uid), error)


def memory_size(
    spec: core_v1.PodSpec, source: core_v1.EmptyDirVolumeSource, allocatable: dict[str, str]
) -> int:
    """Bytes of a volume in memory. As upstream, the least of the node's memory, the pod's limit (if
    every container has one) and the volume's own."""
    sizes = [quantity.ceil_units(allocatable["memory"])]
    if limit := _memory_limit(spec):
        sizes.append(limit)
    if source.size_limit:
        sizes.append(quantity.ceil_units(source.size_limit))
    return min(size for size in sizes if size > 0)


def _memory_limit(spec: core_v1.PodSpec) -> int:
    """Bytes that the pod may use at most; 0 if a container has no limit."""
    lasting = [*spec.containers, *(init for init in spec.init_containers if is_sidecar(init))]
    limits = [_limit(container) for container in [*spec.containers, *spec.init_containers]]
    if not all(limits):
        return 0
    return max(sum(_limit(container) for container in lasting), *limits)


def _limit(container: core_v1.Container) -> int:
    return quantity.ceil_units(container.resources.limits.get("memory", "0"))


def _is_read_only(volume: core_v1.Volume) -> bool:
    """Whether no container may write to it, whatever its mount says, as upstream."""
    claim = volume.persistent_volume_claim
    is_read_only_claim = claim is not None and claim.read_only
    is_read_only_claim |= volume.csi is not None and bool(volume.csi.read_only)
    return is_made_of_objects(volume) or is_read_only_claim


def _propagates(pod: core_v1.Pod, volume: str) -> bool:
    """Whether mounts below a volume pass between the node and a container."""
    spec = pod.spec
    return any(
        mount.name == volume and mount.mount_propagation in _PROPAGATION
        for container in (*spec.init_containers, *spec.containers)
        for mount in container.volume_mounts
    )


def _make_shared(folder: Path) -> None:
    try:
        make_shared(folder)
    except OSError as error:
        raise VolumeError(f"sharing mounts below {folder}: {error}") from None


def _is_claimed(volume: core_v1.Volume) -> bool:
    return volume.persistent_volume_claim is not None or volume.ephemeral is not None


def _is_block(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def _write(volume: Path, files: Files, group: int | None) -> None:
    try:
        write_files(volume, files, group)
    except OSError as error:
        raise VolumeError(str(error)) from None


def _make_places(volume: Path, places: list[str]) -> None:
    try:
        with handles.folder(volume) as root:
            for place in places:
                with handles.folder(place, root, make=0o755):
                    pass
    except OSError as error:
        raise VolumeError(f"making room for mounts inside of it: {error}") from None


def _mount_tmpfs(path: Path, options: str) -> None:
    try:
        mount_tmpfs(path, options)
    except OSError as error:
        raise VolumeError(f"mounting a tmpfs failed: {error}") from None


def _mount_huge_pages(path: Path, spec: core_v1.PodSpec, medium: str) -> None:
    try:
        mount_huge_pages(path, hugepages.volume_page_size(spec, medium))
    except (OSError, ValueError) as error:
        raise VolumeError(f"mounting huge pages failed: {error}") from None


def _group(pod: core_v1.Pod) -> int | None:
    security = pod.spec.security_context
    return security.fs_group if security is not None else None
