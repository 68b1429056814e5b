"""The primary's side of a store that worker processes have replicas of (`replica`).

Every change is sent to every replica before it is acknowledged. A replica starts with
what the primary's caches hold, history included, so that watches can be resumed there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

from tiphys.client.tasks import TaskGroup
from tiphys.store import wire
from tiphys.store.cache import Contents
from tiphys.store.engine import (
    Change,
    Conflict,
    Engine,
    Listener,
    Snapshot,
    StoreError,
    StoreTimeout,
    Write,
)
from tiphys.store.entries import Entry, without_revision
from tiphys.store.store import Store

_MOST_UNSENT = 128 << 20  # bytes; a replica that does not take what it is sent is given up


class SharedEngine:
    """An `Engine` whose changes go to replicas, too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.shared = engine.shared
        self.published = wire.Published()
        self._replicas: set[_Replica] = set()
        self._tasks = TaskGroup("replicas")

    async def open(self, listener: Listener) -> Snapshot:
        self._listener = listener
        snapshot = await self._engine.open(self._changed)
        self.published.advance(snapshot.revision)
        return snapshot

    def _changed(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self.published.advance(changes[-1].revision)
        if self._replicas:
            for data in wire.change_frames(changes):
                for replica in list(self._replicas):
                    replica.send(data)
        self._listener(changes)

    async def attach(self, end: socket.socket, store: Store, lost: Callable[[], None]) -> None:
        """Serves a replica at the other end of a stream, which it fills first. `lost` is called
        when it is gone.
        """
        replica = _Replica(self._engine, self._tasks)

        def gone() -> None:
            self._replicas.discard(replica)
            lost()

        await replica.connect(end, gone)
        self._replicas.add(replica)
        await replica.load(store, self.shared)

    def lags(self) -> bool:
        return self._engine.lags()

    async def commit(self, write: Write) -> int:
        return await self._engine.commit(write)

    async def ping(self) -> None:
        await self._engine.ping()

    async def barrier(self) -> int:
        return await self._engine.barrier()

    async def compact(self, revision: int) -> None:
        for replica in list(self._replicas):
            replica.send(wire.frame(wire.Compacted(revision)))
        await self._engine.compact(revision)

    async def close(self) -> None:
        await self._tasks.stop()
        for replica in list(self._replicas):
            replica.abort()
        await self._engine.close()


class _Replica:
    """One of them, as the primary sees it."""

    def __init__(self, engine: Engine, tasks: TaskGroup) -> None:
        self._engine = engine
        self._tasks = tasks
        self._held: list[bytes] | None = []  # changes until it has the image
        self._held_size = 0

    async def connect(self, end: socket.socket, lost: Callable[[], None]) -> None:
        self._stream = wire.Stream(wire.FromReplica, self._received, lost)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._stream, sock=end)

    async def load(self, store: Store, shared: bool) -> None:
        # Both are of one moment: nothing is awaited in between.
        image = _image_of(store, shared)
        self._held = []
        self._held_size = 0
        async for data in image.frames():
            await self._stream.drain()
            if self._stream.closed:
                return
            self._stream.send(data)
        for data in self._held:
            self._stream.send(data)
        self._held = None
        self._held_size = 0

    def send(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
            self._held_size += len(data)
        else:
            self._stream.send(data)
        if self._stream.unsent + self._held_size > _MOST_UNSENT:
            self.abort()

    def abort(self) -> None:
        self._stream.abort()

    def _received(self, message: wire.FromReplica) -> None:
        self._tasks.start(self._answer(message), "answer")

    async def _answer(self, message: wire.FromReplica) -> None:
        answer: wire.Revision | wire.Conflicted | wire.Failed
        try:
            answer = wire.Revision(message.id, await self._handle(message))
        except Conflict as conflict:
            answer = wire.Conflicted(message.id, conflict.current)
        except StoreError as error:
            answer = wire.Failed(message.id, str(error), isinstance(error, StoreTimeout))
        if not self._stream.closed:
            self._stream.send(wire.frame(answer))

    async def _handle(self, message: wire.FromReplica) -> int:
        if isinstance(message, wire.Commit):
            write = Write(message.key, message.value, message.expected, message.seconds)
            return await self._engine.commit(write)
        if message.barrier:
            return await self._engine.barrier()
        await self._engine.ping()
        return 0


class _Image(NamedTuple):
    """What a store's caches hold at one revision."""

    loaded: wire.Loaded
    contents: list[Contents]

    async def frames(self) -> AsyncIterator[bytes]:
        """The messages that make a replica. A thread puts each together."""
        changes = await asyncio.to_thread(_changes_in_order, self.contents)
        frames = wire.change_frames(changes)
        while data := await asyncio.to_thread(next, frames, b""):
            yield data
        yield wire.frame(self.loaded)


def _image_of(store: Store, shared: bool) -> _Image:
    contents = store.contents()
    floors = {content.prefix: content.dropped for content in contents}
    corrupt = [(c.key, c.revision, c.fault) for content in contents for c in content.corrupt]
    loaded = wire.Loaded(store.revision, store.history_begins, floors, corrupt, shared)
    return _Image(loaded, contents)


def _changes_in_order(contents: list[Contents]) -> Iterator[Change]:
    """Everything as changes. Those of the past are what live objects, and events that are kept,
    need to have been there before."""
    rows: dict[tuple[int, str], Entry | None] = {}
    for content in contents:
        for event in content.events:
            if event.previous is not None:
                rows.setdefault((event.previous.revision, event.key), event.previous)
            rows[event.revision, event.key] = event.entry
        for entry in content.entries:
            rows[entry.revision, entry.key] = entry
    for revision, key in sorted(rows):
        row = rows[revision, key]
        value = without_revision(row.data) if row is not None else None
        yield Change(revision, key, value, 0)
