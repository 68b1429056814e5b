"""Mounts by mount(2) itself: tmpfs for what must not reach the disk, and binds of open handles."""

from __future__ import annotations

import ctypes
import os
import re
import stat
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND = 1, 2, 4, 8, 4096
_REC, _SHARED = 1 << 14, 1 << 20
_DETACH, _NOFOLLOW = 2, 8


def mount_tmpfs(path: Path, options: str, executable: bool = True) -> None:
    """Mounts a tmpfs; nothing happens where something is mounted already. Raises OSError."""
    if os.path.ismount(path):
        return
    _mount(
        b"tmpfs",
        path,
        b"tmpfs",
        _NOSUID | _NODEV | (0 if executable else _NOEXEC),
        options.encode(),
    )


def mount_huge_pages(path: Path, page: int) -> None:
    """Mounts files of huge pages of so many bytes; nothing happens where something is mounted
    already. Raises OSError."""
    if not os.path.ismount(path):
        _mount(b"nodev", path, b"hugetlbfs", _NOSUID | _NODEV, f"pagesize={page}".encode())


def mount_read_only(kind: str, source: str, options: list[str], place: Path) -> None:
    """Mounts files that must not be changed, run or used as devices, as upstream shows images.
    Raises OSError.

    A folder alone is mounted as an overlay, too, over the empty one where it is shown: one without
    an upper folder cannot be written to, whatever is made of its mount later.
    """
    flags = _RDONLY | _NOSUID | _NODEV | _NOEXEC
    if kind == "bind":
        data = f"lowerdir={_escaped(source)}:{_escaped(place)}"
        kind = source = "overlay"
    else:
        data = ",".join(option for option in options if option not in ("ro", "rbind", "bind"))
    _mount(source.encode(), place, kind.encode(), flags, data.encode())


def _escaped(path: str | Path) -> str:
    """As overlays read the paths of their folders."""
    return re.sub(r"([\\:,])", r"\\\1", str(path))


def bind(handle: int, place: Path) -> None:
    """Mounts what a handle is open on at `place`, in a folder that no container sees. It replaces
    what was mounted there, unless that is the very same. Raises OSError."""
    wanted = os.fstat(handle)
    if os.path.lexists(place):
        present = os.lstat(place)
        if (present.st_dev, present.st_ino) == (wanted.st_dev, wanted.st_ino):
            return
        unmount(place)
        if stat.S_ISDIR(os.lstat(place).st_mode):
            place.rmdir()
        else:
            place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if stat.S_ISDIR(wanted.st_mode):
        place.mkdir(mode=0o750)
    else:
        place.touch(0o640)
    _mount(f"/proc/self/fd/{handle}".encode(), place, None, _BIND, None)


def make_shared(folder: Path) -> None:
    """What is mounted below a folder is seen wherever the folder is mounted, and the other way
    round, as drivers in containers need it. Raises OSError."""
    if not _is_shared(folder):
        if not os.path.ismount(folder):
            _mount(os.fsencode(folder), folder, None, _BIND, None)
        _mount(b"none", folder, None, _SHARED | _REC, None)


def _is_shared(folder: Path) -> bool:
    """Whether the mount that a folder lies on is."""
    best = ""
    shared = False
    real = os.path.realpath(folder)
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split(b" - ", 1)[0].split(b" ")
        point = os.fsdecode(_plain(fields[4]))
        is_above = real == point or real.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):  # of two at one place, the later hides the other
            best = point
            shared = any(field.startswith(b"shared:") for field in fields[6:])
    return shared


def unmount(path: Path) -> None:
    """Unmounts whatever is mounted at a path itself; who has it open keeps it."""
    while _LIBC.umount2(os.fsencode(path), _DETACH | _NOFOLLOW) == 0:
        pass


def unmount_below(folder: Path) -> None:
    """Unmounts everything below a folder, the innermost first: what the node mounted, and what a
    privileged container left there."""
    inside = f"{folder}/"
    for path in sorted(mount_points(), reverse=True):
        if path.startswith(inside):
            unmount(Path(path))


def is_mounted(device: str) -> bool:
    """Whether a block device is, anywhere. Raises OSError."""
    number = os.stat(device).st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}".encode()
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return any(line.split(b" ", 3)[2] == wanted for line in lines)


def mount_points() -> list[str]:
    text = Path("/proc/self/mountinfo").read_bytes()
    return [os.fsdecode(_plain(line.split(b" ", 5)[4])) for line in text.splitlines()]


def _plain(path: bytes) -> bytes:
    """The kernel writes blanks and backslashes as three octal digits."""
    first, *others = path.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in others)


def _mount(
    source: bytes, path: Path, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    if _LIBC.mount(source, os.fsencode(path), kind, flags, options):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
