"""The listening socket: connections are accepted in batches, and one TLS handshake starts per
round of the event loop.

A handshake costs the loop 1.5 ms of signing and verifying, and asyncio starts one for every
connection with data: a thousand at once blocked the loop for 300 to 500 ms. Here a new connection
waits, as a bare socket, until its client sends something, and then for its turn. Turns go round
robin over client addresses: a client with a hundred connections does not delay another's first one.
A client that sends nothing is disconnected after `seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

# Handshakes at a time, of clients that answer at once: each takes a third of a millisecond when it
# starts and one when the client answers. An established connection waits for three rounds of the
# event loop until its request is answered: there is one step of a handshake in each.
_UNDER_WAY = 1
# Seconds after which one does not count any more: clients far away come at 100 each second, and
# clients that are slow on purpose do not block others.
_SLOW = 0.01
_TAKEN = 8  # connections in one round, at 40 µs each: the others wait in the kernel's queue
_SWEEP = 2.0  # seconds between two checks for late clients
_PAUSE = 1.0  # seconds without new connections when there are no files left


class ByAddress:
    """Connections that wait, taken from the addresses of their clients in turn."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[socket.socket]] = {}  # the address that is next comes first
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def append(self, connection: socket.socket) -> None:
        self._queues.setdefault(_address(connection), deque()).append(connection)
        self._waiting += 1

    def popleft(self) -> socket.socket:
        """Raises StopIteration when none waits."""
        address = next(iter(self._queues))
        queue = self._queues.pop(address)
        connection = queue.popleft()
        if queue:
            self._queues[address] = queue  # behind all others
        self._waiting -= 1
        return connection


def _address(connection: socket.socket) -> str:
    """Of the client; "" of one that has gone."""
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return ""


class Handshakes:
    """Starts TLS on connections whose clients have sent something, a few at a time.

    `factory` makes a connection's protocol; a handshake longer than `seconds` is closed.
    """

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext, seconds: float
    ) -> None:
        self._factory = factory
        self._context = context
        self._seconds = seconds
        self._ready = ByAddress()
        self._beginning = False
        self._under_way = 0
        self._tasks = TaskGroup("handshakes")
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """How many have not started."""
        return len(self._ready)

    @property
    def busy(self) -> bool:
        """Whether there are any that are not over."""
        return bool(self._ready or self._under_way)

    def add(self, connection: socket.socket) -> None:
        self._ready.append(connection)
        if not self._beginning:
            self._begin()

    def close(self) -> None:
        """Closes those that have not started."""
        while self._ready:
            self._ready.popleft().close()

    async def wait_closed(self) -> None:
        await self._tasks.stop()

    def _begin(self) -> None:
        """The next one, and the others in the rounds that follow."""
        if self._ready and self._under_way < _UNDER_WAY:
            self._under_way += 1
            shaking = self._tasks.start(self._shake(self._ready.popleft()), "handshake")
            slow = self._loop.call_later(_SLOW, self._over)
            shaking.add_done_callback(partial(self._ended, slow))
        self._beginning = bool(self._ready) and self._under_way < _UNDER_WAY
        if self._beginning:
            self._loop.call_soon(self._begin)

    def _ended(self, slow: asyncio.TimerHandle, shaking: asyncio.Task[None]) -> None:
        if slow.when() > self._loop.time():  # else it does not count any more, or in a moment
            slow.cancel()
            self._over()

    def _over(self) -> None:
        """One handshake counts no more."""
        self._under_way -= 1
        if self._ready and not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin)

    async def _shake(self, connection: socket.socket) -> None:
        # SSLError is an OSError: the client has had its alert.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._loop.connect_accepted_socket(
                self._factory, connection, ssl=self._context, ssl_handshake_timeout=self._seconds
            )


class Listener:
    """Of the addresses of one host.

    `take` gets each connection whose client sent something within `seconds`; `room` returns how
    many more may wait.
    """

    def __init__(
        self, take: Callable[[socket.socket], None], seconds: float, room: Callable[[], int]
    ) -> None:
        self._spoke = take
        self._seconds = seconds
        self._room = room
        self.sockets: list[socket.socket] = []
        self._silent: dict[
            socket.socket, float
        ] = {}  # connections without data → their deadline, the oldest first
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    def inherit(self, handle: int) -> None:
        """Listens on a socket that the parent process holds: while this process is replaced by
        another, connections wait there and none is refused."""
        listening = socket.socket(fileno=os.dup(handle))
        listening.setblocking(False)
        self.sockets.append(listening)
        self._loop.add_reader(listening, self._accept, listening)

    def pause(self) -> None:
        """Leaves further connections to the next process that listens on the same socket."""
        for listening in self.sockets:
            self._loop.remove_reader(listening)

    @property
    def listens(self) -> bool:
        """Whether connections can still come: to us, or to our successor."""
        return any(
            listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            for listening in self.sockets
        )

    @property
    def busy(self) -> bool:
        """Whether there are connections whose clients have not sent anything."""
        return bool(self._silent)

    async def open(self, host: str, port: int, backlog: int) -> None:
        """Listens. Raises OSError when the port is taken."""
        address_rows = await self._loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((row[0], row[4]) for row in address_rows):
            listening = socket.socket(family, socket.SOCK_STREAM)
            self.sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Every address is meant, as by Go's servers: those of IPv4, too.
                alone = int(host != "::")
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
            listening.setblocking(False)
            try:
                listening.bind(address)
            except OSError:
                self.close()
                raise
            listening.listen(backlog)
            self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accepts no more connections; those without a TLS handshake are closed."""
        for listening in self.sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self.sockets.clear()
        for waiting in list(self._silent):
            self._drop(waiting)
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_TAKEN):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no files, no memory
                if error.errno == errno.EINVAL:  # the holder of the socket has shut it down
                    self._loop.remove_reader(listening)
                    return
                log.error("Cannot accept connections: %s", error)
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE, self._resume, listening)
                return
            self._take(connection)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self.sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _take(self, connection: socket.socket) -> None:
        """Waits for the client to send something.

        When there are too many, the one that has waited longest is closed.
        """
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._silent[connection] = time.monotonic() + self._seconds
        self._loop.add_reader(connection, self._spoken, connection)
        if len(self._silent) > max(self._room(), 1):
            self._drop(next(iter(self._silent)))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def _drop(self, waiting: socket.socket) -> None:
        del self._silent[waiting]
        self._loop.remove_reader(waiting)
        waiting.close()

    def _sweep(self) -> None:
        now = time.monotonic()
        for waiting in [connection for connection, until in self._silent.items() if until < now]:
            self._drop(waiting)
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self._silent else None

    def _spoken(self, connection: socket.socket) -> None:
        del self._silent[connection]
        self._loop.remove_reader(connection)
        self._spoke(connection)
