"""Container logs on disk: how long they get before a new one begins, how many are kept, and which go when. Upstream's kubelet
keeps five files of ten megabytes; all but the newest old one are compressed.

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

LARGEST, MOST = 10 << 20, 5  # bytes of a log, files of a container's logs
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def _folder(logs: Path, path: str) -> Iterator[int]:
    with handles.folder(logs) as root, handles.folder(path, root) as found:
        yield found


def is_full(logs: Path, path: str, name: str, largest: int = LARGEST) -> bool:
    """`path` is the folder of a container's logs below `logs`, `name` the one that is written now."""
    try:
        with _folder(logs, path) as at:
            return os.stat(name, dir_fd=at, follow_symlinks=False).st_size > largest
    except OSError:
        return False


def rotate(logs: Path, path: str, name: str, most: int = MOST) -> str:
    """Makes room for a new log, compresses the old ones and gives the full one another name, which is returned: the runtime
    must begin a new one then. Raises OSError."""
    with _folder(logs, path) as at:
        old = sorted(entry for entry in os.listdir(at) if entry.startswith(f"{name}."))
        for entry in [e for e in old if e.endswith(".tmp")]:
            os.unlink(entry, dir_fd=at)
            old.remove(entry)
        excess = max(
            0, len(old) - (most - 2)
        )  # beside the one that is set aside now, and the new one
        for entry in old[:excess]:
            os.unlink(entry, dir_fd=at)
        for entry in old[excess:]:
            if not entry.endswith(".gz"):
                _compress(at, entry)
        aside = f"{name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        os.rename(name, aside, src_dir_fd=at, dst_dir_fd=at)
        return aside


def put_back(logs: Path, path: str, aside: str, name: str) -> None:
    """The runtime did not begin a new log. Raises OSError."""
    with _folder(logs, path) as at:
        os.rename(aside, name, src_dir_fd=at, dst_dir_fd=at)


def _compress(at: int, name: str) -> None:
    with (
        os.fdopen(handles.open_file(at, name), "rb") as plain,
        os.fdopen(os.open(f"{name}.tmp", _NEW, 0o640, dir_fd=at), "wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file) as packed,
    ):
        shutil.copyfileobj(plain, packed)
    os.rename(f"{name}.tmp", f"{name}.gz", src_dir_fd=at, dst_dir_fd=at)
    os.unlink(name, dir_fd=at)


def remove(logs: Path, path: str, name: str) -> None:
    """One log, with those that were set aside from it."""
    try:
        with _folder(logs, path) as at:
            for entry in os.listdir(at):
                if entry == name or entry.startswith(f"{name}."):
                    os.unlink(entry, dir_fd=at)
    except OSError:
        return  # it is gone, or will go with the pod's folder


def remove_folder(logs: Path, name: str) -> None:
    """All logs of a pod. Raises OSError."""
    try:
        with handles.folder(logs) as root:
            handles.remove_tree(root, name)
    except FileNotFoundError:
        return


def folders_by_uid(logs: Path) -> dict[str, str]:
    """uid → folder of the pods that have logs."""
    try:
        return {name.rpartition("_")[2]: name for name in os.listdir(logs) if name.count("_") == 2}
    except OSError:
        return {}
