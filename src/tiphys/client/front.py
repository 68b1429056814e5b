"""An HTTP server's connections, from unauthenticated clients: limits on the size of a request's
head and on the time it takes.

A head is whole within 32 s and 1 MiB, or its connection ends; one that waits for its next request
ends after 90 s, as upstream's does. A process has a limit of connections, below what it may have of
open files: a connection without a request yet is closed to make room for the newest. The API server
and every node's own server are served by these.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tiphys.client.listening import Handshakes, Listener
from tiphys.client.servertls import fault_of

HEAD_LIMIT = 1 << 20  # bytes of a head: commands go in its request line, tokens in its headers
HEAD_SECONDS = 32.0  # as upstream's ReadHeaderTimeout
IDLE_SECONDS = 90.0  # as upstream's IdleTimeout
HANDSHAKE_SECONDS = 10.0
_SWEEP = 2.0  # seconds between two checks for late connections
_MOST_HEADERS = 1000
_MOST_PIECES = 4096  # that a head comes in: each costs a copy of what came before it
_MOST_QUEUED = 4 << 20  # bytes of heads that one connection sends ahead of the answers
_MOST_UNFINISHED = 64 << 20  # bytes of heads that are not whole, of all connections together;
_ORDINARY_HEAD = 32 << 10  # beyond that, those go whose head is longer than heads are
_MOST_CONNECTIONS = 20_000
_SPARE_FILES = 512  # for what is not a client: the store, webhooks, nodes, the runtime
_UNREAD = 64 << 10  # bytes


def raise_file_limit() -> int:
    """Lets this process have as many files as it is allowed to have at all; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def room_for_connections(most: int = _MOST_CONNECTIONS) -> int:
    """How many this process may serve: `most`, or fewer if it may not have so many files."""
    return max(min(most, raise_file_limit() - _SPARE_FILES), 64)


class Connection(web.RequestHandler):
    """One client's connection. `certificate`: what it proved to be in the handshake, DER, or None;
    `certificate_fault`: what is wrong with the one that it showed instead. `gone` is called when it
    ends: a watch that waits for changes would not notice."""

    __slots__ = (
        "_ahead",
        "_body",
        "_front",
        "_head",
        "_pieces",
        "certificate",
        "certificate_fault",
        "gone",
        "used",
    )

    def __init__(self, front: Front, **kwargs: Any) -> None:
        self._front = front
        super().__init__(front, **kwargs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head = self._pieces = self._ahead = 0
        self._body: Any = None  # of the request that came last
        self.used = time.monotonic()  # when that was
        self.gone: Callable[[], None] | None = None
        super().connection_made(transport)
        # Whoever writes to a client that does not read waits from here on: a thousand of them take
        # 64 MiB.
        transport.set_write_buffer_limits(high=_UNREAD)  # type: ignore[attr-defined]
        tls = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(True) if tls else None
        self.certificate_fault = fault_of(transport)
        self._front.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_head()
        super().connection_lost(exc)
        if self.gone is not None:
            self.gone()

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to a head that is not whole. Nearly all come in one piece, and no
        account is kept of them."""
        # for aiohttp a SPDY connection is not upgraded: it is recognized by a parser of its own
        is_tunnel = self._upgraded or self._payload_parser is not None
        in_head = (self._body is None or self._body.is_eof()) and not is_tunnel
        before = len(self._messages)
        super().data_received(data)
        if len(self._messages) > before:
            self._arrived(len(data))
        elif in_head and data and not self._force_close and not self._upgraded:
            self._head += len(data)
            self._front.unfinished += len(data)
            self._pieces += 1
            self._front.late.setdefault(self, time.monotonic() + HEAD_SECONDS)
            if self._head > HEAD_LIMIT or self._pieces > _MOST_PIECES:
                self._refuse_head()
            elif self._front.unfinished > _MOST_UNFINISHED and self._head > _ORDINARY_HEAD:
                self.abort()

    def _arrived(self, size: int) -> None:
        """One head, or several, are whole."""
        self._ahead = self._ahead + size if len(self._messages) > 1 else 0
        self._body = self._messages[-1][1]
        self.used = time.monotonic()
        self._forget_head()
        if self._ahead > _MOST_QUEUED:
            self.force_close()

    def _forget_head(self) -> None:
        self._front.unfinished -= self._head
        self._head = self._pieces = 0
        self._front.late.pop(self, None)

    def _refuse_head(self) -> None:
        """431 as Go's server says it, and nothing more is read."""
        transport = self.transport
        if transport is not None and not self._force_close:
            transport.write(_TOO_LARGE)
        self._forget_head()
        self.force_close()

    def abort(self) -> None:
        """Ends without a word, whatever was on its way."""
        self._forget_head()
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()


_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n431 Request Header Fields Too Large"
)


class Front(web.Server):
    """Makes connections, at most `most`, each of the class `connection`; other arguments are
    aiohttp's.

    `late`: those whose head is not whole → when it has to be (monotonic), the oldest first.
    `unfinished` is how many bytes of such heads there are.
    """

    def __init__(
        self,
        *args: Any,
        most: int = _MOST_CONNECTIONS,
        connection: type[Connection] = Connection,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            keepalive_timeout=IDLE_SECONDS,
            access_log=None,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            max_headers=_MOST_HEADERS,
            **kwargs,
        )
        logging.getLogger("aiohttp.server").addFilter(_worth_logging)
        self._connection = connection
        self.unfinished = 0
        self.late: dict[Connection, float] = {}
        self.most = most
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> web.RequestHandler:
        return self._connection(self, loop=self._loop, **self._kwargs)

    def room(self) -> int:
        """How many more connections there may be."""
        return self.most - len(self._connections)

    def opened(self, connection: Connection) -> None:
        """A new connection has to ask for something soon. Beyond the limit, the one that has waited
        longest goes."""
        self.late[connection] = time.monotonic() + HEAD_SECONDS
        if len(self._connections) > self.most:
            next(iter(self.late)).abort()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [late for late, until in self.late.items() if until < now]:
            connection.abort()
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self.late else None


class Site(web.TCPSite):
    """A listener whose handshakes have a deadline, and follow one another. One that does not listen
    itself is given connections that another process has accepted.

    inherited: a listening socket's file descriptor, in place of an address
    """

    inherited: int | None = None

    def __init__(self, *args: Any, listens: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listens = listens
        self._listener: Listener | None = None

    def take(self, connection: socket.socket) -> None:
        """A connection whose client has sent its first bytes."""
        self._handshakes.add(connection)

    async def start(self) -> None:
        await web.BaseSite.start(self)
        front = self._front
        assert self._ssl_context is not None
        shaking = Handshakes(front, self._ssl_context, HANDSHAKE_SECONDS)
        self._handshakes = shaking
        if not self._listens:
            return
        self._listener = Listener(
            shaking.add, HANDSHAKE_SECONDS, lambda: front.room() - shaking.waiting
        )
        if self.inherited is not None:
            self._listener.inherit(self.inherited)
        else:
            await self._listener.open(self._host or "", self._port, self._backlog)
        self._bound_port = self._listener.sockets[0].getsockname()[1]

    def pause(self) -> None:
        """Takes no more connections, and goes on with those that are there."""
        if self._listener is not None:
            self._listener.pause()

    @property
    def listens(self) -> bool:
        """Whether connections can still come: to us, or to our successor."""
        return self._listener is not None and self._listener.listens

    @property
    def busy(self) -> bool:
        """Whether there are connections whose handshake is not over, or whose first request, or the
        rest of one, is still to come."""
        is_waiting = self._listener is not None and self._listener.busy
        return is_waiting or self._handshakes.busy or bool(self._front.late)

    @property
    def _front(self) -> Front:
        front = self._runner.server
        assert isinstance(front, Front)
        return front

    def is_used(self, seconds: float) -> bool:
        """Whether a connection is open on which something was asked within the last seconds: its
        client may be about to ask again, and closing it would fail that."""
        since = time.monotonic() - seconds
        connections: list[Any] = self._front.connections
        return any(connection.used > since for connection in connections)

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._handshakes.close()
        await self._handshakes.wait_closed()
        await super().stop()


def _worth_logging(record: logging.LogRecord) -> bool:
    """What is no HTTP at all has had its answer; it needs no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
