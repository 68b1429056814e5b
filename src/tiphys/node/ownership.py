"""Giving a persistent volume to a pod's group (`fsGroup`), as upstream does it, without following anybody's links."""

from __future__ import annotations

import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_DEPTH = 200  # folders in one another: each holds two handles


def give_to_group(path: str, group: int, policy: str | None) -> None:
    """Everything in a folder belongs to the group, which may read and write it. With the policy ``OnRootMismatch`` only if
    the folder itself does not yet. Raises OSError."""
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(top)
        fits = found.st_gid == group and found.st_mode & 0o2070 == 0o2070
        if not (policy == "OnRootMismatch" and fits):
            _give(top, group, 0)
    finally:
        os.close(top)


def _give(handle: int, group: int, depth: int) -> None:
    if depth < _MOST_DEPTH:
        with os.scandir(handle) as entries:
            for entry in entries:
                try:
                    _give_entry(handle, entry, group, depth)
                except FileNotFoundError:
                    pass  # somebody uses the volume already
    # The folder itself last: what fits at the top tells that all below has been done.
    os.fchown(handle, -1, group)
    os.fchmod(handle, stat.S_IMODE(os.fstat(handle).st_mode) | 0o2070)


def _give_entry(at: int, entry: os.DirEntry[str], group: int, depth: int) -> None:
    if entry.is_dir(follow_symlinks=False):
        below = os.open(entry.name, _FOLDER, dir_fd=at)
        try:
            _give(below, group, depth + 1)
        finally:
            os.close(below)
        return
    os.chown(entry.name, -1, group, dir_fd=at, follow_symlinks=False)
    if entry.is_file(follow_symlinks=False):
        file = os.open(entry.name, _FILE, dir_fd=at)
        try:
            mode = os.fstat(file).st_mode
            if stat.S_ISREG(mode):
                os.fchmod(file, stat.S_IMODE(mode) | 0o060)
        finally:
            os.close(file)
