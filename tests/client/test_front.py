"""How many connections a process may have, and that those which have become tunnels are given no
deadline for a head."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

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
