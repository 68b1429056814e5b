"""The engine of a worker process: the store is the primary's, and its changes come over a stream.

A write is sent there, and its change comes back before its answer does, so that the writer reads
what it wrote. Writes of other workers are known to have happened (`wire.Published`) before anybody
is told of them; a read waits until they have come.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

from tiphys.store import wire
from tiphys.store.engine import (
    TOO_LARGE,
    Change,
    Conflict,
    Listener,
    Snapshot,
    StoreError,
    StoreTimeout,
    TooLarge,
    Write,
)

_PATIENCE = 10.0  # seconds for the primary to send what has happened


class ReplicaEngine:
    """An `Engine` at the other end of `stream`. `lost` is called when the primary is gone."""

    def __init__(
        self, stream: socket.socket, published: wire.Published, lost: Callable[[], None]
    ) -> None:
        self.shared = False  # until the primary's first message
        self.forget: Callable[[int], None] = lambda revision: None
        """Called when the primary forgets history up to and including a revision."""
        self._socket = stream
        self._published = published
        self._on_lost = lost
        self._seen = 0
        self._ids = itertools.count(1)
        self._asked: dict[int, tuple[asyncio.Future[int], str]] = {}  # id → (answer, key)
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._snapshot: list[Change] | None = []  # until it is complete
        self._closing = False

    async def open(self, listener: Listener) -> Snapshot:
        loop = asyncio.get_running_loop()
        self._listener = listener
        self._loaded: asyncio.Future[Snapshot] = loop.create_future()
        stream = wire.Stream(wire.ToReplica, self._received, self._lost)
        await loop.create_unix_connection(lambda: stream, sock=self._socket)
        self._stream = stream
        return await self._loaded

    # --- messages of the primary ---

    def _received(self, message: wire.ToReplica) -> None:
        if isinstance(message, wire.Changes):
            self._changed(message)
        elif isinstance(message, wire.Loaded):
            self._complete(message)
        elif isinstance(message, wire.Compacted):
            self.forget(message.revision)
        else:
            self._answered(message)

    def _changed(self, message: wire.Changes) -> None:
        changes = wire.changes_of(message)
        if self._snapshot is not None:
            self._snapshot.extend(changes)
            return
        self._listener(changes)
        self._see(changes[-1].revision)

    def _see(self, revision: int) -> None:
        self._seen = revision
        if self._waiters:
            for wanted, waiter in self._waiters:
                if wanted <= revision and not waiter.done():
                    waiter.set_result(None)

    def _complete(self, message: wire.Loaded) -> None:
        changes = self._snapshot or []
        self._snapshot = None
        self.shared = message.shared
        self._seen = message.revision
        self._loaded.set_result(
            Snapshot(message.revision, message.compacted, changes, message.floors, message.corrupt)
        )

    def _answered(self, message: wire.Revision | wire.Conflicted | wire.Failed) -> None:
        future, key = self._asked.pop(message.id)
        if future.done():  # the caller was cancelled
            return
        if isinstance(message, wire.Revision):
            future.set_result(message.revision)
        elif isinstance(message, wire.Conflicted):
            future.set_exception(Conflict(key, message.current))
        else:
            future.set_exception(_failure(message))

    def _lost(self) -> None:
        gone = StoreError("the server's primary process is gone")
        futures: list[asyncio.Future[Any]] = [future for future, _ in self._asked.values()]
        futures += [waiter for _, waiter in self._waiters]
        for future in (*futures, self._loaded):
            if not future.done():
                future.set_exception(gone)
        if not self._closing:
            self._on_lost()

    # --- requests to it ---

    async def _ask(self, id: int, message: wire.FromReplica, key: str = "") -> int:
        if self._stream.closed:
            raise StoreError("the server's primary process is gone")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[id] = (answer, key)
        self._stream.send(wire.frame(message))
        return await answer

    async def commit(self, write: Write) -> int:
        id = next(self._ids)
        message = wire.Commit(id, write.key, write.value, write.expected, write.seconds)
        return await self._ask(id, message, write.key)

    async def ping(self) -> None:
        id = next(self._ids)
        await self._ask(id, wire.Question(id, False))

    def lags(self) -> bool:
        return self._published.revision > self._seen

    async def barrier(self) -> int:
        if self.shared:  # with others, whom only the engine itself knows about
            id = next(self._ids)
            await self._ask(id, wire.Question(id, True))
        wanted = self._published.revision
        if wanted > self._seen:
            await self._reached(wanted)
        return self._seen

    async def _reached(self, revision: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (revision, waiter)
        self._waiters.append(waiting)
        try:
            async with asyncio.timeout(_PATIENCE):
                await waiter
        except TimeoutError:
            raise StoreError(f"revision {revision} has not come yet") from None
        finally:
            self._waiters.remove(waiting)

    async def compact(self, revision: int) -> None:
        """The primary does it. Here only the caches forget."""

    async def close(self) -> None:
        self._closing = True
        self._stream.abort()


def _failure(message: wire.Failed) -> StoreError:
    """The error of the primary's engine."""
    if message.error == TOO_LARGE:
        return TooLarge()
    return StoreTimeout(message.error) if message.late else StoreError(message.error)
