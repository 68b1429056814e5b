"""Images that are removed when the disk is short: those that this node has pulled itself, and that
no container needs.

An image that was loaded by hand is in no registry to pull it from again: it stays. So the
node writes down what it pulls.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.runtime import Runtime, RuntimeFault

log = logging.getLogger(__name__)


class PulledImages:
    """The names of images that this node has pulled, in a file of its folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._names: set[str] = set()
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._names = set(msgspec.json.decode(file.read_bytes(), type=list[str]))

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """A node that cannot write it down keeps the image for good."""
        if name not in self._names:
            self._names.add(name)
            self._write()

    def discard(self, name: str) -> None:
        if name in self._names:
            self._names.discard(name)
            self._write()

    def _write(self) -> None:
        temporary = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(sorted(self._names)))
            os.replace(temporary, self._file)
        except OSError as error:
            log.warning("What images were pulled is not written down: %s", error)


async def reclaim(runtime: Runtime, pulled: PulledImages, in_use: Collection[str]) -> int:
    """Removes pulled images that are not among the names and ids `in_use`; returns their bytes.
    Raises RuntimeFault, TimeoutError when images cannot be listed."""
    freed = 0
    for names, size in await runtime.images():
        ours = [name for name in names if name in pulled]
        if not ours or any(name in in_use for name in names):
            continue
        try:
            await runtime.remove_image(ours[0])
        except (RuntimeFault, TimeoutError) as error:
            log.info("Image %s is not removed: %s", ours[0], error)
            continue
        for name in ours:
            pulled.discard(name)
        freed += size
    return freed


async def forget_removed(runtime: Runtime, records: PullRecords) -> None:
    """With whose secrets an image was pulled says nothing when the image is gone. Raises
    RuntimeFault, TimeoutError."""
    for id in records.ids():
        if not await runtime.image_id(id):
            records.forget(id)
