"""One account's rush, clients that do not read, a store that stands still: what others notice of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.builders import config_map
from tiphys.api import core_v1, rbac_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver import bulk, watching
from tiphys.testing import LocalCluster

OBJECTS = 150
SIZE = 80_000  # bytes of each: all are more than the kernel takes for a client that does not read
MAPS = "/api/v1/namespaces/default/configmaps"
STEP = 0.05  # seconds that nothing may hold the event loop


@pytest.fixture
async def full(server: LocalCluster) -> LocalCluster:
    """A server with 12 MB of objects."""
    writes = [server.client.create(config_map(f"c{n:03}", text="x" * SIZE)) for n in range(OBJECTS)]
    await asyncio.gather(*writes)
    return server


class Lag:
    """The longest that the event loop was held while this was open. The attackers are in other processes."""

    worst = 0.0

    async def __aenter__(self) -> Lag:
        self._looking = asyncio.ensure_future(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()

    async def _look(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            self.worst = max(self.worst, time.perf_counter() - before)


def session(server: LocalCluster) -> aiohttp.ClientSession:
    tls: ssl.SSLContext = server.client.config.ssl_context()
    return aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=tls, limit=0), auto_decompress=False)


async def slow_connection(server: LocalCluster) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that takes a few kilobytes at a time."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    tls = server.client.config.ssl_context()
    return await asyncio.open_connection(sock=plain, ssl=tls, server_hostname="localhost", limit=1024)


async def silent(server: LocalCluster, path: str) -> asyncio.StreamWriter:
    """A client that asks and never reads."""
    _, writer = await slow_connection(server)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return writer


def unread(server: LocalCluster) -> int:
    """Bytes that the server holds for clients to read."""
    connections = server.server._runner.server.connections
    return sum(c.transport.get_write_buffer_size() for c in connections if c.transport is not None)


async def names(server: LocalCluster, **headers: str) -> list[str]:
    async with session(server) as client, client.get(MAPS, headers=headers) as answer:
        data = await answer.read()
    if answer.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return [item["metadata"]["name"] for item in json.loads(data)["items"]]


async def test_a_large_list_is_whole_in_every_form(full: LocalCluster) -> None:
    wanted = [f"c{n:03}" for n in range(OBJECTS)]
    assert await names(full) == wanted
    assert await names(full, **{"Accept-Encoding": "gzip"}) == wanted


async def test_equal_lists_at_one_revision_are_made_once(full: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    pack = bulk.compressed
    monkeypatch.setattr(bulk, "compressed", lambda body: made.append(body) or pack(body))
    lists = await asyncio.gather(*(names(full, **{"Accept-Encoding": "gzip"}) for _ in range(20)))
    assert all(len(found) == OBJECTS for found in lists)
    assert len(made) == 1


async def test_a_list_shows_a_write_that_came_just_before(full: LocalCluster) -> None:
    assert len(await names(full)) == OBJECTS
    await full.client.create(config_map("new"))
    assert "new" in await names(full)
    await full.client.delete(core_v1.ConfigMap, "new", "default")
    assert "new" not in await names(full)


async def test_lists_that_nobody_reads_take_little_and_end(full: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 0.5)
    writers = [await silent(full, MAPS) for _ in range(30)]
    await full.eventually(lambda: unread(full) > 0)
    assert unread(full) < 30 * (256 << 10)
    await full.eventually(lambda: unread(full) == 0)
    for writer in writers:
        writer.transport.abort()


@pytest.mark.parametrize("since", ["", "&resourceVersion=1&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"])
async def test_watchers_that_do_not_read_take_little_and_end(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 2.0)
    writers = [await silent(full, f"{MAPS}?watch=1&allowWatchBookmarks=1{since}") for _ in range(30)]
    await full.eventually(lambda: full.server.server.reader.watchers == 30)
    assert unread(full) < 30 * (256 << 10)
    await full.eventually(lambda: full.server.server.reader.watchers == 0)
    for writer in writers:
        writer.transport.abort()


async def test_a_watcher_that_stops_reading_changes_is_let_go(full: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.5)
    writer = await silent(full, f"{MAPS}?watch=1&resourceVersion={full.server.store.revision}")
    await full.eventually(lambda: full.server.server.reader.watchers == 1)
    for number in range(2):
        await asyncio.gather(*(
            full.client.patch(core_v1.ConfigMap, f"c{n:03}", {"data": {"n": str(number)}}, "default") for n in range(OBJECTS)
        ))  # fmt: skip
        assert unread(full) < 256 << 10
    await full.eventually(lambda: full.server.server.reader.watchers == 0)
    writer.transport.abort()


async def test_a_watcher_that_reads_slowly_misses_nothing(full: LocalCluster) -> None:
    reader, writer = await slow_connection(full)
    target = f"{MAPS}?watch=1&resourceVersion={full.server.store.revision}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await full.eventually(lambda: full.server.server.reader.watchers == 1)
    changes = [full.client.patch(core_v1.ConfigMap, f"c{n:03}", {"data": {"n": "1"}}, "default") for n in range(OBJECTS)]
    await asyncio.gather(*changes)
    last, received = f'"resourceVersion":"{full.server.store.revision}"'.encode(), b""
    async with asyncio.timeout(20):
        while last not in received:
            received += await reader.read(1024 if len(received) < 500_000 else 1 << 20)
    assert received.count(b'{"type":"MODIFIED"') == OBJECTS
    writer.transport.abort()
