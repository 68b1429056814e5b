"""gRPC to one plugin, over the unix socket that it listens on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TypeVar

import grpc
import grpc.aio
import msgspec

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.node.volumes.kubeletfolder import KubeletFolder

T = TypeVar("T", bound=Struct)

_LONG = 64 << 10  # bytes of an answer that are decoded on a thread

_OPTIONS = [
    ("grpc.default_authority", "localhost"),  # some servers refuse one that is a path
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 4 << 20),  # as gRPC's own limit, which upstream keeps
    ("grpc.use_local_subchannel_pool", 1),  # two handles of one number are two sockets
]


# After these a plugin may still be at work on what it was asked (CSI's specification, and gRPC's on
# status codes). With any other it has not started, or has failed for good.
_UNDECIDED = {"Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted"}


class PluginError(Exception):
    """A plugin cannot be reached or refused a call, in the words of gRPC for Go.

    status: gRPC's, such as NotFound; "" if the plugin was not asked
    """

    def __init__(self, text: str, status: str = "") -> None:
        super().__init__(text)
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether it is certain that nothing goes on in the plugin because of the call."""
        return bool(self.status) and self.status not in _UNDECIDED


class PluginChannel:
    """`path` is the socket as the plugin calls it: below /var/lib/kubelet. Raises PluginError if
    it is not there."""

    def __init__(self, folder: KubeletFolder, path: str) -> None:
        try:
            self._handle = folder.open_socket(path)
        except OSError as error:
            raise PluginError(f"{error.strerror}: {path}") from None
        target = f"unix:///proc/self/fd/{self._handle}"
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)

    async def call(self, method: str, request: Struct, response: type[T], timeout: float) -> T:
        """Calls a method such as ``v1beta1.DevicePlugin/Allocate``. Raises PluginError, also after
        `timeout` seconds."""
        call = self._channel.unary_unary(
            f"/{method}", request_serializer=protobuf.encode, response_deserializer=bytes
        )
        try:
            answer = await call(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from None
        return await _decoded(answer, response)

    async def stream(self, method: str, request: Struct, response: type[T]) -> AsyncIterator[T]:
        """What a method sends until it ends. Raises PluginError."""
        call = self._channel.unary_stream(
            f"/{method}", request_serializer=protobuf.encode, response_deserializer=bytes
        )(request)
        try:
            async for answer in call:
                yield await _decoded(answer, response)
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Ends its calls, too. May be called again."""
        handle = self._handle
        self._handle = -1
        if handle < 0:
            return
        try:
            await self._channel.close()
        finally:
            os.close(handle)


async def _decoded(answer: bytes, response: type[T]) -> T:
    """Long ones aside: four megabytes take more than a second. Raises PluginError."""
    try:
        if len(answer) < _LONG:
            return protobuf.decode(answer, response)
        return await asyncio.to_thread(protobuf.decode, answer, response)
    except (ValueError, TypeError, msgspec.ValidationError) as error:
        text = "grpc: error unmarshalling request"
        raise PluginError(f"rpc error: code = Internal desc = {text}: {error}") from None


def _refusal(error: grpc.aio.AioRpcError) -> PluginError:
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    code = code.replace("Cancelled", "Canceled")  # as Go spells it
    return PluginError(f"rpc error: code = {code} desc = {error.details()}", code)
