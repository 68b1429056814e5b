"""How many connections a process may have, what a head may be, and that those which have become
tunnels are given no deadline for one."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tiphys.client import front as module
from tiphys.client.front import Front, raise_file_limit, room_for_connections
from tiphys.client.upgrade import request_head, splice


async def _runtime(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switches to whatever protocol it is asked for, and says everything again."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n")
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
async def tunnels() -> AsyncIterator[tuple[Front, int]]:
    """A front that joins its clients to a runtime, and its port."""
    behind = await asyncio.start_server(_runtime, "127.0.0.1", 0)

    async def join(request: web.BaseRequest) -> web.StreamResponse:
        reader, writer = await asyncio.open_connection(*behind.sockets[0].getsockname())
        writer.write(request_head(request.method, "/", "h", request.headers))
        await splice(request, reader, writer)
        return web.StreamResponse()

    front = Front(join)
    server = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
    yield front, server.sockets[0].getsockname()[1]
    server.close()
    await front.shutdown(0)
    behind.close()


@pytest.mark.parametrize("protocol", ["SPDY/3.1", "websocket"])
async def test_a_tunnels_bytes_are_no_head(tunnels: tuple[Front, int], protocol: str) -> None:
    front, port = tunnels
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = {"Connection": "Upgrade", "Upgrade": protocol, "Content-Length": "0"}
    writer.write(request_head("POST", "/", "h", headers))
    await reader.readuntil(b"\r\n\r\n")
    for word in (b"one", b"two"):
        writer.write(word)
        assert await reader.readexactly(3) == word
    assert (front.late, front.unfinished) == ({}, 0)
    writer.close()


def test_a_process_may_have_as_many_files_as_it_is_allowed_and_keeps_some_for_itself() -> None:
    most = raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard and most == (1 << 20 if soft == resource.RLIM_INFINITY else soft)
    assert room_for_connections(1 << 40) == most - 512
    assert room_for_connections(100) == 100
    assert room_for_connections(5) == 64, "a server without connections is none"


# --- heads ---


class Client:
    """A connection to a front that answers every request with "ok"."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def says(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hears(self) -> bytes:
        """Everything, until the connection ends."""
        async with asyncio.timeout(10):
            try:
                return await self._reader.read(-1)
            except ConnectionError:
                return b""

    async def is_answered(self) -> bool:
        await self.says(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        try:
            async with asyncio.timeout(10):
                return b"200 OK" in await self._reader.readuntil(b"\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False


class Served:
    def __init__(self, most: int = 100) -> None:
        self.front = Front(self._answer, most=most)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.front, "127.0.0.1", 0)

    async def connect(self) -> Client:
        place = self._server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*place)
        name = writer.get_extra_info("sockname")

        def is_there() -> bool:
            transports = [connection.transport for connection in self.front.connections]
            return any(one and one.get_extra_info("peername") == name for one in transports)

        await self.until(is_there)
        return Client(reader, writer)

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not check():  # noqa: ASYNC110 - what the other end has heard has no event
                await asyncio.sleep(0)

    async def stop(self) -> None:
        self._server.close()
        await self.front.shutdown(0.01)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    await made.start()
    yield made
    await made.stop()


async def test_a_head_that_is_not_whole_is_counted_until_it_is(served: Served) -> None:
    client = await served.connect()
    assert len(served.front.late) == 1 and served.front.room() == 99
    await client.says(b"GET / HTTP/1.1\r\n")
    await served.until(lambda: served.front.unfinished == 16)
    await client.says(b"Host: h\r\n")
    await served.until(lambda: served.front.unfinished == 25)
    await client.says(b"\r\n")
    await served.until(lambda: served.front.unfinished == 0)
    assert not served.front.late


async def test_what_is_not_whole_is_forgotten_with_its_connection(served: Served) -> None:
    client = await served.connect()
    await client.says(b"GET / HTTP/1.1\r\n")
    await served.until(lambda: served.front.unfinished == 16)
    client._writer.close()
    await served.until(lambda: not served.front.connections)
    assert served.front.unfinished == 0 and not served.front.late


async def test_a_body_is_no_head(served: Served) -> None:
    client = await served.connect()
    await client.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
    await served.until(lambda: not served.front.late)
    await client.says(b"body")
    await asyncio.sleep(0)
    assert (served.front.unfinished, served.front.late) == (0, {})
    await client.says(b" rest")
    assert await client.is_answered()


@pytest.mark.parametrize("limit", ["bytes", "pieces"])
async def test_a_head_that_is_too_much_is_refused_in_words(
    served: Served, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "bytes":
        monkeypatch.setattr(module, "HEAD_LIMIT", 20)
    else:
        monkeypatch.setattr(module, "_MOST_PIECES", 1)
    client = await served.connect()
    await client.says(b"GET / HTTP/1.1\r\nA: b")  # 20 bytes in one piece
    await served.until(lambda: served.front.unfinished == 20)
    await client.says(b"b")
    told = await client.hears()
    assert told.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert told.endswith(b"\r\n\r\n431 Request Header Fields Too Large")
    assert served.front.unfinished == 0 and not served.front.late


async def test_of_many_unfinished_heads_the_long_ones_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_UNFINISHED", 40)
    monkeypatch.setattr(module, "_ORDINARY_HEAD", 20)
    long, short, longer = [await served.connect() for _ in range(3)]
    await long.says(b"GET / HTTP/1.1\r\nA: b")
    await short.says(b"GET / HTTP/1.1\r\nA: b")
    await served.until(lambda: served.front.unfinished == 40)
    await short.says(b"")
    await longer.says(b"GET / HTTP/1.1\r\nA: bb")
    assert await longer.hears() == b""
    await served.until(lambda: served.front.unfinished == 40)
    assert len(served.front.connections) == 2


async def test_who_sends_too_many_requests_ahead_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    monkeypatch.setattr(module, "_MOST_QUEUED", 3 * len(one))
    good, bad = await served.connect(), await served.connect()
    await good.says(one * 3)
    for _ in range(3):
        await good._reader.readuntil(b"\r\n\r\nok")
    assert await good.is_answered()
    await bad.says(one * 4)
    assert b"200 OK" not in await bad.hears()


async def test_a_head_that_is_late_ends_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.05)
    silent, slow = await served.connect(), await served.connect()
    await slow.says(b"GET / HTTP/1.1\r\n")
    assert await silent.hears() == b"" == await slow.hears()
    assert served.front.unfinished == 0
    monkeypatch.setattr(module, "HEAD_SECONDS", 60)
    patient = await served.connect()
    await served.until(lambda: served.front._sweeper is not None)
    assert await patient.is_answered()
    await served.until(lambda: served.front._sweeper is None)  # nobody is late


async def test_beyond_the_limit_who_has_waited_longest_goes() -> None:
    served = Served(most=2)
    await served.start()
    busy = await served.connect()
    assert await busy.is_answered()
    waiting = await served.connect()
    assert served.front.room() == 0
    new = await served.connect()
    assert await waiting.hears() == b""
    assert await busy.is_answered() and await new.is_answered()
    await served.stop()


async def test_the_end_of_a_connection_is_told(served: Served) -> None:
    client = await served.connect()
    assert await client.is_answered()
    [connection] = served.front.connections
    gone = asyncio.Event()
    connection.gone = gone.set  # type: ignore[attr-defined]
    assert connection.certificate is None and connection.certificate_fault == ""  # type: ignore[attr-defined]
    client._writer.close()
    async with asyncio.timeout(10):
        await gone.wait()


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(None, True), (ValueError(), True), (HttpProcessingError(message="x"), False)],
)
def test_what_is_no_http_at_all_needs_no_traceback(error: Exception | None, is_told: bool) -> None:
    info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "m", (), info)  # type: ignore[arg-type]
    assert module._worth_logging(record) is is_told


@pytest.mark.parametrize(
    ("hard", "is_refused", "most"),
    [(4096, False, 4096), (4096, True, 1024), (resource.RLIM_INFINITY, False, 1 << 20)],
)
def test_a_process_takes_the_files_that_it_may_have(
    monkeypatch: pytest.MonkeyPatch, hard: int, is_refused: bool, most: int
) -> None:
    raised: list[tuple[int, int]] = []

    def raise_limit(kind: int, limits: tuple[int, int]) -> None:
        raised.append(limits)
        if is_refused:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(module.resource, "getrlimit", lambda kind: (1024, hard))
    monkeypatch.setattr(module.resource, "setrlimit", raise_limit)
    assert raise_file_limit() == most and raised == [(hard, hard)]
