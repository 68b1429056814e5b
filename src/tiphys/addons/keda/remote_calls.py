"""gRPC of triggers: messages are structs, channels go where they may."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from tiphys.addons.keda.asking import load_certificates
from tiphys.addons.keda.dialing import host_port, needed, place_of
from tiphys.addons.keda.scaler import Config, ScalerError
from tiphys.api.base import Struct
from tiphys.machinery.addresses import authority
from tiphys.machinery.protobuf.decoding import decode
from tiphys.machinery.protobuf.encoding import encode

T = TypeVar("T", bound=Struct)
_LONGEST = 4 << 20  # bytes of a message


class Channel:
    """To one server. `tls` is (authority, certificate, key) in PEM, None for none."""

    def __init__(self, config: Config, channel: Any, grpc: Any) -> None:
        self._config = config
        self._channel = channel
        self._grpc = grpc

    @classmethod
    async def open(
        cls,
        config: Config,
        address: str,
        tls: tuple[str, str, str] | None = None,
        server_name: str = "",
    ) -> Channel:
        """Raises ScalerError."""
        grpc = needed("grpc", config.type)
        host, port = host_port(address.removeprefix("dns:///"), 443 if tls is not None else 80)
        place = await place_of(config, host, port)
        options = [
            ("grpc.default_authority", server_name or authority(host, port)),
            ("grpc.max_receive_message_length", _LONGEST),
            ("grpc.enable_http_proxy", 0),
        ]
        where = authority(place.host, place.port)
        if tls is None:
            return cls(config, grpc.aio.insecure_channel(where, options), grpc)
        options.append(("grpc.ssl_target_name_override", server_name or host))
        credentials = _credentials(grpc, *tls)
        return cls(config, grpc.aio.secure_channel(where, credentials, options), grpc)

    async def call(
        self, method: str, request: Struct, kind: type[T], metadata: dict[str, str] | None = None
    ) -> T:
        """One answer. Raises ScalerError."""
        unary = self._channel.unary_unary(
            method, request_serializer=encode, response_deserializer=lambda data: data
        )
        try:
            answer = await unary(
                request,
                timeout=self._config.surroundings.timeout,
                metadata=list((metadata or {}).items()),
            )
            return decode(answer, kind)
        except self._grpc.RpcError as error:
            raise _failed(error) from None

    async def stream(self, method: str, request: Struct, kind: type[T]) -> AsyncIterator[T]:
        """All answers. Raises ScalerError."""
        streaming = self._channel.unary_stream(
            method, request_serializer=encode, response_deserializer=lambda data: data
        )
        try:
            async for answer in streaming(request):
                yield decode(answer, kind)
        except self._grpc.RpcError as error:
            raise _failed(error) from None

    async def close(self) -> None:
        await self._channel.close()


def _credentials(grpc: Any, root: str, certificate: str, key: str) -> Any:
    """Raises ScalerError. They are validated before gRPC sees them: it ends the whole process over
    half a pair, and ignores what is no certificate."""
    load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), root, certificate, key)
    pair = (key.encode(), certificate.encode()) if certificate and key else (None, None)
    return grpc.ssl_channel_credentials(root.encode() or None, *pair)


class CallError(ScalerError):
    """`status` is gRPC's word."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def _failed(error: Any) -> CallError:
    code = "".join(word.title() for word in error.code().name.split("_"))
    return CallError(code, f"rpc error: code = {code} desc = {error.details()}")
