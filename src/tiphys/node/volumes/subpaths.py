"""A part of a volume, mounted by itself.

Containers that share the volume can replace that part by a link at any moment. So it is opened
once, without leaving the volume, and the open handle is mounted in a folder of the pod that no
container sees; the runtime gets that one. As upstream, it lies at
``volume-subpaths/VOLUME/CONTAINER/INDEX``.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tiphys.machinery import handles
from tiphys.node.volumes.mounts import bind


class SubPathError(Exception):
    """The text is for the container's status."""


@dataclass(frozen=True)
class SubPath:
    """`volume` is the path of the whole volume on the node, `path` what the mount asks for with
    variables expanded, `index` the mount's in the container."""

    volume: str
    path: str
    volume_name: str
    container: str
    index: int


def mount_sub_path(folder: Path, wanted: SubPath) -> str:
    """The path to mount, below the pod's `folder`. Missing folders are made with the volume's own
    mode. Raises SubPathError."""
    if wanted.path.startswith("/"):
        raise SubPathError(f"error SubPath `{wanted.path}` must not be an absolute path")
    if ".." in wanted.path.split("/"):
        raise SubPathError(f"unable to provision SubPath `{wanted.path}`: must not contain '..'")
    place = folder / "volume-subpaths" / wanted.volume_name / wanted.container / str(wanted.index)
    try:
        handle = _find(wanted)
        try:
            bind(handle, place)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        mount = f'volumeMount "{wanted.volume_name}" of container "{wanted.container}"'
        raise SubPathError(f"failed to prepare subPath for {mount}: {error}") from None
    return str(place)


def _find(wanted: SubPath) -> int:
    """A handle. Links of the volume's own path are followed: it is the node's, or one that the user
    may name."""
    root = os.open(wanted.volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(root).st_mode)
        base = os.readlink(f"/proc/self/fd/{root}")
        return handles.find(root, wanted.path, base, mode)
    finally:
        os.close(root)
