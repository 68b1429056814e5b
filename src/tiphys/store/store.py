"""The store the API server uses: an engine for writing, a cache for reading, compaction in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence

from tiphys.store.cache import Entry, ResourceCache, Selectable, packed_alike
from tiphys.store.corruption import Corrupt, corrupt
from tiphys.store.engine import Change, Engine, StoreError, StoreTimeout, Write

log = logging.getLogger(__name__)

COMPACT_EVERY = 60.0  # seconds
DEADLINE = 30.0  # seconds that the engine has for a write
_PACKED = 100  # objects that are compressed in one step, of about 5 ms
KEEP = 5  # rounds of history that stay: five minutes, as upstream keeps


class Store:
    """`fields` gives, for a storage prefix, what field selectors of that resource may name."""

    def __init__(
        self, engine: Engine, fields: Callable[[str], tuple[Selectable, ...]] = lambda prefix: ()
    ) -> None:
        self._engine = engine
        self._fields = fields
        self._caches: dict[str, ResourceCache] = {}
        self._floor = 0
        self._known = 0  # from here on every change has come by
        self._compactor: asyncio.Task[None] | None = None
        self._asked: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.revision = 0
        self.commits = 0

    async def open(self) -> None:
        snapshot = await self._engine.open(self._apply)
        self._floor = self._known = snapshot.compacted
        early, self._opening = self._opening, None
        self._apply(snapshot.changes)
        self.revision = max(self.revision, snapshot.revision)
        self._apply([change for change in early or () if change.revision > snapshot.revision])
        self._checks = self._engine.shared  # what this server itself writes are objects
        self._compactor = asyncio.get_running_loop().create_task(
            self._compact_forever(), name="compactor"
        )

    _opening: list[Change] | None = []
    _checks = True

    def _spoil(self, found: Corrupt) -> None:
        log.error("%r at revision %d is no object: %s", found.key, found.revision, found.fault)
        parts = found.key.split("/", 3)
        if len(parts) == 4:  # else it is no key of any resource
            self.cache(f"/{parts[1]}/{parts[2]}/").spoil(found)

    async def close(self) -> None:
        for task in (self._compactor, self._asked):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, StoreError):
                    await task
        await self._engine.close()

    def _apply(self, changes: Sequence[Change]) -> None:
        if self._opening is not None:
            self._opening = [*self._opening, *changes]
            return
        for change in changes:
            if self._checks and (found := corrupt(change)) is not None:
                self._spoil(found)
            else:
                key = change.key
                self.cache(key[: key.index("/", key.index("/", 1) + 1) + 1]).apply(change)
            self.revision = max(self.revision, change.revision)
        for waiter in [waiter for wanted, waiter in self._waiting if wanted <= self.revision]:
            if not waiter.done():
                waiter.set_result(None)

    def cache(self, prefix: str) -> ResourceCache:
        """The cache of one resource; `prefix` is ``/group/plural/``."""
        found = self._caches.get(prefix)
        if found is None:
            found = self._caches[prefix] = ResourceCache(prefix, self._fields(prefix), self._known)
        return found

    def counts(self) -> dict[str, int]:
        """Number of objects under each prefix."""
        return {prefix: len(cache) for prefix, cache in self._caches.items()}

    async def put(
        self, cache: ResourceCache, key: str, value: bytes, expected: int | None, seconds: int = 0
    ) -> Entry:
        """Writes and returns the entry as it then stands; it may end after `seconds`. Raises Conflict or StoreError."""
        revision = await self._committed(Write(key, value, expected, seconds))
        self.commits += 1
        entry = cache.get(key)
        if (
            entry is None or entry.revision != revision
        ):  # somebody else wrote again before we were woken
            from tiphys.store.cache import with_revision

            return Entry(key, revision, with_revision(value, revision), ())
        return entry

    async def delete(self, key: str, expected: int | None) -> int:
        """Deletes and returns the revision of the deletion. Raises Conflict or StoreError."""
        self.commits += 1
        return await self._committed(Write(key, None, expected))

    async def _committed(self, write: Write) -> int:
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._engine.commit(write)
        except TimeoutError:
            raise StoreTimeout(f"the store did not answer in {DEADLINE:g} s") from None

    async def answers(self, seconds: float) -> bool:
        """Whether the engine answers within so many seconds. Those who ask at a time share one question."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_task(self._engine.ping(), name="ping")
        asked = self._asked
        await asyncio.wait((asked,), timeout=seconds)
        return asked.done() and not asked.cancelled() and asked.exception() is None

    async def fresh(self) -> int:
        """Waits until the cache shows every write acknowledged anywhere before the call; returns its revision."""
        if self._engine.shared:
            self.revision = max(self.revision, await self._engine.barrier())
        return self.revision

    async def reached(self, revision: int, seconds: float) -> bool:
        """Waits until the cache is as new as `revision`; whether it is after so many seconds."""
        if self.revision < revision:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            row = (revision, waiter)
            self._waiting.append(row)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter, seconds)
            self._waiting.remove(row)
        return self.revision >= revision

    async def _compact_forever(self) -> None:
        rounds: deque[int] = deque([self.revision])
        while True:
            await asyncio.sleep(COMPACT_EVERY)
            rounds.append(self.revision)
            if len(rounds) > KEEP:
                await self.compact(rounds.popleft())

    async def compress_history(self) -> None:
        """Compresses the objects of past events: ten thousand deleted pods take 30 MiB else.

        A thread does it, in steps; the loop only puts the result in place.
        """
        for cache in list(self._caches.values()):
            while entries := cache.packable(_PACKED):
                values = [entry.data for entry in entries]
                compressed = await asyncio.to_thread(packed_alike, values)
                for entry, packed in zip(entries, compressed, strict=True):
                    entry.pack(packed)

    async def compact(self, revision: int) -> None:
        """Forgets history up to and including `revision`, on disk and in memory."""
        if revision <= self._floor:
            return
        self._floor = revision
        for cache in self._caches.values():
            cache.forget(revision)
        try:
            await self._engine.compact(revision)
        except StoreError as error:
            log.warning("compaction to revision %d failed: %s", revision, error)
