"""Requests that change the protocol of their connection, on their way to the server behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from tiphys.client import upgrade
from tiphys.client.tasks import TaskGroup
from tiphys.client.upgrade import is_upgrade, request_head


def test_who_asked_and_where_stays_between_the_client_and_us() -> None:
    headers = {"Host": "us", "AUTHORIZATION": "Bearer x", "Upgrade": "SPDY/3.1", "X-A": "b"}
    head = request_head("POST", "/exec?a=b", "behind:1", headers)
    assert head.decode().split("\r\n") == [
        "POST /exec?a=b HTTP/1.1",
        "Host: behind:1",
        "Upgrade: SPDY/3.1",
        "X-A: b",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        ({"Connection": "Upgrade", "Upgrade": "websocket"}, True),
        ({"Connection": "keep-alive, upgrade", "Upgrade": "SPDY/3.1"}, True),
        ({"Connection": "Upgrade"}, False),
        ({"Connection": "Upgrade", "Upgrade": ""}, False),
        ({"Upgrade": "websocket"}, False),
        ({}, False),
    ],
)
def test_both_headers_are_needed(headers: dict[str, str], is_one: bool) -> None:
    assert is_upgrade(headers) is is_one


# --- what the server behind answers ---


@pytest.mark.parametrize(
    ("lines", "length", "is_chunked"),
    [
        (["HTTP/1.1 403 Forbidden", "Content-Length: 7"], 7, False),
        (["HTTP/1.1 403 Forbidden", "content-length:0"], 0, False),
        (["HTTP/1.1 403 Forbidden", "Content-Length: many"], 1 << 20, False),
        (["HTTP/1.1 403 Forbidden", "Transfer-Encoding: Chunked"], 1 << 20, True),
        (["HTTP/1.1 403 Forbidden", "Transfer-Encoding: gzip"], 1 << 20, False),
        (["HTTP/1.1 403 Forbidden"], 1 << 20, False),
        (["HTTP/1.1 204 No Content", "Content-Length: 7"], 0, False),
        (["HTTP/1.1 304 Not Modified"], 0, False),
    ],
)
def test_how_long_the_body_of_a_refusal_is(lines: list[str], length: int, is_chunked: bool) -> None:
    head = "\r\n".join([*lines, "", ""]).encode()
    assert upgrade._body(head) == (length, is_chunked)


def test_a_refusal_says_that_the_connection_ends() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nKeep-Alive: x\r\nA: b\r\nCONNECTION: keep-alive\r\n\r\n"
    assert upgrade._closing(head) == (
        b"HTTP/1.1 403 Forbidden\r\nA: b\r\nConnection: close\r\n\r\n"
    )


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
Behind = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Joined:
    """A server whose clients are joined to what is behind it."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.heard = bytearray()  # behind, after the head
        self.gone = asyncio.Event()  # the end behind has heard that its client is

    async def _answers(self, status: int) -> None:
        self.told.append(status)

    @contextlib.asynccontextmanager
    async def connected(
        self, behind: Behind
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await behind(reader, writer)
            while data := await reader.read(1 << 16):
                self.heard += data
            self.gone.set()
            writer.close()

        there = await asyncio.start_server(act, "127.0.0.1", 0)

        async def join(request: web.BaseRequest) -> web.StreamResponse:
            reader, writer = await asyncio.open_connection(*there.sockets[0].getsockname())
            writer.write(request_head(request.method, "/", "h", request.headers))
            await upgrade.splice(request, reader, writer, self._answers)
            return web.StreamResponse()

        front = web.Server(join)
        server = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Content-Length": "0"}
        writer.write(request_head("POST", "/", "h", asked))
        try:
            async with asyncio.timeout(10):
                yield reader, writer
        finally:
            writer.close()
            server.close()
            await front.shutdown(0.01)
            there.close()


def saying(*pieces: bytes) -> Behind:
    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return behind


async def test_bytes_go_both_ways_once_the_server_behind_has_agreed() -> None:
    joined, agreed = Joined(), asyncio.Event()

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await agreed.wait()
        writer.write(SWITCHING + b"hello")

    async with joined.connected(behind) as (reader, writer):
        writer.write(b"early")
        await writer.drain()
        assert not joined.told and not joined.heard
        agreed.set()
        assert await reader.readexactly(len(SWITCHING) + 5) == SWITCHING + b"hello"
        writer.write(b" late")
        writer.write_eof()
        await joined.gone.wait()
    assert joined.heard == b"early late" and joined.told == [101]


async def test_much_is_passed_on_in_both_directions() -> None:
    joined = Joined()
    much = bytes(range(256)) * (16 << 10)

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCHING)
        joined.heard += await reader.readexactly(len(much))
        writer.write(much)

    async with joined.connected(behind) as (reader, writer):
        await reader.readexactly(len(SWITCHING))
        writer.write(much)
        assert await reader.readexactly(len(much)) == much and joined.heard == much


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ((b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n", b"no", b"pe and more"), b"nope"),
        ((b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\nmore",), b""),
        (
            (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nno\r\n",
             b"0\r\n\r\n"),
            b"2\r\nno\r\n0\r\n\r\n",
        ),
        ((b"HTTP/1.1 204 No Content\r\n\r\nmore",), b""),
    ],
)  # fmt: skip
async def test_whatever_else_it_answers_goes_to_the_client_and_ends_both(
    said: tuple[bytes, ...], body: bytes
) -> None:
    joined = Joined()
    async with joined.connected(saying(*said)) as (reader, writer):
        writer.write(b"GET /secrets HTTP/1.1\r\n\r\n")
        head, _, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
        assert rest == body and head.endswith(b"Connection: close")
        await joined.gone.wait()
    assert not joined.heard and joined.told == [int(said[0].split()[1])]


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 101 x\r\n\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA: " + b"b" * (64 << 10) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_goes_to_nobody(said: bytes) -> None:
    joined = Joined()
    async with joined.connected(saying(said)) as (reader, _):
        assert await reader.read(-1) == b"" and not joined.told


async def test_a_server_behind_that_is_silent_or_gone_ends_the_clients_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upgrade, "_TIMEOUT", 0.05)
    for said in ((), (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n", b"no")):
        async with Joined().connected(saying(*said)) as (reader, _):
            assert (await reader.read(-1)).endswith(b"no" if said else b"")

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with Joined().connected(leave) as (reader, _):
        assert await reader.read(-1) == b""


async def test_a_body_without_a_length_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_LONGEST_REFUSAL", 10)
    joined = Joined()
    async with joined.connected(saying(b"HTTP/1.1 500 x\r\n\r\n" + b"y" * 20)) as (reader, _):
        _, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        assert body == b"y" * 10


# --- the client's side ---


class Wire:
    """A transport, or a writer with one: what was done with it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""
        self.size = 0
        self.transport = self
        self.drained = asyncio.Event()
        self.closing = False

    def write(self, data: bytes) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.calls.append("close")

    def get_write_buffer_size(self) -> int:
        return self.size

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    async def drain(self) -> None:
        await self.drained.wait()


async def test_a_client_that_says_much_too_early_is_not_read_any_more() -> None:
    behind, transport = Wire(), Wire()
    side = upgrade._ClientSide(behind, transport, TaskGroup("t"))  # type: ignore[arg-type]
    assert side.feed_data(b"x" * (64 << 10)) == (False, b"") and not transport.calls
    side.feed_data(b"y")
    assert transport.calls == ["pause"] and behind.data == b""
    side.open()
    assert transport.calls == ["pause", "resume"] and len(behind.data) == (64 << 10) + 1


async def test_a_client_is_not_read_while_much_is_on_the_way_behind() -> None:
    behind, transport, tasks = Wire(), Wire(), TaskGroup("t")
    side = upgrade._ClientSide(behind, transport, tasks)  # type: ignore[arg-type]
    side.open()
    behind.size = 1 << 20
    side.feed_data(b"a")
    assert transport.calls == ["resume"], "no more than that may be"
    behind.size += 1
    side.feed_data(b"b")
    side.feed_data(b"c")
    assert transport.calls == ["resume", "pause"] and behind.data == b"abc"
    behind.drained.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.calls == ["resume", "pause", "resume"]
    behind.drained.clear()
    side.feed_data(b"d")
    assert transport.calls[-1] == "pause", "and again"
    behind.closing = True
    side.feed_data(b"e")
    assert behind.data == b"abcd", "nobody is there to hear it"
    await tasks.stop()


def test_the_end_of_the_client_is_the_end_behind() -> None:
    for end in ("feed_eof", "set_exception"):
        behind = Wire()
        side = upgrade._ClientSide(behind, Wire(), TaskGroup("t"))  # type: ignore[arg-type]
        getattr(side, end)()
        assert behind.calls == ["close"]
