"""The files of static pods: which there are, and whether one has changed.

Upstream is notified by the kernel and reads everything every 20 seconds besides; here the names and
times of the files are read once a second, which misses nothing and needs no second way.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.node.staticpods.manifests import ManifestError

log = logging.getLogger(__name__)

_MOST_BYTES = 10 << 20  # of a file, as upstream

Read = Callable[[bytes, str], core_v1.Pod]


class _Version(NamedTuple):
    """Distinguishes one content of a file from the next."""

    inode: int
    changed: int
    size: int


class ManifestFolder:
    """`path` is a folder of files, or one file. `read` makes a pod of (text, path); it raises
    ManifestError."""

    def __init__(self, path: Path, read: Read) -> None:
        self._path = path
        self._read = read
        self._versions: dict[Path, _Version] | None = None
        self._pods: dict[Path, core_v1.Pod] = {}

    def look(self) -> list[core_v1.Pod] | None:
        """The pods of all files that can be read, in the order of their names; None if nothing has
        changed since the last look. Blocking.

        As upstream, a file that is there and cannot be read any more keeps the pod that it was.
        """
        versions = dict(self._files())
        if versions == self._versions:
            return None
        before = self._versions or {}
        self._versions = versions
        pods = {}
        for path, version in versions.items():
            pod = self._pods.get(path)
            if before.get(path) != version:
                pod = _unchanged(pod, self._pod(path))
            if pod is not None:
                pods[path] = pod
        self._pods = pods
        return [pods[path] for path in sorted(pods)]

    def _files(self) -> Iterator[tuple[Path, _Version]]:
        """Those whose names do not start with a dot; no folders below."""
        try:
            paths = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        except OSError as error:
            log.warning("Static pods in %s cannot be listed: %s", self._path, error)
            return
        for path in paths:
            if path.name.startswith(".") and path != self._path:
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, _Version(status.st_ino, status.st_mtime_ns, status.st_size)

    def _pod(self, path: Path) -> core_v1.Pod | None:
        try:
            return self._read(_text(path), str(path))
        except (ManifestError, OSError) as error:
            log.error("Static pod %s is not run: %s", path, error)
            return None


def _unchanged(before: core_v1.Pod | None, now: core_v1.Pod | None) -> core_v1.Pod | None:
    """The pod as it was if its file says the same in other words, or nothing."""
    if before is None or now is None:
        return now or before
    is_same = (before.metadata, before.spec) == (now.metadata, now.spec)
    return before if is_same else now


def _text(path: Path) -> bytes:
    """Raises OSError, ManifestError. A pipe that took the file's place does not block."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ManifestError(f"it is longer than {_MOST_BYTES} bytes")
    return text
