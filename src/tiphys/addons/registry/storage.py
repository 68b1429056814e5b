"""Blobs by their digest, and which repository has which of them, as files.

    blobs/sha256/AB/ABCD...                 content
    repositories/NAME/_layers/ABCD...       empty: NAME has the blob; its time: last requested
    repositories/NAME/_manifests/ABCD...    the manifest's media type
    repositories/NAME/_tags/TAG             the manifest's digest
    repositories/NAME/_untagged/ABCD...     a manifest that has lost its last tag, and when
    repositories/NAME/_referrers/OF/ABCD... the descriptor of a manifest that is about manifest OF
    uploads/SESSION                         what has come of a blob

No part of a repository's name starts with an underscore. Files come to be by renaming. All of this
blocks: the server calls it on threads; what changes more than one file holds the lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tiphys.addons.registry import manifests
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.manifests import Manifest

_SPARE = 1 << 30  # bytes of the disk that are left to others
BLOCK = 4096  # bytes that the smallest file takes


class StoredManifest(NamedTuple):
    digest: str
    media_type: str
    data: bytes


class Storage:
    """`capacity` is in bytes, of all blobs together."""

    def __init__(self, root: Path, capacity: int) -> None:
        self._blobs = root / "blobs" / "sha256"
        self.repositories = root / "repositories"
        self.uploads = root / "uploads"
        self.capacity = capacity
        self.lock = threading.Lock()
        self.used = 0

    def open(self) -> None:
        """Makes the folders, and forgets uploads that a former process did not end."""
        shutil.rmtree(self.uploads, ignore_errors=True)
        for folder in (self._blobs, self.repositories, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self.used = sum(_taken(file) for file in self.all_blobs())

    # --- blobs ---

    def blob(self, hexdigest: str) -> Path:
        return self._blobs / hexdigest[:2] / hexdigest

    def all_blobs(self) -> Iterator[Path]:
        for folder in self._blobs.iterdir():
            yield from folder.iterdir()

    def has(self, repository: str, hexdigest: str) -> bool:
        """Whether the repository has the blob. It is kept for a while after a request for it:
        who pushes an image asks first, and names it in a manifest then."""
        link = self._link(repository, "_layers", hexdigest)
        try:
            os.utime(link)
        except OSError:
            return False
        return self.blob(hexdigest).exists()

    def size(self, hexdigest: str) -> int:
        """Bytes; -1 of a blob that is not there."""
        try:
            return self.blob(hexdigest).stat().st_size
        except OSError:
            return -1

    def make_room(self, size: int) -> None:
        """Raises Fault when so many bytes more do not fit."""
        if self.used + size > self.capacity:
            raise Fault(507, "DENIED", "the registry is full: delete images, or raise its capacity")
        if shutil.disk_usage(self.uploads).free < size + _SPARE:
            raise Fault(507, "DENIED", "the disk of the registry is full")

    def keep_upload(self, upload: Path, repository: str, hexdigest: str) -> None:
        """Makes a blob of a file whose digest was verified."""
        _sync(upload)
        with self.lock:
            self._keep(upload, hexdigest)
            _write(self._link(repository, "_layers", hexdigest), b"")

    def mount(self, repository: str, hexdigest: str, source: str) -> bool:
        """Gives a repository the blob of another one; whether that has it."""
        with self.lock:
            if not self.has(source, hexdigest):
                return False
            _write(self._link(repository, "_layers", hexdigest), b"")
            return True

    def unlink_blob(self, repository: str, hexdigest: str) -> None:
        """Raises Fault when the repository does not have it."""
        with self.lock:
            try:
                self._link(repository, "_layers", hexdigest).unlink()
            except OSError:
                raise blob_unknown(hexdigest) from None

    def _keep(self, file: Path, hexdigest: str) -> None:
        blob = self.blob(hexdigest)
        if blob.exists():
            file.unlink()
            return
        blob.parent.mkdir(exist_ok=True)
        file.rename(blob)
        _sync(blob.parent)
        self.used += _taken(blob)

    # --- manifests ---

    def manifest(self, repository: str, hexdigest: str) -> StoredManifest:
        """Raises Fault."""
        try:
            media_type = self._link(repository, "_manifests", hexdigest).read_text()
            return StoredManifest(hexdigest, media_type, self.blob(hexdigest).read_bytes())
        except OSError:
            raise _manifest_unknown(f"sha256:{hexdigest}") from None

    def tagged(self, repository: str, tag: str) -> str:
        """The digest that a tag stands for. Raises Fault."""
        try:
            return self._link(repository, "_tags", tag).read_text()
        except OSError:
            raise _manifest_unknown(tag) from None

    def put_manifest(
        self, repository: str, data: bytes, manifest: Manifest, tag: str, claimed_digest: str
    ) -> str:
        """Keeps a manifest whose parts are all in the repository, under a tag unless that is "".
        `claimed_digest`: the digest it must have, "" for any. Returns its digest. Raises Fault."""
        hexdigest = hashlib.sha256(data).hexdigest()
        if claimed_digest not in ("", hexdigest):
            message = "provided digest did not match uploaded content"
            raise Fault(400, "DIGEST_INVALID", message, {"digest": f"sha256:{hexdigest}"})
        self.make_room(len(data))
        upload = self.uploads / f"manifest-{hexdigest}-{threading.get_ident()}"
        with self.lock:
            for blob in manifest.blobs:
                if not self.has(repository, blob):
                    raise Fault(
                        404,
                        "MANIFEST_BLOB_UNKNOWN",
                        "blob unknown to repository",
                        {"digest": f"sha256:{blob}"},
                    )
            for part in manifest.manifests:
                self.manifest(repository, part)
            upload.write_bytes(data)
            _sync(upload)
            self._keep(upload, hexdigest)
            link = self._link(repository, "_manifests", hexdigest)
            _write(link, manifest.media_type.encode())
            if manifest.subject:
                shown = manifests.referrer(data, hexdigest, manifest)
                referrers = self._link(repository, "_referrers", manifest.subject)
                _write(referrers / hexdigest, msgspec.json.encode(shown))
            self._link(repository, "_untagged", hexdigest).unlink(missing_ok=True)
            if tag:
                self._tag(repository, tag, hexdigest)
        return hexdigest

    def _tag(self, repository: str, tag: str, hexdigest: str) -> None:
        link = self._link(repository, "_tags", tag)
        before = link.read_text() if link.exists() else hexdigest
        _write(link, hexdigest.encode())
        if before != hexdigest:
            self._lost_a_tag(repository, before)

    def _lost_a_tag(self, repository: str, hexdigest: str) -> None:
        if hexdigest not in self.tagged_manifests(repository):
            _write(self._link(repository, "_untagged", hexdigest), b"")

    def delete_manifest(self, repository: str, hexdigest: str) -> None:
        """With every tag that stands for it. Raises Fault."""
        with self.lock:
            for tag in self.tags(repository):
                if self.tagged(repository, tag) == hexdigest:
                    self._link(repository, "_tags", tag).unlink()
            self.forget_manifest(repository, hexdigest)

    def forget_manifest(self, repository: str, hexdigest: str) -> None:
        """One without tags; the lock is held. Raises Fault."""
        stored = self.manifest(repository, hexdigest)
        subject = manifests.read(stored.data, stored.media_type).subject
        if subject:
            referrers = self._link(repository, "_referrers", subject)
            (referrers / hexdigest).unlink(missing_ok=True)
        self._link(repository, "_untagged", hexdigest).unlink(missing_ok=True)
        self._link(repository, "_manifests", hexdigest).unlink()

    def delete_tag(self, repository: str, tag: str) -> None:
        """Raises Fault."""
        with self.lock:
            hexdigest = self.tagged(repository, tag)
            self._link(repository, "_tags", tag).unlink()
            self._lost_a_tag(repository, hexdigest)

    # --- what there is ---

    def tags(self, repository: str) -> list[str]:
        """In the order of their names. Raises Fault for a repository that is not there."""
        folder = self.repositories / repository
        if not (folder / "_manifests").exists():
            raise Fault(
                404, "NAME_UNKNOWN", "repository name not known to registry", {"name": repository}
            )
        return sorted(_names(folder / "_tags"))

    def tagged_manifests(self, repository: str) -> set[str]:
        """The digests that tags stand for."""
        folder = self.repositories / repository / "_tags"
        return {(folder / name).read_text() for name in _names(folder)}

    def manifests_of(self, repository: str) -> list[str]:
        return _names(self.repositories / repository / "_manifests")

    def referrers(self, repository: str, subject: str) -> list[Any]:
        """The descriptors of manifests that are about another one."""
        folder = self.repositories / repository / "_referrers" / subject
        return [msgspec.json.decode((folder / name).read_bytes()) for name in _names(folder)]

    def catalog(self) -> list[str]:
        """The repositories that have images, in the order of their names."""
        return sorted(name for name in self.all_repositories() if self.manifests_of(name))

    def all_repositories(self) -> list[str]:
        repositories = []
        for folder, names, _ in os.walk(self.repositories):
            if any(name.startswith("_") for name in names):
                repositories.append(str(Path(folder).relative_to(self.repositories)))
            names[:] = [name for name in names if not name.startswith("_")]
        return repositories

    def _link(self, repository: str, kind: str, name: str) -> Path:
        return self.repositories / repository / kind / name


def blob_unknown(hexdigest: str) -> Fault:
    detail = {"digest": f"sha256:{hexdigest}"}
    return Fault(404, "BLOB_UNKNOWN", "blob unknown to registry", detail)


def _manifest_unknown(reference: str) -> Fault:
    return Fault(404, "MANIFEST_UNKNOWN", "manifest unknown", {"reference": reference})


def _names(folder: Path) -> list[str]:
    """Of the files in a folder that need not be there."""
    with contextlib.suppress(OSError):
        return [name for name in os.listdir(folder) if not name.startswith("-")]
    return []


def _taken(file: Path) -> int:
    return max(file.stat().st_size, BLOCK)


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all, also if the machine stops."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # No tag and no digest starts with a dash.
    temporary = file.with_name(f"-{threading.get_ident()}-{time.monotonic_ns()}")
    temporary.write_bytes(content)
    if content:
        _sync(temporary)
    temporary.rename(file)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
