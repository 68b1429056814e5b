"""Leases of etcd, by which events are forgotten after a while."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import grpc
import grpc.aio

from tiphys.store import etcdpb as pb
from tiphys.store.engine import StoreError
from tiphys.store.etcdclient import Call

_PING_TIMEOUT = 10  # seconds; for questions that cost etcd next to nothing, too


class _Lease(NamedTuple):
    """A lease, and until when (loop time) it is given to new keys."""

    id: int
    given_until: float


class Leases:
    """Leases for keys that etcd deletes by itself.

    Keys written within a tenth of their lifetime share one, as upstream's lease manager has it: a
    lease for each key would cost etcd more than the keys.
    """

    def __init__(self, grant: Call, revoke: Call) -> None:
        self._grant = grant
        self._revoke = revoke
        self._current: dict[int, _Lease] = {}  # by lifetime in seconds

    async def of(self, seconds: int) -> int:
        """The lease for a key that is written now and may live for `seconds`. Raises StoreError."""
        now = asyncio.get_running_loop().time()
        lease = self._current.get(seconds)
        if lease is not None and now < lease.given_until:
            return lease.id
        shared_for = seconds / 10
        request = pb.LeaseGrantRequest(ttl=int(seconds + shared_for))
        try:
            granted = await self._grant(request, timeout=_PING_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd grants no lease: {error.details()}") from None
        self._current[seconds] = _Lease(int(granted.id), now + shared_for)
        return int(granted.id)

    async def end(self, lease: int) -> None:
        """Ends a lease and deletes every key that was written under it. Raises StoreError."""
        try:
            await self._revoke(pb.LeaseRevokeRequest(id=lease), timeout=_PING_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd revokes no lease: {error.details()}") from None
