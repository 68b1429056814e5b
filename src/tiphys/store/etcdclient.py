"""An etcd cluster's calls over gRPC, with the messages of `etcdpb`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.store import etcdpb as pb
from tiphys.store.engine import TOO_LARGE, StoreError, StoreTimeout, TooLarge

Call = Callable[..., Awaitable[Any]]  # (request, timeout=...) → response; raises AioRpcError
TLS = tuple[bytes, bytes, bytes]  # (CA, certificate, key) as PEM

_OPTIONS = [
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 10000),
    ("grpc.keepalive_timeout_ms", 5000),
]


class EtcdClient:
    """To be made where an event loop runs. All calls raise AioRpcError.

    target: gRPC's name for the cluster (`target_of`)
    tls:    None for plain text
    """

    def __init__(self, target: str, tls: TLS | None) -> None:
        if tls:
            ca, certificate, key = tls
            credentials = grpc.ssl_channel_credentials(ca, key, certificate)
            self._channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self.range = self._unary("KV/Range", pb.RangeResponse)
        self.txn = self._unary("KV/Txn", pb.TxnResponse)
        self.compact = self._unary("KV/Compact", pb.CompactionResponse)
        self.grant_lease = self._unary("Lease/LeaseGrant", pb.LeaseGrantResponse)
        self.revoke_lease = self._unary("Lease/LeaseRevoke", pb.LeaseRevokeResponse)
        self.lease_time_to_live = self._unary("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveResponse)
        self.watch = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=protobuf.encode,
            response_deserializer=functools.partial(protobuf.decode, kind=pb.WatchResponse),
        )

    def _unary(self, method: str, response: type[Struct]) -> Call:
        call: Call = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=protobuf.encode,
            response_deserializer=functools.partial(protobuf.decode, kind=response),
        )
        return call

    async def close(self) -> None:
        await self._channel.close()


def target_of(endpoints: list[str]) -> str:
    """gRPC's name for a cluster of host:port. Only addresses can be several: of names, gRPC
    resolves one."""
    if all(endpoint[0].isdigit() for endpoint in endpoints):
        return "ipv4:" + ",".join(endpoints)
    return endpoints[0]


def failure(target: str, error: grpc.aio.AioRpcError) -> StoreError:
    """What a call's failure is to the store."""
    message = f"etcd at {target}: {error.details()}"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return StoreTimeout(message)
    if error.details() == TOO_LARGE:
        return TooLarge()
    return StoreError(message)
