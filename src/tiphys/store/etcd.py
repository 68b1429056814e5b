"""The engine for many machines: an etcd cluster over gRPC. Several API servers may share one.

Changes come from one watch over the whole prefix, so this server sees other servers' writes in etcd's order. A
commit returns once the watch has delivered its own change, so that whoever wrote can read what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from tiphys.machinery import protobuf
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

_PAGE = 2000
_MOD = 2
_RESUMED = 20_000  # changes from before this server's start that clients may resume from: more would slow the start
_OPTIONS = [
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 10000),
    ("grpc.keepalive_timeout_ms", 5000),
]


class Leases:
    """Leases for keys that end by themselves. Keys written within a tenth of their lifetime share one, as upstream's do:
    a lease for each key would cost etcd more than the keys."""

    def __init__(self, grant: Any, revoke: Any) -> None:
        self._grant = grant
        self._revoke = revoke
        self._current: dict[
            int, tuple[int, float]
        ] = {}  # seconds to live → (lease, until when it is given to new keys)

    async def of(self, seconds: int) -> int:
        """The lease for a key that is written now and may live so long. Raises StoreError."""
        now = asyncio.get_running_loop().time()
        known = self._current.get(seconds)
        if known is not None and now < known[1]:
            return known[0]
        share = seconds / 10
        try:
            made = await self._grant(pb.LeaseGrantRequest(ttl=int(seconds + share)), timeout=10)
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd grants no lease: {error.details()}") from None
        self._current[seconds] = (made.id, now + share)
        return int(made.id)

    async def end(self, lease: int) -> None:
        """Ends a lease and every key that was written under it. Raises StoreError."""
        try:
            await self._revoke(pb.LeaseRevokeRequest(id=lease), timeout=10)
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd revokes no lease: {error.details()}") from None


class EtcdEngine:
    """`endpoints` are host:port pairs; `tls` is (CA, certificate, key) as PEM or None for plain text."""

    shared = True

    def __init__(
        self,
        endpoints: list[str],
        prefix: str = "/tiphys",
        tls: tuple[bytes, bytes, bytes] | None = None,
    ) -> None:
        self._target = (
            "ipv4:" + ",".join(endpoints)
            if all(e[0].isdigit() for e in endpoints)
            else endpoints[0]
        )
        self._prefix = prefix.encode()
        self._tls = tls
        self._applied = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._watching: asyncio.Task[None] | None = None
        self._live: dict[str, int] = {}
        self._nudge = asyncio.Event()

    async def open(self, listener: Listener) -> Snapshot:
        self._listener = listener
        if self._tls:
            ca, cert, key = self._tls
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            self._channel = grpc.aio.secure_channel(self._target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._range = self._unary("KV/Range", pb.RangeResponse)
        self._txn = self._unary("KV/Txn", pb.TxnResponse)
        self._compact = self._unary("KV/Compact", pb.CompactionResponse)
        self._leases = Leases(
            self._unary("Lease/LeaseGrant", pb.LeaseGrantResponse),
            self._unary("Lease/LeaseRevoke", pb.LeaseRevokeResponse),
        )
        self._watch = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=protobuf.encode,
            response_deserializer=lambda data: protobuf.decode(data, pb.WatchResponse),
        )
        try:
            changes, revision, newest = await self._load_past()
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        self._applied = revision
        self._live = {change.key: change.revision for change in changes}
        self._watching = asyncio.get_running_loop().create_task(self._follow(), name="etcd-watch")
        # What happened since comes to the listener as it happened, so that clients resume over a restart of this server.
        try:
            await self._reached(newest)
        except StoreError:
            self._watching.cancel()
            raise
        return Snapshot(revision, revision, changes)

    async def _load_past(self) -> tuple[list[Change], int, int]:
        """(what stood at the beginning of etcd's history, that revision, the newest revision)."""
        newest = await self._newest()
        oldest = await self._oldest(newest)
        try:
            changes, revision = await self._load(oldest)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.OUT_OF_RANGE:
                raise
            changes, revision = await self._load()  # another server has compacted meanwhile
        return changes, revision, newest

    async def _newest(self) -> int:
        request = pb.RangeRequest(key=self._prefix, count_only=True)
        return int((await self._range(request, timeout=30, wait_for_ready=True)).header.revision)

    async def _oldest(self, newest: int) -> int:
        """The first revision that can still be read, but none so old that starting would take long. etcd does not tell
        it: it is searched for, in some fifteen requests of a millisecond."""
        low, high = max(newest - _RESUMED, 1), newest
        while low < high:
            middle = (low + high) // 2
            if await self._is_kept(middle):
                high = middle
            else:
                low = middle + 1
        return high

    async def _is_kept(self, revision: int) -> bool:
        try:
            await self._range(
                pb.RangeRequest(key=self._prefix, count_only=True, revision=revision), timeout=30
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                return False
            raise
        return True

    def _unary(self, method: str, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=protobuf.encode,
            response_deserializer=lambda data: protobuf.decode(data, response),
        )

    def _failure(self, error: grpc.aio.AioRpcError) -> StoreError:
        kind = StoreTimeout if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else StoreError
        return kind(f"etcd at {self._target}: {error.details()}")

    async def ping(self) -> None:
        try:
            await self._range(pb.RangeRequest(key=self._prefix + b"/health"), timeout=10)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None

    async def _load(self, revision: int = 0) -> tuple[list[Change], int]:
        """What stands, or stood at a revision, and the revision."""
        changes: list[Change] = []
        start, end = self._prefix + b"/", self._prefix + b"0"
        while True:
            page = await self._range(
                pb.RangeRequest(key=start, range_end=end, limit=_PAGE, revision=revision),
                timeout=30,
                wait_for_ready=True,
            )
            revision = revision or page.header.revision
            changes += [Change(kv.mod_revision, self._name(kv.key), kv.value, 0) for kv in page.kvs]
            if not page.more:
                return sorted(changes, key=lambda change: change.revision), revision
            start = page.kvs[-1].key + b"\x00"

    def _name(self, key: bytes) -> str:
        return key[len(self._prefix) :].decode(errors="surrogateescape")

    async def commit(self, write: Write) -> int:
        key = self._prefix + write.key.encode(errors="surrogateescape")
        if write.value is None:
            wish = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        else:
            lease = await self._leases.of(write.seconds) if write.seconds else 0
            wish = pb.RequestOp(request_put=pb.PutRequest(key=key, value=write.value, lease=lease))
        compare = []
        if write.expected is not None:
            compare = [pb.Compare(target=_MOD, key=key, mod_revision=write.expected)]
        elif write.value is None:
            compare = [pb.Compare(result=1, target=_MOD, key=key, mod_revision=0)]
        look = pb.RequestOp(request_range=pb.RangeRequest(key=key))
        try:
            done = await self._txn(
                pb.TxnRequest(compare=compare, success=[wish], failure=[look]), timeout=30
            )
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        if not done.succeeded:
            found = done.responses[0].response_range.kvs
            # Whoever is told of a conflict reads again: make sure it then reads what it conflicted with.
            await self._reached(done.header.revision)
            raise Conflict(write.key, found[0].mod_revision if found else 0)
        await self._reached(done.header.revision)
        return int(done.header.revision)

    async def barrier(self) -> int:
        try:
            answer = await self._range(
                pb.RangeRequest(key=self._prefix, count_only=True), timeout=10
            )
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        await self._reached(answer.header.revision)
        return int(answer.header.revision)

    async def _reached(self, revision: int) -> None:
        """Waits until the watch has delivered everything up to `revision`."""
        if self._applied >= revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        self._nudge.set()
        try:
            await asyncio.wait_for(waiter, 30)
        except TimeoutError:
            raise StoreTimeout(f"etcd at {self._target} sends no changes") from None

    async def _requests(self, start: int) -> AsyncIterator[pb.WatchRequest]:
        create = pb.WatchCreateRequest(
            key=self._prefix + b"/",
            range_end=self._prefix + b"0",
            start_revision=start,
            progress_notify=True,
            prev_kv=True,
        )
        yield pb.WatchRequest(create_request=create)
        while True:
            # A write outside our prefix moves the revision without an event: ask how far the watch is.
            await self._nudge.wait()
            self._nudge.clear()
            await asyncio.sleep(0.2)
            if self._waiters:
                yield pb.WatchRequest(progress_request=pb.WatchProgressRequest())
                self._nudge.set()

    async def _follow(self) -> None:
        delay = 0.05
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.TimeoutError):
                call = self._watch(self._requests(self._applied + 1), wait_for_ready=True)
                async for response in call:
                    delay = 0.05
                    if response.canceled:
                        await self._restart(response.compact_revision)
                        break
                    self._deliver(response)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def _restart(self, compacted: int) -> None:
        """The cluster compacted past what this server has seen: continue from what is live now."""
        changes, revision = await self._load()
        live = {change.key: change.revision for change in changes}
        gone = [
            Change(revision, key, None, at) for key, at in self._live.items() if key not in live
        ]
        fresh = [
            Change(c.revision, c.key, c.value, self._live.get(c.key, 0))
            for c in changes
            if c.revision > self._applied
        ]
        self._live = live
        self._listener(fresh + gone)
        self._advance(max(revision, compacted))

    def _deliver(self, response: pb.WatchResponse) -> None:
        changes = []
        for event in response.events:
            kv, previous = event.kv, event.prev_kv.mod_revision if event.prev_kv else 0
            value = None if event.type == 1 else kv.value
            key = self._name(kv.key)
            changes.append(Change(kv.mod_revision, key, value, previous))
            if value is None:
                self._live.pop(key, None)
            else:
                self._live[key] = kv.mod_revision
        if changes:
            self._listener(changes)
            # The header may be ahead of what this response carries; only the events say how far we are.
            self._advance(changes[-1].revision)
        elif not response.created:
            self._advance(response.header.revision)

    def _advance(self, revision: int) -> None:
        self._applied = max(self._applied, revision)
        ready = [waiter for wanted, waiter in self._waiters if wanted <= self._applied]
        self._waiters = [row for row in self._waiters if row[0] > self._applied]
        for waiter in ready:
            if not waiter.done():
                waiter.set_result(None)

    async def compact(self, revision: int) -> None:
        with contextlib.suppress(
            grpc.aio.AioRpcError
        ):  # another server may have compacted further already
            await self._compact(pb.CompactionRequest(revision=revision), timeout=30)

    async def close(self) -> None:
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._channel.close()
