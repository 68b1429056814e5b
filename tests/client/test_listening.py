"""Who is next when more clients come than can be served at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import cast

import pytest

from tiphys.client import listening
from tiphys.client.listening import ByAddress, Listener
from tiphys.client.servertls import ServerContext
from tiphys.cluster.certificates import Authority


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


async def rounds(count: int = 20) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_few_connections_are_accepted_in_a_round() -> None:
    """The others wait in the kernel's queue, and those who are connected are served meanwhile."""
    listener = Listener(lambda connection: None, 5.0, lambda: 100)
    await listener.open("127.0.0.1", 0, 64)
    where = listener.sockets[0].getsockname()
    clients = [socket.create_connection(where) for _ in range(30)]
    accepted = []
    while len(listener._silent) < len(clients):
        before = len(listener._silent)
        await rounds(1)
        accepted.append(len(listener._silent) - before)
    assert 0 < max(accepted) <= 8
    listener.close()
    for client in clients:
        client.close()


async def test_a_handshake_begins_when_the_one_before_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(listening, "_SLOW", 60.0)
    authority = Authority(tmp_path)
    context = ServerContext()
    context.load_cert_chain(*authority.ensure("s", "s", (), ("localhost",), server=True))
    shaking = listening.Handshakes(asyncio.Protocol, context, 60.0)
    assert not shaking.busy
    clients = [greeting(shaking) for _ in range(3)]
    await rounds()
    assert shaking.busy and shaking.waiting == 2
    assert [bool(heard(client)) for client in clients] == [True, False, False]
    clients[0].close()
    await rounds()
    assert [bool(heard(client)) for client in clients[1:]] == [True, False]
    shaking.close()
    await shaking.wait_closed()
    for client in clients:
        client.close()


def greeting(shaking: listening.Handshakes) -> socket.socket:
    """A client that has said hello and goes no further."""
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        client = socket.create_connection(listening_socket.getsockname())
        server, _ = listening_socket.accept()
    hello = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    client.sendall(hello.read())
    client.setblocking(False)
    server.setblocking(False)
    shaking.add(server)
    return client


def heard(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except BlockingIOError:
        return b""
