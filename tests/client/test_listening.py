"""Who is next when more clients come than can be served at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from pathlib import Path
from typing import Any, cast

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


# --- listening sockets ---


async def test_who_never_speaks_is_closed_and_who_does_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_SWEEP", 0.01)
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    listener = Listener(taken.put_nowait, 0.05, lambda: 10)
    await listener.open("127.0.0.1", 0, 5)
    place = listener.sockets[0].getsockname()
    silent, speaking = [await asyncio.open_connection(*place) for _ in range(2)]
    speaking[1].write(b"hello")
    async with asyncio.timeout(10):
        (await taken.get()).close()
        assert await silent[0].read(-1) == b""
        while listener._sweeper is not None:  # noqa: ASYNC110 - a timer that ends
            await asyncio.sleep(0)
    assert not listener.busy
    listener.close()
    silent[1].close()
    speaking[1].close()


async def test_where_there_is_no_room_the_one_that_was_silent_longest_goes() -> None:
    listener = Listener(lambda connection: None, 60.0, lambda: 0)
    await listener.open("127.0.0.1", 0, 5)
    place = listener.sockets[0].getsockname()
    first, _ = await asyncio.open_connection(*place)
    await rounds()
    assert listener.busy, "one there may always be"
    second, _ = await asyncio.open_connection(*place)
    async with asyncio.timeout(10):
        assert await first.read(-1) == b""
    assert len(listener._silent) == 1 and listener._sweeper is not None
    listener.close()
    async with asyncio.timeout(10):
        assert await second.read(-1) == b""
    assert not listener.sockets and not listener.busy and not listener.listens


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listener = Listener(lambda connection: None, 60.0, lambda: 10)
        with pytest.raises(OSError):
            await listener.open("127.0.0.1", other.getsockname()[1], 5)
    assert not listener.sockets


async def test_connections_wait_in_a_socket_that_is_handed_on() -> None:
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as held:
        first = Listener(taken.put_nowait, 60.0, lambda: 10)
        first.inherit(held.fileno())
        first.pause()
        assert first.listens
        _, writer = await asyncio.open_connection(*held.getsockname())
        writer.write(b"hello")
        await rounds()
        assert taken.empty() and not first.busy
        first.close()
        second = Listener(taken.put_nowait, 60.0, lambda: 10)
        second.inherit(held.fileno())
        async with asyncio.timeout(10):
            (await taken.get()).close()
        second.close()
        writer.close()


class Socket:
    """Fails to accept with an error each time."""

    def __init__(self, *numbers: int) -> None:
        self.errors = [OSError(number, "x") for number in numbers]

    def accept(self) -> None:
        raise self.errors.pop(0)


class Loop:
    """What of a loop a listener uses."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def add_reader(self, *_: object) -> None:
        self.calls.append("add")

    def remove_reader(self, *_: object) -> None:
        self.calls.append("remove")

    def call_later(self, seconds: float, *_: object) -> None:
        self.calls.append(f"later {seconds:g}")


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (errno.EAGAIN, []),
        (errno.ECONNABORTED, []),
        (errno.EINVAL, ["remove"]),
        (errno.EMFILE, ["remove", "later 1"]),
    ],
)
async def test_what_keeps_a_connection_from_being_accepted(error: int, calls: list[str]) -> None:
    listener = Listener(lambda connection: None, 60.0, lambda: 10)
    listener._loop = loop = Loop()  # type: ignore[assignment]
    made: Any = Socket(error)
    listener._accept(made)
    assert loop.calls == calls
    listener._resume(made)
    assert loop.calls == calls, "it is closed"
    listener.sockets.append(made)
    listener._resume(made)
    assert loop.calls == [*calls, "add"]
