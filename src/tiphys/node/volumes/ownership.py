"""Giving a persistent volume to a pod's group (`fsGroup`) as upstream does, without following
links."""

from __future__ import annotations

import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GROUP_FOLDER = 0o2070  # mode bits: the group may do everything, and gets what is made in there
_GROUP_FILE = 0o060
_MOST_DEPTH = 200  # folders within each other: each takes two open handles


def give_to_group(path: str, group: int, policy: str | None) -> None:
    """Makes everything in a folder belong to the group, which may read and write it. With the
    policy ``OnRootMismatch`` only if the folder itself does not yet. Raises OSError."""
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        facts = os.fstat(top)
        is_given = facts.st_gid == group and facts.st_mode & _GROUP_FOLDER == _GROUP_FOLDER
        if not (policy == "OnRootMismatch" and is_given):
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
                    pass  # another pod that uses the volume removed it
    # The folder itself last: it shows that all below has been done.
    os.fchown(handle, -1, group)
    os.fchmod(handle, stat.S_IMODE(os.fstat(handle).st_mode) | _GROUP_FOLDER)


def _give_entry(folder: int, entry: os.DirEntry[str], group: int, depth: int) -> None:
    if entry.is_dir(follow_symlinks=False):
        below = os.open(entry.name, _FOLDER, dir_fd=folder)
        try:
            _give(below, group, depth + 1)
        finally:
            os.close(below)
        return
    os.chown(entry.name, -1, group, dir_fd=folder, follow_symlinks=False)
    if entry.is_file(follow_symlinks=False):
        file = os.open(entry.name, _FILE, dir_fd=folder)
        try:
            mode = os.fstat(file).st_mode
            if stat.S_ISREG(mode):
                os.fchmod(file, stat.S_IMODE(mode) | _GROUP_FILE)
        finally:
            os.close(file)
