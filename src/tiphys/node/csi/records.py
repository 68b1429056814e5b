"""What is mounted for whom, on disk: an agent that comes after this one takes it back.

Laid out as upstream, below the node's own /var/lib/kubelet:

pods/UID/volumes/kubernetes.io~csi/NAME              vol_data.json, and the mount point `mount`
pods/UID/volumeDevices/kubernetes.io~csi/NAME        vol_data.json of a block volume (upstream has
                                                     a link to the device there)
plugins/kubernetes.io/csi/DRIVER/SHA256 OF HANDLE    vol_data.json, and `globalmount`
plugins/kubernetes.io/csi/volumeDevices              staging/NAME, publish/NAME/UID of block volumes

Nothing here follows a link; what cannot be read counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tiphys.machinery import handles
from tiphys.node.csi.source import VolumeSource
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder

log = logging.getLogger(__name__)

_PODS, _PLUGINS = "pods", "plugins/kubernetes.io/csi"
_MOUNTED, _MAPPED = "volumes/kubernetes.io~csi", "volumeDevices/kubernetes.io~csi"
_FILE = "vol_data.json"
_MOST_BYTES = 64 << 10  # of such a file
_MODE = 0o750


@dataclass(frozen=True)
class Published:
    """One volume of one pod. `attachment` names its VolumeAttachment, "" if it has none."""

    uid: str
    name: str
    driver: str
    handle: str
    lifecycle: str
    is_block: bool = False
    attachment: str = ""

    @property
    def device(self) -> tuple[str, str]:
        """What is staged once for all pods of the node."""
        return self.driver, self.handle

    @property
    def folder(self) -> str:
        return f"{_PODS}/{self.uid}/{_MAPPED if self.is_block else _MOUNTED}/{self.name}"

    @property
    def target(self) -> str:
        """The path that the driver publishes it at, below the kubelet's folder."""
        if self.is_block:
            return f"{_PLUGINS}/volumeDevices/publish/{self.name}/{self.uid}"
        return f"{self.folder}/mount"


@dataclass(frozen=True)
class Staged:
    """A volume that was staged on this node."""

    driver: str
    handle: str
    name: str
    is_block: bool = False
    attachment: str = ""

    @property
    def device(self) -> tuple[str, str]:
        return self.driver, self.handle

    @property
    def folder(self) -> str:
        digest = hashlib.sha256(self.handle.encode()).hexdigest()
        return f"{_PLUGINS}/{self.driver}/{digest}"

    @property
    def target(self) -> str:
        if self.is_block:
            return f"{_PLUGINS}/volumeDevices/staging/{self.name}"
        return f"{self.folder}/globalmount"


def staged_of(source: VolumeSource, attachment: str) -> Staged:
    return Staged(source.driver, source.handle, source.name, source.is_block, attachment)


def shown(target: str) -> str:
    """A path below the kubelet's folder as drivers call it."""
    return f"{SHOWN}/{target}"


class Records:
    """Reads and writes them. All methods work on the disk: call them on a thread."""

    def __init__(self, folder: KubeletFolder, node: str) -> None:
        self._folder = folder
        self._node = node

    # --- writing; all raise OSError ---

    def keep_published(self, volume: Published) -> None:
        """Also makes the folder that the driver makes its mount point, or its device, in."""
        data = {
            "specVolID": volume.name,
            "volumeHandle": volume.handle,
            "driverName": volume.driver,
            "nodeName": self._node,
            "attachmentID": volume.attachment,
            "volumeLifecycleMode": volume.lifecycle,
        }
        self._write(volume.folder, data)
        if volume.is_block:
            with self._folder.folder(os.path.dirname(volume.target)):
                pass

    def keep_staged(self, volume: Staged) -> None:
        """Also makes the folder that the driver stages it at."""
        data = {
            "driverName": volume.driver,
            "volumeHandle": volume.handle,
            "specVolID": volume.name,
            "attachmentID": volume.attachment,
            "volumeMode": "Block" if volume.is_block else "Filesystem",
        }
        self._write(volume.folder, data)
        with self._folder.folder(volume.target):
            pass

    def drop_published(self, volume: Published) -> None:
        """After the driver has taken it back: what it left there must be empty."""
        self._remove_left(volume.target)
        self._drop(volume.folder)

    def drop_staged(self, volume: Staged) -> None:
        self._remove_left(volume.target)
        self._drop(volume.folder)

    def _write(self, folder: str, data: dict[str, str]) -> None:
        content = json.dumps(data, separators=(",", ":")).encode() + b"\n"
        with self._folder.folder(folder) as handle:
            handles.write_file(handle, f".{_FILE}", content, 0o600)
            os.replace(f".{_FILE}", _FILE, src_dir_fd=handle, dst_dir_fd=handle)

    def _remove_left(self, target: str) -> None:
        """Removes an empty folder or a file. What is still mounted there stays, with an OSError."""
        parent, name = os.path.split(target)
        try:
            with self._root() as root, handles.folder(parent, root) as folder:
                try:
                    os.rmdir(name, dir_fd=folder)
                except NotADirectoryError:
                    os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return

    def _drop(self, folder: str) -> None:
        parent, name = os.path.split(folder)
        with contextlib.suppress(FileNotFoundError), self._root() as root:
            with handles.folder(folder, root) as own:
                for file in (_FILE, f".{_FILE}"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(file, dir_fd=own)
            with handles.folder(parent, root) as above:
                os.rmdir(name, dir_fd=above)
            self._prune(root, parent)

    def _prune(self, root: int, folder: str) -> None:
        """Removes folders that are empty now, up to those that are not the pod's or driver's."""
        while folder.count("/") >= 1 and folder not in (_PODS, _PLUGINS):
            parent, name = os.path.split(folder)
            with contextlib.suppress(OSError), handles.folder(parent, root) as above:
                os.rmdir(name, dir_fd=above)
                folder = parent
                continue
            return

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        with self._folder.folder("") as root:
            yield root

    # --- reading ---

    def published(self) -> list[Published]:
        """Those of all pods."""
        volumes = []
        with self._root() as root:
            for uid in _names(root, _PODS):
                for is_block, kind in ((False, _MOUNTED), (True, _MAPPED)):
                    for name in _names(root, f"{_PODS}/{uid}/{kind}"):
                        data = _read(root, f"{_PODS}/{uid}/{kind}/{name}")
                        if data is not None:
                            volumes.append(_published(uid, name, is_block, data))
        return volumes

    def staged(self) -> list[Staged]:
        volumes = []
        with self._root() as root:
            for driver in _names(root, _PLUGINS):
                for digest in _names(root, f"{_PLUGINS}/{driver}"):
                    data = _read(root, f"{_PLUGINS}/{driver}/{digest}")
                    if data is not None:
                        volume = _staged(driver, data)
                        if volume.folder.endswith(digest):
                            volumes.append(volume)
        return volumes


def _published(uid: str, name: str, is_block: bool, data: dict[str, str]) -> Published:
    return Published(
        uid=uid,
        name=name,
        driver=data.get("driverName", ""),
        handle=data.get("volumeHandle", ""),
        lifecycle=data.get("volumeLifecycleMode", ""),
        is_block=is_block,
        attachment=data.get("attachmentID", ""),
    )


def _staged(driver: str, data: dict[str, str]) -> Staged:
    return Staged(
        driver=driver,
        handle=data.get("volumeHandle", ""),
        name=data.get("specVolID", ""),
        is_block=data.get("volumeMode") == "Block",
        attachment=data.get("attachmentID", ""),
    )


def _names(root: int, folder: str) -> list[str]:
    """The names in a folder; none if it is not there or no folder."""
    try:
        with handles.folder(folder, root) as handle:
            return sorted(os.listdir(handle))
    except OSError:
        return []


def _read(root: int, folder: str) -> dict[str, str] | None:
    try:
        data: Any = json.loads(handles.read_file(root, f"{folder}/{_FILE}", _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("The record of a CSI volume in %s cannot be read: %s", folder, error)
        return None
    if not isinstance(data, dict):
        return None
    return {str(key): str(value) for key, value in data.items()}
