"""The protocol of a store and its replicas: messages in MessagePack, each with its length
before it, over a stream between two processes of one server.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from tiphys.store.engine import Change

_HEAD = struct.Struct(">I")
_FRAME = 1 << 20  # bytes of objects in one message, about; a single object may be larger
Row: TypeAlias = tuple[int, str, bytes | None, int]  # of a Change


class Changes(msgspec.Struct, array_like=True, tag=1):
    """Changes in revision order; those before `Loaded` are the snapshot's."""

    rows: list[Row]


class Loaded(msgspec.Struct, array_like=True, tag=2):
    """The snapshot is complete; see `engine.Snapshot`. `shared`: other servers write, too."""

    revision: int
    compacted: int
    floors: dict[str, int]
    corrupt: list[tuple[str, int, str]]
    shared: bool


class Revision(msgspec.Struct, array_like=True, tag=3):
    """The answer to a `Commit` or `Question`: done, at or up to this revision."""

    id: int
    revision: int


class Conflicted(msgspec.Struct, array_like=True, tag=4):
    """The answer to a `Commit` whose key was at another revision."""

    id: int
    current: int


class Failed(msgspec.Struct, array_like=True, tag=5):
    """The answer to what the store could not do now. `late`: it may still happen."""

    id: int
    error: str
    late: bool


class Compacted(msgspec.Struct, array_like=True, tag=8):
    """History up to and including this revision is forgotten."""

    revision: int


class Commit(msgspec.Struct, array_like=True, tag=6):
    """See `engine.Write`."""

    id: int
    key: str
    value: bytes | None
    expected: int | None
    seconds: int


class Question(msgspec.Struct, array_like=True, tag=7):
    """Whether the engine answers, and, if `barrier`, how far every acknowledged write goes."""

    id: int
    barrier: bool


ToReplica: TypeAlias = Changes | Loaded | Revision | Conflicted | Failed | Compacted
FromReplica: TypeAlias = Commit | Question
_encode = msgspec.msgpack.Encoder().encode


def frame(message: msgspec.Struct) -> bytes:
    body = _encode(message)
    return _HEAD.pack(len(body)) + body


def change_frames(changes: Iterable[Change]) -> Iterator[bytes]:
    """Changes as messages of about a megabyte."""
    rows: list[Row] = []
    size = 0
    for change in changes:
        rows.append((change.revision, change.key, change.value, change.previous))
        size += len(change.value or b"")
        if size > _FRAME:
            yield frame(Changes(rows))
            rows = []
            size = 0
    if rows:
        yield frame(Changes(rows))


def changes_of(message: Changes) -> Sequence[Change]:
    return [Change(*row) for row in message.rows]


class Stream(asyncio.Protocol):
    """One end. `received` is called with each message, `lost` once when the other end is gone."""

    def __init__(self, kinds: Any, received: Callable[[Any], None], lost: Callable[[], None]):
        self._decode = msgspec.msgpack.Decoder(kinds).decode
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is of no class of it

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD.size:
            (length,) = _HEAD.unpack_from(buffer, start)
            end = start + _HEAD.size + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                message = self._decode(view[start + _HEAD.size : end])
            start = end
            self._received(message)
        if start:
            del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        self._lost()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    async def drain(self) -> None:
        """Returns once the other end has taken most of what was sent."""
        await self._room.wait()

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()


class Published:
    """The newest revision that a client may have seen, in memory that the processes of a
    server share: a reader sees at once whether it lags behind. 8 bytes that are aligned are
    written and read as a whole.
    """

    def __init__(self, file: int | None = None) -> None:
        """`file` is the descriptor of another process's, which is taken over."""
        self.file = os.memfd_create("tiphys-published") if file is None else file
        if file is None:
            os.truncate(self.file, mmap.PAGESIZE)
        self._memory = mmap.mmap(self.file, mmap.PAGESIZE)
        self._cells = memoryview(self._memory).cast("Q")

    @property
    def revision(self) -> int:
        return self._cells[0]

    def advance(self, revision: int) -> None:
        if revision > self._cells[0]:
            self._cells[0] = revision

    def close(self) -> None:
        self._cells.release()
        self._memory.close()
        os.close(self.file)
