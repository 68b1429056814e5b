"""The engine for many machines: an etcd cluster over gRPC. Several API servers may share one.

Changes come from one watch over the whole prefix, so this server sees other servers' writes in
etcd's order. A commit returns once the watch has delivered its own change, so that a client that
wrote reads what it wrote.

Revisions are etcd's. Where a cluster was restored or moved into an etcd that had not counted so
far, a key outside the prefix says by how much ours are ahead of them (`_offset`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import grpc
import grpc.aio

from tiphys.client.tasks import TaskGroup
from tiphys.store import etcdpb as pb
from tiphys.store.engine import (
    Change,
    Conflict,
    Listener,
    Snapshot,
    StoreError,
    StoreTimeout,
    Write,
)
from tiphys.store.etcdclient import TLS, EtcdClient, failure, target_of
from tiphys.store.etcdwrites import comparisons
from tiphys.store.leases import Leases

log = logging.getLogger(__name__)

_PAGE = 2000  # keys read at once
# changes before this server's start that watches may resume from; more would slow the start
_RESUMED = 20_000
_TIMEOUT = 30  # seconds for a request
_PING_TIMEOUT = 10  # seconds; for questions that cost etcd next to nothing, too
_FIRST_DELAY = 0.05  # seconds before a broken watch is opened again; doubled with each failure
_LONGEST_DELAY = 2.0
_MARK_DELAY = 0.2  # seconds that a caller waits before the watch is asked for its progress
_DELETE = 1  # Event.EventType.DELETE


class _Page(NamedTuple):
    """What was live at a revision."""

    changes: list[Change]
    revision: int


class EtcdEngine:
    """An `Engine` over an etcd cluster.

    endpoints: host:port of its members
    prefix:    of this project's keys in etcd
    tls:       (CA, certificate, key) as PEM, None for plain text
    """

    shared = True

    def __init__(
        self,
        endpoints: list[str],
        prefix: str = "/tiphys",
        tls: TLS | None = None,
    ) -> None:
        self._target = target_of(endpoints)
        self._prefix = prefix.encode()
        self._first_key = self._prefix + b"/"
        self._end_key = self._prefix + b"0"  # "0" follows "/"
        self._tls = tls
        self._tasks = TaskGroup("etcd")
        # Not of objects: "." precedes "/". The mark is watched, too.
        self._mark_key = self._prefix + b".mark"
        self._offset_key = self._prefix + b".offset"
        self._offset = 0  # what is added to etcd's revisions; all below are etcd's own
        self._applied = 0  # the newest revision that the listener has seen
        self._live: dict[str, int] = {}  # live key → revision
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._has_waiters = asyncio.Event()

    # --- opening ---

    async def open(self, listener: Listener) -> Snapshot:
        self._connect()
        try:
            self._offset = await self._read_offset()
            self._listener = self._ahead(listener)
            newest = await self._newest()
            past = await self._load_past(newest)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        self._applied = past.revision
        self._live = {change.key: change.revision for change in past.changes}
        self._tasks.start(self._follow(), "watch")
        # What happened since comes to the listener as changes, so that clients can resume their
        # watches although this server was restarted.
        try:
            await self._reached(newest)
        except StoreError:
            await self._tasks.stop()
            raise
        revision = past.revision + self._offset
        return Snapshot(revision, revision, self._shifted(past.changes))

    async def _read_offset(self) -> int:
        request = pb.RangeRequest(key=self._offset_key)
        response = await self._etcd.range(request, timeout=_TIMEOUT, wait_for_ready=True)
        return int(response.kvs[0].value) if response.kvs else 0

    def _ahead(self, listener: Listener) -> Listener:
        """A listener of our revisions."""
        if not self._offset:
            return listener
        return lambda changes: listener(self._shifted(changes))

    def _shifted(self, changes: Sequence[Change]) -> list[Change]:
        offset = self._offset
        return [
            Change(c.revision + offset, c.key, c.value, c.previous + offset if c.previous else 0)
            for c in changes
        ]

    def _connect(self) -> None:
        self._etcd = EtcdClient(self._target, self._tls)
        self._leases = Leases(self._etcd.grant_lease, self._etcd.revoke_lease)

    async def _load_past(self, newest: int) -> _Page:
        """What was live at the start of the history that watches may resume from."""
        oldest = await self._oldest(newest)
        try:
            return await self._load(oldest)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.OUT_OF_RANGE:
                raise
        return await self._load()  # another server has compacted meanwhile

    async def _newest(self) -> int:
        request = pb.RangeRequest(key=self._prefix, count_only=True)
        response = await self._etcd.range(request, timeout=_TIMEOUT, wait_for_ready=True)
        return int(response.header.revision)

    async def _oldest(self, newest: int) -> int:
        """The oldest revision that can still be read, but at most `_RESUMED` ago.

        etcd does not report how far it was compacted, so this is searched for: some fifteen
        requests of a millisecond.
        """
        low = max(newest - _RESUMED, 1)
        high = newest
        while low < high:
            middle = (low + high) // 2
            if await self._is_kept(middle):
                high = middle
            else:
                low = middle + 1
        return high

    async def _is_kept(self, revision: int) -> bool:
        request = pb.RangeRequest(key=self._prefix, count_only=True, revision=revision)
        try:
            await self._etcd.range(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                return False
            raise
        return True

    async def _load(self, revision: int = 0) -> _Page:
        """What is live, or was at `revision`. Raises AioRpcError (OUT_OF_RANGE for a compacted
        revision)."""
        changes: list[Change] = []
        start = self._first_key
        while True:
            request = pb.RangeRequest(
                key=start, range_end=self._end_key, limit=_PAGE, revision=revision
            )
            page = await self._etcd.range(request, timeout=_TIMEOUT, wait_for_ready=True)
            revision = revision or page.header.revision
            changes += [Change(kv.mod_revision, self._name(kv.key), kv.value, 0) for kv in page.kvs]
            if not page.more:
                break
            start = page.kvs[-1].key + b"\x00"
        changes.sort(key=attrgetter("revision"))
        return _Page(changes, revision)

    def _failure(self, error: grpc.aio.AioRpcError) -> StoreError:
        return failure(self._target, error)

    # Keys that are not UTF-8 can come from elsewhere; they pass through unchanged.

    def _name(self, key: bytes) -> str:
        return key[len(self._prefix) :].decode(errors="surrogateescape")

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode(errors="surrogateescape")

    # --- asking ---

    async def ping(self) -> None:
        request = pb.RangeRequest(key=self._prefix + b"/health")
        try:
            await self._etcd.range(request, timeout=_PING_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None

    async def commit(self, write: Write) -> int:
        key = self._key(write.key)
        if write.value is None:
            operation = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        else:
            lease = await self._leases.of(write.seconds) if write.seconds else 0
            put = pb.PutRequest(key=key, value=write.value, lease=lease)
            operation = pb.RequestOp(request_put=put)
        request = pb.TxnRequest(
            compare=comparisons(write, key, self._offset),
            success=[operation],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
        )
        try:
            response = await self._etcd.txn(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        # After a conflict, too: the caller reads again, and must then read what it conflicted
        # with.
        await self._reached(response.header.revision)
        if not response.succeeded:
            current = response.responses[0].response_range.kvs
            raise Conflict(write.key, current[0].mod_revision + self._offset if current else 0)
        return int(response.header.revision) + self._offset

    def lags(self) -> bool:
        return False

    async def barrier(self) -> int:
        request = pb.RangeRequest(key=self._prefix, count_only=True)
        try:
            response = await self._etcd.range(request, timeout=_PING_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        await self._reached(response.header.revision)
        return int(response.header.revision) + self._offset

    async def compact(self, revision: int) -> None:
        # Another server may have compacted further already, which etcd answers with an error.
        with contextlib.suppress(grpc.aio.AioRpcError):
            request = pb.CompactionRequest(revision=revision - self._offset)
            await self._etcd.compact(request, timeout=_TIMEOUT)

    async def close(self) -> None:
        await self._tasks.stop()
        await self._etcd.close()

    async def _reached(self, revision: int) -> None:
        """Waits until the watch has delivered everything up to `revision`. Raises StoreTimeout."""
        if self._applied >= revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        self._has_waiters.set()
        try:
            await asyncio.wait_for(waiter, _TIMEOUT)
        except TimeoutError:
            raise StoreTimeout(f"etcd at {self._target} sends no changes") from None

    # --- following ---

    async def _follow(self) -> None:
        """Keeps a watch of all keys open for as long as the engine is."""
        delay = _FIRST_DELAY
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.TimeoutError):
                requests = self._watch_requests(self._applied + 1)
                async for response in self._etcd.watch(requests, wait_for_ready=True):
                    delay = _FIRST_DELAY
                    if response.canceled:
                        await self._reload(response.compact_revision)
                        break
                    self._deliver(response)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _watch_requests(self, start: int) -> AsyncIterator[pb.WatchRequest]:
        create = pb.WatchCreateRequest(
            key=self._mark_key,
            range_end=self._end_key,
            start_revision=start,
            progress_notify=True,
            prev_kv=True,
        )
        yield pb.WatchRequest(create_request=create)
        while True:
            await self._has_waiters.wait()
            self._has_waiters.clear()
            await asyncio.sleep(_MARK_DELAY)
            if self._waiters:
                if not await self._mark():
                    yield pb.WatchRequest(progress_request=pb.WatchProgressRequest())
                self._has_waiters.set()

    async def _mark(self) -> bool:
        """Writes what the watch will bring after all that is there. False if etcd takes no writes.

        A write outside our prefix moves the revision without an event, so a caller that waits
        for that revision would wait for ever. To ask etcd how far the watch is would be cheaper.
        But before 3.4.31 and 3.5.13 it answers with its newest revision, also while older changes
        have yet to be sent (etcd's issue 15220), and a read that trusted it would be stale.
        """
        operation = pb.RequestOp(request_put=pb.PutRequest(key=self._mark_key))
        try:
            await self._etcd.txn(pb.TxnRequest(success=[operation]), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            log.warning("etcd at %s takes no writes: %s", self._target, error.details())
            return False
        return True

    async def _reload(self, compacted: int) -> None:
        """Continues from what is live now: the cluster has compacted past what this server has
        seen."""
        page = await self._load()
        live = {change.key: change.revision for change in page.changes}
        written = [
            Change(c.revision, c.key, c.value, self._live.get(c.key, 0))
            for c in page.changes
            if c.revision > self._applied
        ]
        deleted = [
            Change(page.revision, key, None, revision)
            for key, revision in self._live.items()
            if key not in live
        ]
        self._live = live
        self._listener(written + deleted)
        self._advance(max(page.revision, compacted))

    def _deliver(self, response: pb.WatchResponse) -> None:
        events = response.events
        changes = [self._change(event) for event in events if event.kv.key >= self._first_key]
        for change in changes:
            if change.value is None:
                self._live.pop(change.key, None)
            else:
                self._live[change.key] = change.revision
        if changes:
            self._listener(changes)
        if events:
            # The header may be ahead of what this response carries: only the events show how far
            # the watch is.
            self._advance(events[-1].kv.mod_revision)
        elif not response.created:
            self._advance(response.header.revision)

    def _change(self, event: pb.Event) -> Change:
        value = None if event.type == _DELETE else event.kv.value
        previous = event.prev_kv.mod_revision if event.prev_kv else 0
        return Change(event.kv.mod_revision, self._name(event.kv.key), value, previous)

    def _advance(self, revision: int) -> None:
        self._applied = max(self._applied, revision)
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for awaited, waiter in self._waiters:
            if awaited > self._applied:
                waiting.append((awaited, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = waiting
