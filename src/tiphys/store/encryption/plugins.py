"""A KMS plugin: a process beside the server, at a Unix socket, that has the key of keys, or reaches
who has. It is asked over gRPC."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.store.encryption import kmspb as pb
from tiphys.store.encryption.envelope import PluginError

_SERVICE = "/v2.KeyManagementService"
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]


class Plugin:
    """`endpoint` is a URL as ``unix:///run/kms.sock`` (or ``unix:///@name`` for a name that is no
    file), `timeout` in seconds for each question. `answered` is called for each question: its
    method, the name of the answer's code, and the seconds that it took."""

    def __init__(
        self, endpoint: str, timeout: float, answered: Callable[[str, str, float], None]
    ) -> None:
        path = endpoint.removeprefix("unix://")
        abstract = path.removeprefix("/@")
        self._target = f"unix-abstract:{abstract}" if abstract != path else f"unix:{path}"
        self._timeout = timeout
        self._answered = answered
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def status(self) -> pb.StatusResponse:
        answer: pb.StatusResponse = await self._ask("Status", pb.StatusRequest(), pb.StatusResponse)
        return answer

    async def encrypt(self, plain: bytes) -> pb.EncryptResponse:
        request = pb.EncryptRequest(plaintext=plain, uid=str(uuid.uuid4()))
        answer: pb.EncryptResponse = await self._ask("Encrypt", request, pb.EncryptResponse)
        return answer

    async def decrypt(self, source: pb.EncryptedObject) -> bytes:
        request = pb.DecryptRequest(
            ciphertext=source.source,
            uid=str(uuid.uuid4()),
            key_id=source.key_id,
            annotations=source.annotations,
        )
        answer: pb.DecryptResponse = await self._ask("Decrypt", request, pb.DecryptResponse)
        return answer.plaintext

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _ask(self, method: str, request: Struct, answer: type[Struct]) -> Any:
        """Raises PluginError."""
        path = f"{_SERVICE}/{method}"
        call = self._connected().unary_unary(
            path,
            request_serializer=protobuf.encode,
            response_deserializer=functools.partial(protobuf.decode, kind=answer),
        )
        began = time.monotonic()
        code = "OK"
        try:
            return await call(request, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise PluginError(f"rpc error: code = {code} desc = {error.details()}") from None
        finally:
            self._answered(path, _as_go(code), time.monotonic() - began)

    def _connected(self) -> grpc.aio.Channel:
        """A channel belongs to the loop that it was made on."""
        loop = asyncio.get_running_loop()
        if self._channel is None or self._loop is not loop:
            # A plugin that was not there is tried again at once, not after gRPC's long pauses.
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            self._loop = loop
        return self._channel


def _as_go(code: str) -> str:
    """The name of a code as Go has it: DeadlineExceeded."""
    return code if code == "OK" else "".join(word.capitalize() for word in code.split("_"))
