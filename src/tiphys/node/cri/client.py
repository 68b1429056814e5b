"""Calls over CRI: one gRPC channel, messages encoded by their declarations."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.runtime import RuntimeFault

T = TypeVar("T", bound=Struct)
_SNAPSHOT_TIMEOUT = 60.0  # seconds
_CRI_NAMESPACE = (("containerd-namespace", "k8s.io"),)  # where containerd keeps what CRI created
_OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_http_proxy", 0)]


class CRIClient:
    """`socket` is the path of containerd's; calls are counted in `metrics`."""

    def __init__(self, socket: str, metrics: KubeletMetrics) -> None:
        self._metrics = metrics
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    async def call(
        self, method: str, request: Struct, response: type[T], timeout: float = 120.0
    ) -> T:
        """Calls a method such as ``RuntimeService/Version``. Raises TimeoutError after `timeout`
        seconds, and RuntimeFault with the code and the message of the runtime."""
        call = self._calls.get(method)
        if call is None:
            call = self._channel.unary_unary(
                f"/runtime.v1.{method}",
                request_serializer=protobuf.encode,
                response_deserializer=lambda data: protobuf.decode(data, response),
            )
            self._calls[method] = call
        began = time.monotonic()
        try:
            return await call(request, timeout=timeout)  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError as error:
            self._metrics.failed(method)
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(method) from None
            raise _fault(error) from None
        finally:
            self._metrics.called(method, time.monotonic() - began)

    async def snapshots(self, method: str, request: Struct, response: type[T]) -> list[T]:
        """Calls a method such as ``View`` of containerd's own interface to the layers of CRI's
        images. ``List`` streams several answers, others give one. Raises RuntimeFault."""
        is_stream = method == "List"
        open_call = self._channel.unary_stream if is_stream else self._channel.unary_unary
        call = open_call(
            f"/containerd.services.snapshots.v1.Snapshots/{method}",
            request_serializer=protobuf.encode,
            response_deserializer=lambda data: protobuf.decode(data, response),
        )(request, timeout=_SNAPSHOT_TIMEOUT, metadata=_CRI_NAMESPACE)
        try:
            if is_stream:
                return [answer async for answer in call]
            return [await call]
        except grpc.aio.AioRpcError as error:
            raise _fault(error) from None

    def events(self) -> Any:
        """containerd's own event stream. The envelopes are raw: a reader needs to know only that
        something happened."""
        return self._channel.unary_stream(
            "/containerd.services.events.v1.Events/Subscribe",
            request_serializer=bytes,
            response_deserializer=bytes,
        )(b"")

    async def close(self) -> None:
        await self._channel.close()


def _fault(error: grpc.aio.AioRpcError) -> RuntimeFault:
    return RuntimeFault(str(error.code().name), error.details() or "")
