"""The store the API server uses: an engine for writing, a cache for reading, compaction in the
background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from tiphys.client.tasks import TaskGroup
from tiphys.store.cache import Contents, ResourceCache
from tiphys.store.corruption import Corrupt, corrupt_of, is_resource_key, prefix_of
from tiphys.store.deadlines import Deadlines
from tiphys.store.engine import Change, Engine, StoreError, StoreTimeout, TooLarge, Write
from tiphys.store.entries import Entry, Selectable, with_revision
from tiphys.store.metrics import StoreMetrics
from tiphys.store.packing import pack, packed_alike

# Whether the value of a key is to be written again, though a write changes nothing about it.
IsStale = Callable[[str], bool]

log = logging.getLogger(__name__)

COMPACT_EVERY = 60.0  # seconds
KEEP = 5  # rounds of history that stay: five minutes, upstream's --etcd-compaction-interval
DEADLINE = 30.0  # seconds that the engine has for a write
MOST_BYTES = 3 << 20
"""Of an object, whatever the engine: what is longer no client could send back. etcd takes less."""
_PACKED_AT_ONCE = 100  # objects that are compressed in one step, of about 5 ms


class Retention:
    """Which history a round of compaction forgets: what is older than `KEEP` rounds."""

    def __init__(self, revision: int) -> None:
        self._revisions: deque[int] = deque([revision])  # as each round found it

    def next_round(self, revision: int) -> int | None:
        """Starts a round at the store's `revision`; returns the revision to compact to, None for
        none yet."""
        self._revisions.append(revision)
        return self._revisions.popleft() if len(self._revisions) > KEEP else None


def never_stale(key: str) -> bool:
    return False


class Store:
    """Every resource of one engine.

    fields:  gives, for the prefix of a resource, what its field selectors may name
    metrics: where writes are counted
    stale:   whether the value of a key is to be written again although nothing changes in it: it is
             encrypted with an old key, say
    """

    def __init__(
        self,
        engine: Engine,
        fields: Callable[[str], tuple[Selectable, ...]] = lambda prefix: (),
        metrics: StoreMetrics | None = None,
        stale: IsStale = never_stale,
    ) -> None:
        self._engine = engine
        self._metrics = metrics or StoreMetrics(CollectorRegistry())
        self._deadlines = Deadlines(DEADLINE)
        self._fields = fields
        self.is_stale = stale
        self._caches: dict[str, ResourceCache] = {}
        self._tasks = TaskGroup("store")
        self._early: list[Change] | None = []  # came before the snapshot; None once it is open
        self._checks_changes = True
        self.history_begins = 0
        """Every change after this revision has come by."""
        self._floors: dict[str, int] = {}  # where it starts otherwise
        self._compacted = 0
        self._ping: asyncio.Task[bool] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.revision = 0  # of the newest change that the caches show
        self.commits = 0  # writes so far

    async def open(self) -> None:
        """Opens the engine and fills the caches. Raises StoreError."""
        snapshot = await self._engine.open(self._on_changes)
        early = self._early or []
        self._early = None
        self._compacted = snapshot.compacted
        self.history_begins = snapshot.compacted
        self._floors = snapshot.floors
        self._on_changes(snapshot.changes)
        self.revision = max(self.revision, snapshot.revision)
        for row in snapshot.corrupt:
            self._on_corrupt(Corrupt(*row))
        self._on_changes([change for change in early if change.revision > snapshot.revision])
        # From now on only others can bring values that are not objects. A check costs 5 µs for 3
        # kB.
        self._checks_changes = self._engine.shared
        self._tasks.start(self._compact_forever(), "compactor")

    async def close(self) -> None:
        await self._tasks.stop()
        await self._engine.close()

    # --- changes ---

    def _on_changes(self, changes: Sequence[Change]) -> None:
        if self._early is not None:
            self._early.extend(changes)
            return
        for change in changes:
            corrupt = corrupt_of(change) if self._checks_changes else None
            if corrupt is None:
                self.cache(prefix_of(change.key)).apply(change)
            else:
                self._on_corrupt(corrupt)
            self.revision = max(self.revision, change.revision)
        for revision, waiter in self._waiters:
            if revision <= self.revision and not waiter.done():
                waiter.set_result(None)

    def _on_corrupt(self, corrupt: Corrupt) -> None:
        log.error(
            "The value of key %r at revision %d is not an object: %s",
            corrupt.key,
            corrupt.revision,
            corrupt.fault,
        )
        if is_resource_key(corrupt.key):
            self.cache(prefix_of(corrupt.key)).set_corrupt(corrupt)

    # --- reading ---

    @property
    def is_shared(self) -> bool:
        """Whether other servers write to the same store."""
        return self._engine.shared

    def cache(self, prefix: str) -> ResourceCache:
        """The cache of one resource; `prefix` is ``/group/plural/``."""
        cache = self._caches.get(prefix)
        if cache is None:
            floor = self._floors.get(prefix, self.history_begins)
            cache = ResourceCache(prefix, self._fields(prefix), floor)
            self._caches[prefix] = cache
        return cache

    def contents(self) -> list[Contents]:
        """What the caches hold at `revision`."""
        return [cache.contents() for cache in self._caches.values()]

    def counts(self) -> dict[str, int]:
        """Number of objects under each prefix. May be called on any thread."""
        return {prefix: len(cache) for prefix, cache in dict(self._caches).items()}

    def lags(self) -> bool:
        """Whether the caches are known not to show every write that was acknowledged."""
        return self._engine.lags()

    @property
    def must_ask(self) -> bool:
        """Whether `fresh` has something to wait for."""
        return self._engine.shared or self._engine.lags()

    async def fresh(self) -> int:
        """Waits until the caches show every write acknowledged anywhere before the call; returns
        their revision.

        Raises StoreError if the engine does not report its revision.
        """
        if self.must_ask:
            self.revision = max(self.revision, await self._engine.barrier())
        return self.revision

    async def reached(self, revision: int, seconds: float) -> bool:
        """Waits up to `seconds` until the caches are as new as `revision`; returns whether they
        are."""
        if self.revision >= revision:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        try:
            await asyncio.wait_for(waiter, seconds)
        except TimeoutError:
            pass
        finally:
            self._waiters.remove((revision, waiter))
        return self.revision >= revision

    async def answers(self, seconds: float) -> bool:
        """Whether the engine answers within `seconds`. Concurrent callers share one question."""
        if self._ping is None or self._ping.done():
            self._ping = self._tasks.start(self._engine_answers(), "ping")
        ping = self._ping
        await asyncio.wait((ping,), timeout=seconds)
        return ping.done() and not ping.cancelled() and ping.result()

    async def _engine_answers(self) -> bool:
        try:
            await self._engine.ping()
        except StoreError:
            return False
        return True

    # --- writing ---

    async def put(
        self, cache: ResourceCache, key: str, value: bytes, expected: int | None, seconds: int = 0
    ) -> Entry:
        """Writes an object and returns it as it then is.

        expected: see `engine.Write`
        seconds:  how long it may live, 0 for ever

        Raises Conflict, StoreError, TooLarge, or StoreTimeout after `DEADLINE` seconds; the write
        may still happen then.
        """
        if len(value) > MOST_BYTES:
            raise TooLarge
        operation = "create" if expected == 0 else "update"
        write = Write(key, value, expected, seconds)
        revision = await self._commit(write, operation, cache.prefix)
        self.commits += 1
        entry = cache.get(key)
        if entry is not None and entry.revision == revision:
            return entry
        # It was written or deleted again before this task resumed.
        return Entry(key, revision, with_revision(value, revision), ())

    async def delete(self, key: str, expected: int | None) -> int:
        """Deletes an object and returns the revision of the deletion. Raises as `put` does."""
        self.commits += 1
        prefix = prefix_of(key) if is_resource_key(key) else ""
        return await self._commit(Write(key, None, expected), "delete", prefix)

    async def _commit(self, write: Write, operation: str, prefix: str) -> int:
        began = time.perf_counter()
        try:
            with self._deadlines.begin():
                return await self._engine.commit(write)
        except TimeoutError:
            self._metrics.failed(operation, prefix)
            raise StoreTimeout(f"the store did not answer in {DEADLINE:g} s") from None
        except StoreError:
            self._metrics.failed(operation, prefix)
            raise
        finally:
            self._metrics.written(operation, prefix, time.perf_counter() - began)

    # --- compaction ---

    async def _compact_forever(self) -> None:
        retention = Retention(self.revision)
        while True:
            await asyncio.sleep(COMPACT_EVERY)
            revision = retention.next_round(self.revision)
            if revision is not None:
                await self.compact(revision)

    async def compress_history(self) -> None:
        """Compresses the objects of past events.

        A thread does it, in steps; the loop only puts the result in place.
        """
        for cache in list(self._caches.values()):
            while entries := cache.packable(_PACKED_AT_ONCE):
                values = [entry.data for entry in entries]
                compressed = await asyncio.to_thread(packed_alike, values)
                for entry, packed in zip(entries, compressed, strict=True):
                    pack(entry, packed)

    def forget(self, revision: int) -> None:
        """Forgets history up to and including `revision` in memory."""
        self._compacted = revision
        for cache in self._caches.values():
            cache.forget(revision)

    async def compact(self, revision: int) -> None:
        """Forgets history up to and including `revision`, on disk and in memory.

        An engine that fails to is asked again with the next compaction.
        """
        if revision <= self._compacted:
            return
        self.forget(revision)
        try:
            await self._engine.compact(revision)
        except StoreError as error:
            log.warning("The store was not compacted to revision %d: %s", revision, error)
