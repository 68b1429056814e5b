"""A pod's volumes, laid out on disk before its containers start, kept fresh while they run, removed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import handles, quantity
from tiphys.node.environment import expand
from tiphys.node.fields import field, resource
from tiphys.node.mounts import mount_tmpfs, unmount_below
from tiphys.node.nesting import places_inside
from tiphys.node.nonroot import run_as_user
from tiphys.node.ownership import give_to_group
from tiphys.node.podfiles import make_termination_log, write_hosts
from tiphys.node.projection import File, Files, write_files
from tiphys.node.references import References
from tiphys.node.runtime import Mount
from tiphys.node.subpaths import SubPath, SubPathError, mount_sub_path

log = logging.getLogger(__name__)

_PROVISIONED_BY, _LOCAL_PATH = "pv.kubernetes.io/provisioned-by", "tiphys.io/local-path"


class VolumeError(Exception):
    """A volume cannot be set up now; the text is for the pod's events."""


class Volumes:
    """The volumes of all pods of a node, below `root`/pods/UID."""

    def __init__(self, root: Path, references: References, allocatable: dict[str, str]) -> None:
        self._root, self._references = root, references
        self._allocatable = allocatable

    def folder(self, uid: str) -> Path:
        return self._root / "pods" / uid

    def path(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Path:
        kind = next(
            (n for n in core_v1.VolumeSource.__struct_fields__ if getattr(volume, n) is not None),
            "empty_dir",
        )
        return (
            self.folder(pod.metadata.uid)
            / "volumes"
            / f"kubernetes.io~{kind.replace('_', '-')}"
            / volume.name
        )

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        """Name → host path of every volume. Raises VolumeError."""
        made = await asyncio.gather(*(self._one(pod, volume) for volume in pod.spec.volumes))
        return dict(zip((v.name for v in pod.spec.volumes), made, strict=True))

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Writes again what is projected from objects that may have changed."""
        for volume in pod.spec.volumes:
            if _is_made_of_objects(volume):
                with contextlib.suppress(VolumeError):
                    _write(self.path(pod, volume), await self._files(pod, volume), _group(pod))

    async def _one(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        if volume.host_path is not None:
            return _host_path(volume.host_path)
        if volume.persistent_volume_claim is not None:
            wanted = volume.persistent_volume_claim
            return await self._claim(pod, wanted.claim_name, wanted.read_only)
        if volume.ephemeral is not None:
            return await self._claim(
                pod, f"{pod.metadata.name}-{volume.name}", False, ephemeral=True
            )
        path = self.path(pod, volume)
        path.mkdir(parents=True, exist_ok=True)
        if volume.empty_dir is not None:
            self._empty(path, volume.empty_dir, pod)
        elif _is_made_of_objects(volume):
            files = await self._files(pod, volume)
            if volume.secret is not None or volume.projected is not None:
                _tmpfs(path, "mode=0755,size=64m")  # secrets and tokens never reach the disk
            _write(path, files, _group(pod))
            _make_places(path, places_inside(pod, volume.name))
        elif (
            volume.image is None
        ):  # an image is pulled, and shown there, before a container with it starts
            raise VolumeError(
                f'volume "{volume.name}" is of a kind that this node does not support'
            )
        return str(path)

    def _empty(self, path: Path, source: core_v1.EmptyDirVolumeSource, pod: core_v1.Pod) -> None:
        if source.medium == "Memory":
            _tmpfs(path, f"size={memory_size(pod.spec, source, self._allocatable)}")
        group = _group(pod)
        with handles.folder(path) as own:
            if group is not None:
                os.fchown(own, -1, group)
            os.fchmod(own, 0o777 if group is None else 0o2777)

    async def _claim(
        self, pod: core_v1.Pod, name: str, read_only: bool, ephemeral: bool = False
    ) -> str:
        meta, namespace = pod.metadata, pod.metadata.namespace
        claim = await self._references.get(core_v1.PersistentVolumeClaim, namespace, name)
        if claim is None or claim.status.phase != "Bound":
            raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
        if ephemeral and all(owner.uid != meta.uid for owner in claim.metadata.owner_references):
            whose = f"PVC {namespace}/{name} was not created for pod {namespace}/{meta.name} (pod is not owner)"
            raise VolumeError(whose)
        volume = await self._references.get(core_v1.PersistentVolume, "", claim.spec.volume_name)
        if volume is not None and volume.spec.host_path is not None:
            made_here = volume.metadata.annotations.get(_PROVISIONED_BY) == _LOCAL_PATH
            if made_here:
                _make_open(Path(volume.spec.host_path.path))
            path = _host_path(volume.spec.host_path)
            if made_here and not read_only:
                await _give(path, pod)
            return path
        if volume is not None and volume.spec.local is not None:
            if not read_only:
                await _give(volume.spec.local.path, pod)
            return str(volume.spec.local.path)
        raise VolumeError(
            f'persistentvolume "{claim.spec.volume_name}" is of a kind that this node does not support'
        )

    # --- files from objects ---

    async def _files(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Files:
        namespace = pod.metadata.namespace
        if volume.config_map is not None:
            return await self._keys(
                core_v1.ConfigMap,
                namespace,
                volume.config_map.name,
                volume.config_map,
                volume.config_map.default_mode,
            )
        if volume.secret is not None:
            return await self._keys(
                core_v1.Secret,
                namespace,
                volume.secret.secret_name,
                volume.secret,
                volume.secret.default_mode,
            )
        if volume.downward_api is not None:
            return self._downward(pod, volume.downward_api.items, volume.downward_api.default_mode)
        files: Files = {}
        assert volume.projected is not None
        mode = volume.projected.default_mode
        for source in volume.projected.sources:
            if source.config_map is not None:
                files |= await self._keys(
                    core_v1.ConfigMap, namespace, source.config_map.name, source.config_map, mode
                )
            elif source.secret is not None:
                files |= await self._keys(
                    core_v1.Secret, namespace, source.secret.name, source.secret, mode
                )
            elif source.downward_api is not None:
                files |= self._downward(pod, source.downward_api.items, mode)
            elif source.service_account_token is not None:
                wish = source.service_account_token
                token = await self._references.token(
                    pod, wish.audience, wish.expiration_seconds or 3600
                )
                files[wish.path] = _token_file(pod, token, mode)
        return files

    async def _keys(
        self, kind: Any, namespace: str, name: str, source: Any, mode: int | None
    ) -> Files:
        found = await self._references.get(kind, namespace, name)
        if found is None:
            if source.optional:
                return {}
            raise VolumeError(f'{kind.__name__.lower()} "{name}" not found')
        data = {
            key: value.encode() if isinstance(value, str) else value
            for key, value in found.data.items()
        }
        data |= dict(getattr(found, "binary_data", {}))
        default = mode if mode is not None else 0o644
        if not source.items:
            return {key: File(value, default) for key, value in data.items()}
        files: Files = {}
        for item in source.items:
            if item.key in data:
                files[item.path] = File(
                    data[item.key], item.mode if item.mode is not None else default
                )
            elif not source.optional:
                raise VolumeError(
                    f"references non-existent {'config' if kind is core_v1.ConfigMap else 'secret'} key: {item.key}"
                )
        return files

    def _downward(
        self, pod: core_v1.Pod, items: list[core_v1.DownwardAPIVolumeFile], mode: int | None
    ) -> Files:
        files: Files = {}
        for item in items:
            if item.field_ref is not None:
                text = field(pod, item.field_ref.field_path)
            else:
                assert item.resource_field_ref is not None
                text = resource(
                    pod, pod.spec.containers[0], item.resource_field_ref, self._allocatable
                )
            files[item.path] = File(
                text.encode(), item.mode if item.mode is not None else mode or 0o644
            )
        return files

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
        found = []
        for index, mount in enumerate(container.volume_mounts):
            host = paths[mount.name]
            sub = expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path
            if sub:
                wanted = SubPath(host, sub, mount.name, container.name, index)
                try:
                    host = mount_sub_path(self.folder(pod.metadata.uid), wanted)
                except SubPathError as error:
                    raise VolumeError(str(error)) from None
            propagation = {"HostToContainer": 1, "Bidirectional": 2}.get(
                mount.mount_propagation or "", 0
            )
            if mount.recursive_read_only == "Enabled":
                why = "requested recursive read-only mode, but it is not supported by the runtime"
                raise VolumeError(f'volume "{mount.name}" {why}')
            read_only = mount.read_only or _is_read_only(volumes[mount.name])
            found.append(Mount(host, mount.mount_path, read_only, propagation))
        found += self._own_files(pod, container, attempt)
        return found

    def _own_files(self, pod: core_v1.Pod, container: Any, attempt: int) -> list[Mount]:
        """The termination log, and /etc/hosts unless the container brings its own."""
        folder = self.folder(pod.metadata.uid)
        log_file = make_termination_log(folder, container.name, attempt)
        mounts = [Mount(str(log_file), container.termination_message_path)]
        if all(m.mount_path != "/etc/hosts" for m in container.volume_mounts):
            mounts.append(Mount(str(folder / "etc-hosts"), "/etc/hosts"))
        return mounts

    def write_hosts(self, pod: core_v1.Pod, ip: str, hostname: str, domain: str) -> None:
        write_hosts(self.folder(pod.metadata.uid), pod, ip, hostname, domain)

    def left(self) -> set[str]:
        """The uids of pods that have something on disk."""
        with contextlib.suppress(FileNotFoundError):
            return set(os.listdir(self._root / "pods"))
        return set()

    def tear_down(self, uid: str) -> None:
        """Removes all that a pod had on disk, and nothing that its containers linked or mounted there."""
        unmount_below(self.folder(uid))
        try:
            with handles.folder(self._root / "pods") as pods:
                handles.remove_tree(pods, uid)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("something of pod %s stays in %s: %s", uid, self.folder(uid), error)


def memory_size(
    spec: core_v1.PodSpec, source: core_v1.EmptyDirVolumeSource, allocatable: dict[str, str]
) -> int:
    """Bytes of a volume in memory, as upstream: no more than the pod may use, or pods at all."""
    sizes = [quantity.ceil_units(allocatable["memory"])]
    every = [*spec.containers, *spec.init_containers]
    limits = [quantity.ceil_units(c.resources.limits.get("memory", "0")) for c in every]
    if all(limits):
        standing = sum(
            n
            for c, n in zip(every, limits, strict=True)
            if getattr(c, "restart_policy", None) == "Always" or c in spec.containers
        )
        sizes.append(max(standing, *limits))
    if source.size_limit:
        sizes.append(quantity.ceil_units(source.size_limit))
    return min(size for size in sizes if size > 0)


def _make_open(path: Path) -> None:
    """The folder of a volume of the local-path provisioner: any user of a pod may write to it, as to that of upstream's."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            path.chmod(0o777)


async def _give(path: str, pod: core_v1.Pod) -> None:
    group = _group(pod)
    if group is None:
        return
    assert pod.spec.security_context is not None
    try:
        policy = pod.spec.security_context.fs_group_change_policy
        await asyncio.to_thread(give_to_group, path, group, policy)
    except OSError as error:
        raise VolumeError(f"giving {path} to group {group}: {error}") from None


def _is_made_of_objects(volume: core_v1.Volume) -> bool:
    sources = (volume.config_map, volume.secret, volume.projected, volume.downward_api)
    return any(source is not None for source in sources)


def _is_read_only(volume: core_v1.Volume) -> bool:
    """Whether no container may write to it, whatever its mount says: upstream gives these kinds out so, too."""
    claim = volume.persistent_volume_claim
    return (
        _is_made_of_objects(volume)
        or volume.image is not None
        or (claim is not None and claim.read_only)
    )


def _write(volume: Path, files: Files, group: int | None) -> None:
    try:
        write_files(volume, files, group)
    except OSError as error:
        raise VolumeError(str(error)) from None


def _make_places(volume: Path, places: list[str]) -> None:
    try:
        with handles.folder(volume) as at:
            for place in places:
                with handles.folder(place, at, make=0o755):
                    pass
    except OSError as error:
        raise VolumeError(f"making room for mounts inside of it: {error}") from None


def _token_file(pod: core_v1.Pod, token: str, mode: int | None) -> File:
    """For nobody but the user that all containers run as, if there is one, and the pod's group."""
    users = {run_as_user(pod, container) for container in _containers(pod)}
    user = users.pop() if len(users) == 1 else None
    if user is not None or _group(pod) is not None:
        mode = 0o600  # the volume's group adds its bits to it
    return File(token.encode(), 0o644 if mode is None else mode, -1 if user is None else user)


def _containers(pod: core_v1.Pod) -> list[Any]:
    return [*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers]


def _tmpfs(path: Path, options: str) -> None:
    try:
        mount_tmpfs(path, options)
    except OSError as error:
        raise VolumeError(f"mounting a tmpfs failed: {error}") from None


def _group(pod: core_v1.Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context else None


def _host_path(source: core_v1.HostPathVolumeSource) -> str:
    try:
        return _checked_host_path(source)
    except (OSError, ValueError) as error:
        raise VolumeError(f"hostPath {source.path!r}: {error}") from None


def _checked_host_path(source: core_v1.HostPathVolumeSource) -> str:
    path, kind = Path(source.path), source.type or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    tests = {
        "Directory": path.is_dir,
        "File": path.is_file,
        "Socket": path.is_socket,
        "CharDevice": path.is_char_device,
        "BlockDevice": path.is_block_device,
    }
    if kind in tests and not tests[kind]():
        raise VolumeError(f"hostPath type check failed: {source.path} is not a {kind.lower()}")
    if not kind and not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    return source.path
