"""Leases of etcd: which keys share one, and what is said when etcd gives none."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from tiphys.store import etcdpb as pb
from tiphys.store.engine import StoreError
from tiphys.store.leases import Leases


class Etcd:
    """Grants leases, each with the next number, unless it is `full`."""

    def __init__(self) -> None:
        self.granted: list[int] = []  # for how many seconds
        self.revoked: list[int] = []
        self.full = False

    def _refuse(self) -> None:
        if self.full:
            nothing = grpc.aio.Metadata()
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            raise grpc.aio.AioRpcError(code, nothing, nothing, "too many leases")

    async def grant(self, request: pb.LeaseGrantRequest, timeout: float) -> Any:
        self._refuse()
        self.granted.append(request.ttl)
        return pb.LeaseGrantResponse(id=len(self.granted))

    async def revoke(self, request: pb.LeaseRevokeRequest, timeout: float) -> Any:
        self._refuse()
        self.revoked.append(request.id)
        return pb.LeaseRevokeResponse()


async def test_keys_of_a_tenth_of_their_lifetime_share_a_lease() -> None:
    etcd = Etcd()
    times = iter((100.0, 105.0, 109.9, 110.0))  # a lease of 100 seconds is given for ten
    leases = Leases(etcd.grant, etcd.revoke, lambda: next(times))
    given = [await leases.of(100) for _ in range(4)]
    assert given == [1, 1, 1, 2]
    assert etcd.granted == [110, 110], "the last key lives as long as it may, too"


async def test_each_lifetime_has_a_lease_of_its_own() -> None:
    etcd = Etcd()
    leases = Leases(etcd.grant, etcd.revoke)
    assert [await leases.of(seconds) for seconds in (3600, 60, 3600)] == [1, 2, 1]
    assert etcd.granted == [3960, 66]


async def test_a_lease_that_etcd_does_not_grant_is_an_error_and_is_asked_for_again() -> None:
    etcd = Etcd()
    leases = Leases(etcd.grant, etcd.revoke)
    etcd.full = True
    with pytest.raises(StoreError, match="etcd grants no lease: too many leases"):
        await leases.of(60)
    with pytest.raises(StoreError, match="etcd revokes no lease: too many leases"):
        await leases.end(1)
    etcd.full = False
    assert await leases.of(60) == 1
    await leases.end(1)
    assert etcd.revoked == [1]
