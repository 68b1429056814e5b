"""Rotation of container logs on disk. As upstream's kubelet, five files of ten megabytes are kept
for a container; all but the newest of the old ones are compressed.

Pods that have the node's logs mounted may put links there: none is followed.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiphys.machinery import handles

LARGEST = 10 << 20  # bytes of a log
MOST = 5  # files of a container's logs
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def _folder(logs: Path, path: str) -> Iterator[int]:
    with handles.folder(logs) as root, handles.folder(path, root) as folder:
        yield folder


def is_full(logs: Path, path: str, name: str, largest: int = LARGEST) -> bool:
    """Whether a log has more than `largest` bytes. `path` is the folder of a container's logs below
    `logs`, `name` the log that is written now."""
    try:
        with _folder(logs, path) as folder:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size > largest
    except OSError:
        return False


def rotate(logs: Path, path: str, name: str, most: int = MOST) -> str:
    """Gives a full log another name, which is returned: the runtime must start a new one then.
    Removes and compresses older ones, so that `most` files are there in the end. Raises OSError."""
    with _folder(logs, path) as folder:
        _clear_room(folder, name, most)
        rotated = f"{name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        os.rename(name, rotated, src_dir_fd=folder, dst_dir_fd=folder)
        return rotated


def _clear_room(folder: int, name: str, most: int) -> None:
    old = []
    for entry in sorted(os.listdir(folder)):
        if entry.startswith(f"{name}.") and entry.endswith(".tmp"):
            os.unlink(entry, dir_fd=folder)  # an agent before this one was ended at it
        elif entry.startswith(f"{name}."):
            old.append(entry)
    kept = most - 2  # beside the log that is rotated now and the new one
    excess = max(0, len(old) - kept)
    for entry in old[:excess]:
        os.unlink(entry, dir_fd=folder)
    for entry in old[excess:]:
        if not entry.endswith(".gz"):
            _compress(folder, entry)


def put_back(logs: Path, path: str, rotated: str, name: str) -> None:
    """Undoes a rotation after which the runtime did not start a new log. Raises OSError."""
    with _folder(logs, path) as folder:
        os.rename(rotated, name, src_dir_fd=folder, dst_dir_fd=folder)


def _compress(folder: int, name: str) -> None:
    temporary = f"{name}.tmp"
    with (
        os.fdopen(handles.open_file(folder, name), "rb") as log,
        os.fdopen(os.open(temporary, _NEW, 0o640, dir_fd=folder), "wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file) as compressed,
    ):
        shutil.copyfileobj(log, compressed)
    os.rename(temporary, f"{name}.gz", src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink(name, dir_fd=folder)


def remove(logs: Path, path: str, name: str) -> None:
    """Removes one log, with those that were rotated."""
    try:
        with _folder(logs, path) as folder:
            for entry in os.listdir(folder):
                if entry == name or entry.startswith(f"{name}."):
                    os.unlink(entry, dir_fd=folder)
    except OSError:
        return  # it is gone, or goes with the pod's folder later


def remove_folder(logs: Path, name: str) -> None:
    """Removes all logs of a pod. Raises OSError."""
    try:
        with handles.folder(logs) as root:
            handles.remove_tree(root, name)
    except FileNotFoundError:
        return


def folders_by_uid(logs: Path) -> dict[str, str]:
    """The folders of pods that have logs, by the pod's uid."""
    try:
        return {name.rpartition("_")[2]: name for name in os.listdir(logs) if name.count("_") == 2}
    except OSError:
        return {}
