"""A pod's volumes, laid out on disk before its containers start, kept fresh while they run, removed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.node.environment import expand
from tiphys.node.fields import field, resource
from tiphys.node.mounts import mount_tmpfs, unmount_below
from tiphys.node.references import References
from tiphys.node.runtime import Mount

Files = dict[str, tuple[bytes, int]]  # relative path → (content, mode)


class VolumeError(Exception):
    """A volume cannot be set up now; the text is for the pod's events."""


_HOSTS = Path("/etc/hosts")
_LOCAL = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


class Volumes:
    """The volumes of all pods of a node, below `root`/pods/UID."""

    def __init__(self, root: Path, references: References, allocatable: dict[str, str]) -> None:
        self._root, self._references = root, references
        self._allocatable = allocatable

    def folder(self, uid: str) -> Path:
        return self._root / "pods" / uid

    def path(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Path:
        kind = next((n for n in core_v1.VolumeSource.__struct_fields__ if getattr(volume, n) is not None), "empty_dir")
        return self.folder(pod.metadata.uid) / "volumes" / f"kubernetes.io~{kind.replace('_', '-')}" / volume.name

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        """Name → host path of every volume. Raises VolumeError."""
        made = await asyncio.gather(*(self._one(pod, volume) for volume in pod.spec.volumes))
        return dict(zip((v.name for v in pod.spec.volumes), made, strict=True))

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Writes again what is projected from objects that may have changed."""
        for volume in pod.spec.volumes:
            if volume.config_map or volume.secret or volume.projected or volume.downward_api:
                with contextlib.suppress(VolumeError):
                    write_files(self.path(pod, volume), await self._files(pod, volume), _group(pod))

    async def _one(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        if volume.host_path is not None:
            return _host_path(volume.host_path)
        if volume.persistent_volume_claim is not None:
            return await self._claim(pod.metadata.namespace, volume.persistent_volume_claim.claim_name)
        path = self.path(pod, volume)
        path.mkdir(parents=True, exist_ok=True)
        if volume.empty_dir is not None:
            self._empty(path, volume.empty_dir, pod)
        elif volume.config_map or volume.secret or volume.projected or volume.downward_api:
            files = await self._files(pod, volume)
            if volume.secret is not None or volume.projected is not None:
                _tmpfs(path, "mode=0755,size=64m")  # secrets and tokens never reach the disk
            write_files(path, files, _group(pod))
        else:
            raise VolumeError(f'volume "{volume.name}" is of a kind that this node does not support')
        return str(path)

    @staticmethod
    def _empty(path: Path, source: core_v1.EmptyDirVolumeSource, pod: core_v1.Pod) -> None:
        if source.medium == "Memory":
            _tmpfs(path, f"size={quantity.ceil_units(source.size_limit)}" if source.size_limit else "size=50%")
        path.chmod(0o777)
        group = _group(pod)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o2777)

    async def _claim(self, namespace: str, name: str) -> str:
        claim = await self._references.get(core_v1.PersistentVolumeClaim, namespace, name)
        if claim is None or claim.status.phase != "Bound":
            raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
        volume = await self._references.get(core_v1.PersistentVolume, "", claim.spec.volume_name)
        if volume is not None and volume.spec.host_path is not None:
            return _host_path(volume.spec.host_path)
        if volume is not None and volume.spec.local is not None:
            return str(volume.spec.local.path)
        raise VolumeError(f'persistentvolume "{claim.spec.volume_name}" is of a kind that this node does not support')

    # --- files from objects ---

    async def _files(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Files:
        namespace = pod.metadata.namespace
        if volume.config_map is not None:
            return await self._keys(
                core_v1.ConfigMap, namespace, volume.config_map.name, volume.config_map, volume.config_map.default_mode
            )
        if volume.secret is not None:
            return await self._keys(
                core_v1.Secret, namespace, volume.secret.secret_name, volume.secret, volume.secret.default_mode
            )
        if volume.downward_api is not None:
            return self._downward(pod, volume.downward_api.items, volume.downward_api.default_mode)
        files: Files = {}
        assert volume.projected is not None
        mode = volume.projected.default_mode
        for source in volume.projected.sources:
            if source.config_map is not None:
                files |= await self._keys(core_v1.ConfigMap, namespace, source.config_map.name, source.config_map, mode)
            elif source.secret is not None:
                files |= await self._keys(core_v1.Secret, namespace, source.secret.name, source.secret, mode)
            elif source.downward_api is not None:
                files |= self._downward(pod, source.downward_api.items, mode)
            elif source.service_account_token is not None:
                wish = source.service_account_token
                token = await self._references.token(pod, wish.audience, wish.expiration_seconds or 3600)
                files[wish.path] = (token.encode(), mode if mode is not None else 0o644)
        return files

    async def _keys(self, kind: Any, namespace: str, name: str, source: Any, mode: int | None) -> Files:
        found = await self._references.get(kind, namespace, name)
        if found is None:
            if source.optional:
                return {}
            raise VolumeError(f'{kind.__name__.lower()} "{name}" not found')
        data = {key: value.encode() if isinstance(value, str) else value for key, value in found.data.items()}
        data |= dict(getattr(found, "binary_data", {}))
        default = mode if mode is not None else 0o644
        if not source.items:
            return {key: (value, default) for key, value in data.items()}
        files: Files = {}
        for item in source.items:
            if item.key in data:
                files[item.path] = (data[item.key], item.mode if item.mode is not None else default)
            elif not source.optional:
                raise VolumeError(
                    f"references non-existent {'config' if kind is core_v1.ConfigMap else 'secret'} key: {item.key}"
                )
        return files

    def _downward(self, pod: core_v1.Pod, items: list[core_v1.DownwardAPIVolumeFile], mode: int | None) -> Files:
        files: Files = {}
        for item in items:
            if item.field_ref is not None:
                text = field(pod, item.field_ref.field_path)
            else:
                assert item.resource_field_ref is not None
                text = resource(pod, pod.spec.containers[0], item.resource_field_ref, self._allocatable)
            files[item.path] = (text.encode(), item.mode if item.mode is not None else mode or 0o644)
        return files

    # --- mounts of one container ---

    def mounts(
        self, pod: core_v1.Pod, container: Any, paths: dict[str, str], env: dict[str, str], attempt: int
    ) -> list[Mount]:
        found = []
        for mount in container.volume_mounts:
            host = paths[mount.name]
            sub = expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path
            if sub:
                inside = os.path.realpath(os.path.join(host, sub))
                if not inside.startswith(os.path.realpath(host)):
                    raise VolumeError(f'subPath "{sub}" leads outside of volume "{mount.name}"')
                if not os.path.exists(inside):
                    os.makedirs(inside, mode=0o750, exist_ok=True)
                host = inside
            propagation = {"HostToContainer": 1, "Bidirectional": 2}.get(mount.mount_propagation or "", 0)
            found.append(Mount(host, mount.mount_path, mount.read_only, propagation))
        found += self._own_files(pod, container, attempt)
        return found

    def _own_files(self, pod: core_v1.Pod, container: Any, attempt: int) -> list[Mount]:
        """The termination log, and /etc/hosts unless the container brings its own."""
        folder = self.folder(pod.metadata.uid)
        log = self.termination_log(pod.metadata.uid, container.name, attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(0o666)
        log.chmod(0o666)
        mounts = [Mount(str(log), container.termination_message_path)]
        if all(m.mount_path != "/etc/hosts" for m in container.volume_mounts):
            mounts.append(Mount(str(folder / "etc-hosts"), "/etc/hosts"))
        return mounts

    def termination_log(self, uid: str, container: str, attempt: int) -> Path:
        return self.folder(uid) / "containers" / container / f"{attempt}"

    def write_hosts(self, pod: core_v1.Pod, ip: str, hostname: str, domain: str) -> None:
        """The pod's /etc/hosts: the node's for a pod on the node's network. What stands at its head is upstream's: programs
        look for it."""
        if pod.spec.host_network:
            text = "# Kubernetes-managed hosts file (host network).\n" + _HOSTS.read_text()
        else:
            name = f"{hostname}.{domain}\t{hostname}" if domain else hostname
            text = f"# Kubernetes-managed hosts file.\n{_LOCAL}{ip}\t{name}\n"
        if pod.spec.host_aliases:
            rows = (f"{alias.ip}\t" + "\t".join(alias.hostnames) for alias in pod.spec.host_aliases)
            text += "\n# Entries added by HostAliases.\n" + "\n".join(rows) + "\n"
        folder = self.folder(pod.metadata.uid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "etc-hosts").write_text(text)

    def tear_down(self, uid: str) -> None:
        folder = self.folder(uid)
        unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _tmpfs(path: Path, options: str) -> None:
    try:
        mount_tmpfs(path, options)
    except OSError as error:
        raise VolumeError(f"mounting a tmpfs failed: {error}") from None


def _group(pod: core_v1.Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context else None


def write_files(folder: Path, files: Files, group: int | None = None) -> None:
    """Makes the folder hold just these files, all changed at once: they lie in a dated folder behind one link."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "..data"
    if link.exists() and _holds(link, files):
        return
    dated = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.time_ns() % 10**9}"
    for name, (content, mode) in files.items():
        path = dated / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode | (0o040 if group is not None else 0))
        if group is not None:
            os.chown(path, -1, group)
    dated.mkdir(exist_ok=True)
    before = os.readlink(link) if link.is_symlink() else None
    temporary = folder / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(dated.name)
    temporary.rename(link)
    wanted = {name.split("/")[0] for name in files}
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    if before is not None:
        shutil.rmtree(folder / before, ignore_errors=True)


def _holds(folder: Path, files: Files) -> bool:
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return found.keys() == files.keys() and all(
        found[name].read_bytes() == content for name, (content, _) in files.items()
    )


def _host_path(source: core_v1.HostPathVolumeSource) -> str:
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
