"""tmpfs for what must not reach the disk: mounted by the system call itself, since each pod has at least one."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_DETACH = 2


def mount_tmpfs(path: Path, options: str, executable: bool = True) -> None:
    """Mounts a tmpfs; nothing happens where something is mounted already. Raises OSError."""
    if os.path.ismount(path):
        return
    flags = _NOSUID | _NODEV | (0 if executable else _NOEXEC)
    if _LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def unmount_below(folder: Path) -> None:
    """Takes off every mount two levels below a pod's volumes."""
    for path in folder.glob("volumes/*/*"):
        if os.path.ismount(path):
            _LIBC.umount2(os.fsencode(path), _DETACH)
