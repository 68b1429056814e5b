"""Who is next when more clients come than can be served at once."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from tiphys.client.listening import ByAddress, Listener


class Connection:
    """A connection as the queue sees it."""

    def __init__(self, address: str | None, number: int = 0) -> None:
        self.address = address
        self.number = number

    def getpeername(self) -> tuple[str, int]:
        if self.address is None:
            raise OSError("not connected")
        return self.address, 1000 + self.number


def order(*connections: Connection) -> list[Connection]:
    queue = ByAddress()
    for connection in connections:
        queue.append(cast(socket.socket, connection))
    return [cast(Connection, queue.popleft()) for _ in range(len(queue))]


def test_the_first_connection_of_an_address_does_not_wait_for_a_rush_of_another() -> None:
    rush = [Connection("10.0.0.1", number) for number in range(100)]
    newcomer = Connection("10.0.0.2")
    assert order(*rush, newcomer)[:3] == [rush[0], newcomer, rush[1]]


def test_addresses_have_turns_and_the_connections_of_one_their_order() -> None:
    rows = [Connection(address, number) for number in range(2) for address in "abc"]
    assert order(*sorted(rows, key=lambda row: row.address or "")) == rows


def test_a_client_that_has_gone_waits_like_any_other() -> None:
    gone = Connection(None)
    assert order(gone, Connection("a"))[0] is gone


async def test_who_listens_at_every_address_hears_ipv4_and_ipv6() -> None:
    heard: asyncio.Queue[socket.socket] = asyncio.Queue()
    listener = Listener(heard.put_nowait, 5.0, lambda: 10)
    await listener.open("::", 0, 5)
    port = listener.sockets[0].getsockname()[1]
    for address in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(address, port)
        writer.write(b"hello")
        connection = await asyncio.wait_for(heard.get(), 5)
        assert connection.getpeername()[0].removeprefix("::ffff:") == address
        connection.close()
        writer.close()
    listener.close()
