"""Local volumes that are block devices: formatted where nothing is on them yet, checked, and
mounted in the folder of each pod that has one, whose end unmounts them. The file system grows with
its disk.

Source: k8s.io/mount-utils, SafeFormatAndMount and ResizeFs. Unlike upstream's, a device is not
        mounted once for all pods and bound from there: the kernel has one file system of it however
        often it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from pathlib import Path

from tiphys.api import core_v1
from tiphys.node.volumes.growth import GrowthError
from tiphys.node.volumes.mounts import is_mounted
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)

_PLUGIN = "kubernetes.io~local-volume"
_DEFAULT_TYPE = "ext4"
_NOTHING_FOUND = 2  # what blkid exits with
_CHECKED = (0, 1)  # fsck found nothing, or has corrected it
_NOT_CORRECTED = 4
_GROWN_BY = {
    "ext3": ("resize2fs", "{device}"),
    "ext4": ("resize2fs", "{device}"),
    "xfs": ("xfs_growfs", "-d", "{place}"),
    "btrfs": ("btrfs", "filesystem", "resize", "max", "{place}"),
}


class LocalDisks:
    """Those of all pods of a node, below `pods`/UID."""

    def __init__(self, pods: Path) -> None:
        self._pods = pods
        self._locks: dict[str, asyncio.Lock] = {}

    def _place(self, uid: str, name: str) -> Path:
        return self._pods / uid / "volumes" / _PLUGIN / name

    def of_pod(self, uid: str) -> list[str]:
        """The names of a pod's volumes."""
        try:
            return os.listdir(self._place(uid, ""))
        except OSError:
            return []

    async def grow(self, uid: str, volume: core_v1.PersistentVolume, size: str) -> None:
        """Lets the file system of a pod's volume fill its disk, whatever the disk's size is; a
        larger one than `size` is none of the node's business. Raises VolumeError."""
        assert volume.spec.local is not None
        device = volume.spec.local.path
        place = str(self._place(uid, volume.metadata.name))
        async with self._locks.setdefault(os.path.realpath(device), asyncio.Lock()):
            match = re.search(r"^TYPE=(\w+)$", await _content_of(device), re.MULTILINE)
            fs_type = match[1] if match is not None else ""
            if fs_type not in _GROWN_BY:
                text = f"resize of format {fs_type} is not supported for device {device}"
                raise GrowthError(f"ResizeFS.Resize - {text} mounted at {place}")
            arguments = [word.format(device=device, place=place) for word in _GROWN_BY[fs_type]]
            status, output = await _run(*arguments)
        if status:
            where = arguments[-1]
            text = f"resize of device {where} failed: exit status {status}"
            raise GrowthError(f"{text}. {arguments[0]} output: {output}")

    async def mount(self, uid: str, volume: core_v1.PersistentVolume, read_only: bool) -> str:
        """Where the volume of a pod is mounted. Raises VolumeError."""
        assert volume.spec.local is not None
        device = volume.spec.local.path
        place = self._place(uid, volume.metadata.name)
        fs_type = volume.spec.local.fs_type or _DEFAULT_TYPE
        # Two pods that come at once must not format it both.
        async with self._locks.setdefault(os.path.realpath(device), asyncio.Lock()):
            if os.path.ismount(place):
                return str(place)
            place.mkdir(parents=True, exist_ok=True, mode=0o750)
            try:
                await _prepare(device, fs_type, read_only)
                await _mount(device, place, fs_type, volume.spec.mount_options)
            except VolumeError as error:
                with contextlib.suppress(OSError):
                    place.rmdir()
                raise VolumeError(
                    f"local: failed to mount device {device} at {place} (fstype: {fs_type}), "
                    f"error {error}"
                ) from None
        return str(place)


async def _prepare(device: str, fs_type: str, read_only: bool) -> None:
    """Formats a device with nothing on it; checks one that has a file system and is not mounted."""
    present = await _content_of(device)
    if not present:
        if read_only:
            raise VolumeError(
                f"cannot mount unformatted disk {device} as we are manipulating it in read-only "
                "mode"
            )
        await _format(device, fs_type)
    elif not read_only and not await asyncio.to_thread(is_mounted, device):
        status, output = await _run("fsck", "-a", device)
        if status == _NOT_CORRECTED:
            text = f"'fsck' found errors on device {device} but could not correct them: {output}"
            raise VolumeError(text)
        if status not in _CHECKED:  # there may be no fsck of its kind
            log.info("fsck of %s ended with %d: %s", device, status, output)


async def _content_of(device: str) -> str:
    """What is on a device by its signatures, "" for nothing. Who formats must be sure of that."""
    options = ("-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export")
    status, output = await _run("blkid", *options, device)
    if status == _NOTHING_FOUND:
        return ""
    if status or not output:
        raise VolumeError(f"failed to get disk format of disk {device}: {output or status}")
    return output


async def _format(device: str, fs_type: str) -> None:
    options: tuple[str, ...] = ()
    if fs_type in ("ext3", "ext4"):
        options = ("-F", "-m0")
    elif fs_type == "xfs":
        options = ("-f",)
    log.info("Formatting %s as %s: there is nothing on it", device, fs_type)
    status, output = await _run(f"mkfs.{fs_type}", *options, device)
    if status:
        text = f'format of disk "{device}" failed: type:("{fs_type}") errcode:({status})'
        raise VolumeError(f"{text} output:({output})")


async def _mount(device: str, place: Path, fs_type: str, options: list[str]) -> None:
    """Containers are shown it read-only where they have to; the file system itself is mounted as
    the first pod has it, and the others' mounts have to agree with that."""
    joined = ",".join(["defaults", *options])
    status, output = await _run("mount", "-t", fs_type, "-o", joined, "--", device, str(place))
    if status:
        raise VolumeError(output or f"mount ended with {status}")


async def _run(program: str, *arguments: str) -> tuple[int, str]:
    """The exit status of a program and what it wrote. Raises VolumeError if there is none of that
    name."""
    try:
        running = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise VolumeError(f"{program}: {error.strerror}") from None
    output, _ = await running.communicate()
    return running.returncode or 0, output.decode(errors="replace").strip()
