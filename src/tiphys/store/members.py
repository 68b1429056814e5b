"""The members of an etcd cluster: the list, and how one joins and leaves.

A new one is a learner first: it is sent everything and has no vote, so that the others go on as
before however long that takes.
"""

from __future__ import annotations

import functools
import time
from types import TracebackType
from typing import Any, Self

import grpc

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.store import etcdpb as pb
from tiphys.store.engine import StoreError

_SECONDS = 10.0  # for a request
_AGAIN = 0.3  # seconds until a learner that has not everything yet is to be promoted again
# In etcd's refusals to promote a learner that has not everything, to have a second one, and to
# change anything within five seconds of a member's coming.
_FOR_NOW = ("learner", "unhealthy cluster")


class Members:
    """Asked of one of them. A context manager; calls block, and raise StoreError.

    endpoint: host:port of its clients' side
    tls:      (CA, certificate, key) as PEM, None for plain text
    """

    def __init__(self, endpoint: str, tls: tuple[bytes, bytes, bytes] | None) -> None:
        self._endpoint = endpoint
        if tls is None:
            self._channel = grpc.insecure_channel(endpoint)
            return
        ca, certificate, key = tls
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        self._channel = grpc.secure_channel(endpoint, credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def list(self) -> list[pb.Member]:
        response: pb.MemberListResponse = self._call(
            "MemberList", pb.MemberListRequest(), pb.MemberListResponse
        )
        return response.members

    def add(self, peer_url: str, seconds: float) -> pb.MemberAddResponse:
        """A new learner, and all there are with it. Only one may be joining at a time: another one
        is waited for up to `seconds`."""
        request = pb.MemberAddRequest(peer_urls=[peer_url], is_learner=True)
        response: pb.MemberAddResponse = self._patiently(
            "MemberAdd", request, pb.MemberAddResponse, seconds
        )
        return response

    def promote(self, id: int, seconds: float) -> None:
        """Gives a learner a vote, once it has everything."""
        request = pb.MemberPromoteRequest(id=id)
        self._patiently("MemberPromote", request, pb.MemberPromoteResponse, seconds)

    def remove(self, id: int, seconds: float = 15.0) -> None:
        request = pb.MemberRemoveRequest(id=id)
        self._patiently("MemberRemove", request, pb.MemberRemoveResponse, seconds)

    def move(self, id: int, peer_url: str) -> None:
        """Sets a member's peer address."""
        request = pb.MemberUpdateRequest(id=id, peer_urls=[peer_url])
        self._call("MemberUpdate", request, pb.MemberUpdateResponse)

    def _patiently(self, method: str, request: Struct, answer: type[Struct], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._call(method, request, answer)
            except StoreError as error:
                is_for_now = any(words in str(error) for words in _FOR_NOW)
                if not is_for_now or time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN)

    def _call(self, method: str, request: Struct, answer: type[Struct]) -> Any:
        call = self._channel.unary_unary(
            f"/etcdserverpb.Cluster/{method}",
            request_serializer=protobuf.encode,
            response_deserializer=functools.partial(protobuf.decode, kind=answer),
        )
        try:
            return call(request, timeout=_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            raise StoreError(f"etcd at {self._endpoint}: {error.details()}") from None
