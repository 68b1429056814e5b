"""The socket: TLS, connections that know the client's certificate, limits of what a request may be."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from tiphys.apiserver import respond
from tiphys.apiserver.server import MAX_BODY, APIServer
from tiphys.machinery import errors

HEAD_LIMIT = 1 << 20  # bytes of a request line, or of one header: commands go in the one, tokens in the other
_MOST_HEADERS = 1000
_UNREAD = 64 << 10  # bytes


class _Request(web.BaseRequest):
    """A request whose body may be as large as upstream allows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, client_max_size=MAX_BODY, **kwargs)


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer; client certificates are asked for and verified, not demanded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Connection(web.RequestHandler):  # type: ignore[misc]
    """One client's connection. `certificate`: what it proved to be in the handshake, DER, or None. `gone` is called when
    it ends: a watch that waits for changes would not notice."""

    __slots__ = ("certificate", "gone")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.gone: Callable[[], None] | None = None
        super().connection_made(transport)
        # Whoever writes to a client that does not read waits from here on: a thousand of them take 64 MiB.
        transport.set_write_buffer_limits(high=_UNREAD)  # type: ignore[attr-defined]
        tls = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(True) if tls else None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.gone is not None:
            self.gone()

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A method that no parser knows is one that no path has."""
        if isinstance(exc, BadHttpMethod) and " HTTP/1" in str(exc):  # else it is no request line at all
            response = respond.failure(errors.method_refused())
            response.force_close()
            return response
        return super().handle_error(request, status, exc, message)


class _Front(web.Server):  # type: ignore[misc]
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


def _worth_telling(record: logging.LogRecord) -> bool:
    """What is no HTTP at all has had its answer; it needs no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


async def serve(server: APIServer, host: str, port: int, context: ssl.SSLContext) -> web.ServerRunner:
    """Listens; returns what `cleanup()` stops."""
    logging.getLogger("aiohttp.server").addFilter(_worth_telling)
    front = _Front(
        server.handle, request_factory=_request_factory, keepalive_timeout=3630, access_log=None, max_line_size=HEAD_LIMIT,
        max_field_size=HEAD_LIMIT, max_headers=_MOST_HEADERS,
    )  # fmt: skip
    runner = web.ServerRunner(front, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context, backlog=1024).start()
    return runner


def _request_factory(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
