"""Calls over CRI: one gRPC channel, messages coded from their declarations."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.node.runtime import RuntimeFault

T = TypeVar("T", bound=Struct)
_OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_http_proxy", 0)]


class CRIClient:
    def __init__(self, socket: str) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    async def call(
        self, method: str, request: Struct, response: type[T], timeout: float = 120.0
    ) -> T:
        """`method` is ``RuntimeService/Version``. Raises RuntimeFault with the runtime's own words."""
        made = self._calls.get(method)
        if made is None:
            made = self._calls[method] = self._channel.unary_unary(
                f"/runtime.v1.{method}",
                request_serializer=protobuf.encode,
                response_deserializer=lambda data: protobuf.decode(data, response),
            )
        try:
            return await made(request, timeout=timeout)  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(method) from None
            raise RuntimeFault(str(error.code().name), error.details() or "") from None

    async def snapshots(self, method: str, request: Struct, response: type[T]) -> list[T]:
        """`method` is ``View``: a call of containerd's own interface to the layers of CRI's images. Several answers come of
        one that streams (``List``). Raises RuntimeFault."""
        path = f"/containerd.services.snapshots.v1.Snapshots/{method}"
        open_call = self._channel.unary_stream if method == "List" else self._channel.unary_unary
        call = open_call(
            path,
            request_serializer=protobuf.encode,
            response_deserializer=lambda data: protobuf.decode(data, response),
        )(request, timeout=60.0, metadata=(("containerd-namespace", "k8s.io"),))
        try:
            if method == "List":
                return [answer async for answer in call]
            return [await call]
        except grpc.aio.AioRpcError as error:
            raise RuntimeFault(str(error.code().name), error.details() or "") from None

    def events(self) -> Any:
        """containerd's own event stream: raw envelopes; a reader only needs to know that something happened."""
        return self._channel.unary_stream(
            "/containerd.services.events.v1.Events/Subscribe",
            request_serializer=lambda data: data,
            response_deserializer=lambda data: data,
        )(b"")

    async def close(self) -> None:
        await self._channel.close()
