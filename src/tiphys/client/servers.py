"""The API servers of a cluster that has several: which one a client asks, and which one next.

A kubeconfig of ours names a file beside it (`extensions` of its cluster) with the servers that
there are, one ``HOST:PORT`` a line, which the node's process keeps (`cluster.serverlist`).
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

EXTENSION = "tiphys.io/servers"  # of a kubeconfig's cluster: ``{file: PATH}``

_UNANSWERED = 5000  # milliseconds that sent bytes may stay unacknowledged
# Seconds without a byte until the other side is asked whether it is there, between two such
# questions, and how many may stay without an answer.
_IDLE, _INTERVAL, _PROBES = 5, 2, 2


def read(file: Path) -> list[str]:
    """The servers that a file names, as URLs; none when it is not there."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return [f"https://{line}" for line in file.read_text().split()]
    return []


class Servers:
    """One is asked, `current`, until it is away: then the next of those that there are by then.

    preferred: the URL in the configuration
    file:      names the others, None when there are none
    """

    def __init__(self, preferred: str, file: Path | None) -> None:
        self.preferred = preferred
        self._file = file
        self.current = preferred

    @property
    def are_many(self) -> bool:
        """Whether another may be tried when one does not answer."""
        return self._file is not None

    @property
    def count(self) -> int:
        """How many there are."""
        return 1 if self._file is None else len(self.known())

    def known(self) -> list[str]:
        """All that there are, the preferred one first."""
        others = read(self._file) if self._file is not None else []
        return list(dict.fromkeys([self.preferred, *others]))

    def is_away(self, server: str) -> None:
        """Records that a server did not answer. A late report changes nothing."""
        if server != self.current or self._file is None:
            return
        known = self.known()
        place = known.index(server) + 1 if server in known else 0
        self.current = known[place % len(known)]


def watchful_socket(address: tuple[Any, ...]) -> socket.socket:
    """A TCP socket that finds out within ten seconds that the machine at its other end is gone: a
    machine that was switched off or cut off closes no connection. `address` is a row of
    getaddrinfo."""
    family, kind, protocol = address[:3]
    tcp_socket = socket.socket(family, kind, protocol)
    tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL)
    tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED)
    return tcp_socket
