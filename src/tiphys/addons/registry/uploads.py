"""Blobs on their way in: sessions, each a file that grows and the digest of what it has.

Sessions live in this process: after its end their clients get BLOB_UPLOAD_UNKNOWN, and start
again, as the specification allows.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.storage import Storage

MOST = 256  # sessions at a time
_ABANDONED = 3600.0  # seconds without a request after which a session is forgotten
_PIECE = 1 << 20  # bytes that are written in one go, on a thread


class Upload:
    """One session. `offset`: how many bytes it has; `used`: when it was last requested,
    monotonic."""

    def __init__(self, repository: str, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self.repository = repository
        self.file = folder / self.id
        self.file.touch()
        self.offset = 0
        self.used = time.monotonic()
        self._digest = hashlib.sha256()
        self.is_written = False

    @property
    def path(self) -> str:
        return f"/v2/{self.repository}/blobs/uploads/{self.id}"

    @property
    def range(self) -> str:
        """The value of the header Range for what has arrived."""
        return f"0-{max(self.offset - 1, 0)}"

    @property
    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def append(self, data: bytes) -> None:
        """Blocks."""
        with self.file.open("ab") as file:
            file.write(data)
        self._digest.update(data)
        self.offset += len(data)


class Uploads:
    """The sessions of a registry."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sessions: dict[str, Upload] = {}

    def begin(self, repository: str) -> Upload:
        """Raises Fault when there are too many."""
        self.forget_abandoned()
        if len(self._sessions) >= MOST:
            raise Fault(429, "TOOMANYREQUESTS", f"{MOST} uploads are under way", None, _LATER)
        upload = Upload(repository, self._storage.uploads)
        self._sessions[upload.id] = upload
        return upload

    def find(self, repository: str, session: str) -> Upload:
        """Raises Fault."""
        upload = self._sessions.get(session)
        if upload is None or upload.repository != repository:
            raise Fault(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        upload.used = time.monotonic()
        return upload

    def forget(self, upload: Upload) -> None:
        self._sessions.pop(upload.id, None)
        upload.file.unlink(missing_ok=True)

    def forget_abandoned(self) -> None:
        before = time.monotonic() - _ABANDONED
        for upload in list(self._sessions.values()):
            if upload.used < before and not upload.is_written:
                self.forget(upload)

    async def receive(self, upload: Upload, body: AsyncIterator[bytes]) -> None:
        """Appends what comes, in pieces. What has come stays when the connection breaks. Raises
        Fault."""
        if upload.is_written:
            raise Fault(409, "BLOB_UPLOAD_INVALID", "another request writes to this upload")
        upload.is_written = True
        pending = bytearray()
        try:
            async for data in body:
                pending += data
                if len(pending) >= _PIECE:
                    await self._append(upload, pending)
        finally:
            try:
                await self._append(upload, pending)
            finally:
                upload.is_written = False

    async def _append(self, upload: Upload, pending: bytearray) -> None:
        if not pending:
            return
        data = bytes(pending)
        pending.clear()
        under_way = sum(one.offset for one in self._sessions.values())
        try:
            self._storage.make_room(under_way + len(data))
        except Fault:
            self.forget(upload)  # its room is for others
            raise
        await asyncio.shield(asyncio.to_thread(upload.append, data))
        upload.used = time.monotonic()

    async def finish(self, upload: Upload, hexdigest: str) -> None:
        """Keeps the blob if its digest is the claimed one. Raises Fault; the session is over in
        any case."""
        try:
            if upload.hexdigest != hexdigest:
                raise Fault(
                    400,
                    "DIGEST_INVALID",
                    "provided digest did not match uploaded content",
                    {"digest": f"sha256:{upload.hexdigest}"},
                )
            await asyncio.to_thread(
                self._storage.keep_upload, upload.file, upload.repository, hexdigest
            )
        finally:
            self.forget(upload)


_LATER = {"Retry-After": "5"}
