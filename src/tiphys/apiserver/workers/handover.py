"""Accepted connections go from the primary to a worker through a socket between them, as bare
descriptors: the worker does the TLS handshake and everything after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable

_TAKEN = 16  # connections in one round of the worker's event loop
_MOST_WAITING = 4096  # connections that a worker has not taken; more are closed
_NOTE = 1 << 16  # bytes of one message at the most


def doors() -> tuple[socket.socket, socket.socket]:
    """The two ends, the primary's first. Messages keep their bounds."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, theirs


class Giving:
    """The primary's end. `ready` is called when the worker reports that it serves."""

    def __init__(self, end: socket.socket, ready: Callable[[], None]) -> None:
        end.setblocking(False)
        self._end = end
        self._ready = ready
        self._waiting: deque[socket.socket] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)
        self._full = False

    def _read(self) -> None:
        try:
            note = self._end.recv(_NOTE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            note = b""
        if note:
            self._ready()
        else:  # it has ended
            self._loop.remove_reader(self._end)

    def give(self, connection: socket.socket) -> None:
        """Hands a connection over; it is not this process's any more."""
        if len(self._waiting) >= _MOST_WAITING:
            connection.close()
            return
        self._waiting.append(connection)
        if not self._full:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            connection = self._waiting[0]
            try:
                socket.send_fds(self._end, [b"c"], [connection.fileno()])
            except (BlockingIOError, InterruptedError):
                if not self._full:
                    self._full = True
                    self._loop.add_writer(self._end, self._send)
                return
            except OSError:  # the worker has ended, and its clients come again
                pass
            self._waiting.popleft()
            connection.close()
        if self._full:
            self._full = False
            self._loop.remove_writer(self._end)

    def close(self) -> None:
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        while self._waiting:
            self._waiting.popleft().close()
        self._end.close()


class Taking:
    """A worker's end. `take` is given every connection, `lost` is called when the primary ends."""

    def __init__(
        self,
        end: socket.socket,
        take: Callable[[socket.socket], None],
        lost: Callable[[], None],
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._take = take
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)
        end.send(b"ready")

    def _read(self) -> None:
        for _ in range(_TAKEN):
            try:
                note, files, _, _ = socket.recv_fds(self._end, 1, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                note = b""
                files = []
            if not note:
                self._loop.remove_reader(self._end)
                self._lost()
                return
            for file in files:
                connection = socket.socket(fileno=file)
                connection.setblocking(False)
                self._take(connection)

    def close(self) -> None:
        self._loop.remove_reader(self._end)
        with contextlib.suppress(OSError):
            self._end.close()
