"""The socket: TLS, connections that know the client's certificate, limits of what a request may be
and how long it takes.

The limits of heads and connections are in `client/front`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from tiphys.apiserver.http import respond
from tiphys.apiserver.http.request import MAX_BODY
from tiphys.client.front import (
    HANDSHAKE_SECONDS,
    Connection,
    Front,
    Site,
    room_for_connections,
)
from tiphys.client.listening import Listener
from tiphys.client.servertls import server_context
from tiphys.machinery import errors

_BACKLOG = 1024
_LINGERING = 1.0  # seconds in which the rest of a refused body is thrown away


class Request(web.BaseRequest):
    """A request whose body may be as large as upstream allows. `record` is its audit record
    where requests are audited."""

    record: Any = None  # of audit.records.Record

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, client_max_size=MAX_BODY, **kwargs)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        if self.record is not None:
            await self.record.prepares(response)


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Client certificates are asked for and verified, not demanded."""
    context = server_context(certificate, key, client_ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Connection(Connection):
    """Answers as the API does where no request can be read."""

    __slots__ = ()

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A method that no parser knows is one that no path has. A client that has gone needs
        neither an answer nor a log line."""
        if isinstance(exc, ConnectionError):
            gone = web.Response(status=499)
            gone.force_close()
            return gone
        is_request_line = " HTTP/1" in str(exc)
        if isinstance(exc, BadHttpMethod) and is_request_line:
            response = respond.failure(errors.method_refused())
            response.force_close()
            return response
        return super().handle_error(request, status, exc, message)


class Answering(Protocol):
    """What answers requests."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse: ...


async def serve(
    server: Answering,
    host: str,
    port: int,
    context: ssl.SSLContext,
    inherited: int | None = None,
    listens: bool = True,
) -> tuple[web.ServerRunner, Site]:
    """Listens, on an inherited socket if there is one, or waits for connections to be given to the
    site; returns what `cleanup()` stops."""
    front = Front(
        server.handle,
        connection=_Connection,
        most=room_for_connections(),
        request_factory=_request_factory,
        lingering_time=_LINGERING,
        auto_decompress=False,  # upstream takes bodies as they come, too
    )
    runner = web.ServerRunner(front, access_log=None, shutdown_timeout=2)
    await runner.setup()
    site = Site(runner, host, port, ssl_context=context, backlog=_BACKLOG, listens=listens)
    site.inherited = inherited
    await site.start()
    return runner, site


async def listen(
    take: Callable[[socket.socket], None], host: str, port: int, inherited: int | None = None
) -> Listener:
    """Accepts connections for others: `take` is given each, once its client has sent something."""
    most = room_for_connections()
    listener = Listener(take, HANDSHAKE_SECONDS, lambda: most)
    if inherited is not None:
        listener.inherit(inherited)
    else:
        await listener.open(host, port, _BACKLOG)
    return listener


def _request_factory(
    message: Any, payload: Any, protocol: Any, writer: Any, task: Any
) -> web.BaseRequest:
    return Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
