"""Garbage collection: blobs that no manifest has, manifests whose tag stands for another one by
now, folders of repositories that are empty."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import NamedTuple

from tiphys.addons.registry import manifests
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.manifests import Manifest
from tiphys.addons.registry.storage import BLOCK, Storage

GRACE = 3600.0
"""Seconds that a blob waits for the manifest that will name it."""
UNTAGGED = 24 * 3600.0
"""Seconds that a manifest stays after its last tag: a pod may name it by its digest."""


class Swept(NamedTuple):
    """How much went."""

    blobs: int
    size: int


def sweep(storage: Storage, now: float) -> Swept:
    """Removes what is no use any more, and returns how much. Blocks, and holds the lock.

    A manifest that was pushed by its digest alone stays: it may be part of an index elsewhere, and
    a client has its name.
    """
    with storage.lock:
        needed: set[str] = set()
        for repository in storage.all_repositories():
            _sweep_manifests(storage, repository, now - UNTAGGED)
            needed |= _sweep_links(storage, repository, now - GRACE)
        return _sweep_blobs(storage, needed, now - GRACE)


def _sweep_manifests(storage: Storage, repository: str, before: float) -> None:
    """Those that lost their last tag long ago, and that no index of the repository names."""
    markers = storage.repositories / repository / "_untagged"
    lost = [file.name for file in _files(markers) if _is_old(file, before)]
    if not lost:
        return
    named: set[str] = set()
    for hexdigest in storage.manifests_of(repository):
        named.update(_read(storage, repository, hexdigest).manifests)
    for hexdigest in set(lost) - named:
        storage.forget_manifest(repository, hexdigest)


def _sweep_links(storage: Storage, repository: str, before: float) -> set[str]:
    """Unlinks blobs that no manifest of the repository has; returns the digests that are left."""
    folder = storage.repositories / repository
    needed: set[str] = set()
    for hexdigest in storage.manifests_of(repository):
        needed.add(hexdigest)
        needed.update(_read(storage, repository, hexdigest).blobs)
    for link in _files(folder / "_layers"):
        if link.name not in needed and _is_old(link, before):
            link.unlink()
        else:
            needed.add(link.name)
    if not needed:
        _remove_empty(folder, storage.repositories)
    return needed


def _read(storage: Storage, repository: str, hexdigest: str) -> Manifest:
    """Nothing of one whose file is lost: the others are no worse for it."""
    try:
        stored = storage.manifest(repository, hexdigest)
    except Fault:
        return Manifest("")
    return manifests.read(stored.data, stored.media_type)


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _remove_empty(folder: Path, root: Path) -> None:
    """A repository without images, and the folders above it that lead nowhere else."""
    for name in ("_layers", "_manifests", "_tags", "_untagged", "_referrers"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _sweep_blobs(storage: Storage, needed: set[str], before: float) -> Swept:
    gone = size = left = 0
    for file in storage.all_blobs():
        taken = file.stat().st_size
        if file.name not in needed and _is_old(file, before):
            file.unlink()
            gone += 1
            size += taken
        else:
            left += max(taken, BLOCK)
    storage.used = left
    return Swept(gone, size)


def _is_old(file: Path, before: float) -> bool:
    return file.stat().st_mtime < before
