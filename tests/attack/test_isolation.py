"""One account's rush, clients that do not read, a store that stands still: what others notice of
it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import sqlite3
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.apiserver import main
from tiphys.apiserver.http import bulk, pages, watching
from tiphys.machinery.errors import StatusError
from tiphys.store import store
from tiphys.store.engine import Write
from tiphys.store.memory import MemoryEngine
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
    """The longest that the event loop was held while this was open. The attackers are in other
    processes."""

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
    return aiohttp.ClientSession(
        server.url, connector=aiohttp.TCPConnector(ssl=tls, limit=0), auto_decompress=False
    )


async def slow_connection(
    server: LocalCluster,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that takes a few kilobytes at a time."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    tls = server.client.config.ssl_context()
    return await asyncio.open_connection(
        sock=plain, ssl=tls, server_hostname="localhost", limit=1024
    )


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


async def test_equal_lists_at_one_revision_are_made_once(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    pack = bulk.compressed
    monkeypatch.setattr(bulk, "_KEPT", 60.0)  # on a busy machine a second passes between two
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


async def test_lists_that_nobody_reads_take_little_and_end(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 0.5)
    writers = [await silent(full, MAPS) for _ in range(30)]
    await full.eventually(lambda: unread(full) > 0)
    assert unread(full) < 30 * (256 << 10)
    await full.eventually(lambda: unread(full) == 0)
    for writer in writers:
        writer.transport.abort()


INITIAL = ["", "&resourceVersion=1&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"]


@pytest.mark.parametrize("since", INITIAL)
async def test_watchers_that_do_not_read_take_little(full: LocalCluster, since: str) -> None:
    writers = [
        await silent(full, f"{MAPS}?watch=1&allowWatchBookmarks=1{since}") for _ in range(20)
    ]
    await full.eventually(lambda: full.server.server.reader.watches.requests == 20)
    await full.eventually(lambda: unread(full) > 0)
    assert unread(full) < 20 * (256 << 10)
    for writer in writers:
        writer.transport.abort()


@pytest.mark.parametrize("since", INITIAL)
async def test_a_watcher_that_reads_nothing_is_let_go(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 0.5)
    writer = await silent(full, f"{MAPS}?watch=1&allowWatchBookmarks=1{since}")
    await full.eventually(lambda: full.server.server.reader.watches.requests == 1)
    await full.eventually(lambda: full.server.server.reader.watches.requests == 0)
    assert unread(full) == 0
    writer.transport.abort()


async def test_a_watcher_that_stops_reading_changes_is_let_go(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.5)
    writer = await silent(full, f"{MAPS}?watch=1&resourceVersion={full.server.store.revision}")
    await full.eventually(lambda: full.server.server.reader.watches.requests == 1)
    for number in range(2):
        await asyncio.gather(
            *(
                full.client.patch(
                    core_v1.ConfigMap, f"c{n:03}", {"data": {"n": str(number)}}, "default"
                )
                for n in range(OBJECTS)
            )
        )
        assert unread(full) < 256 << 10
    await full.eventually(lambda: full.server.server.reader.watches.requests == 0)
    writer.transport.abort()


async def test_a_watcher_that_reads_slowly_misses_nothing(full: LocalCluster) -> None:
    tls = full.client.config.ssl_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", full.port, ssl=tls, limit=1 << 16)
    target = f"{MAPS}?watch=1&resourceVersion={full.server.store.revision}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await full.eventually(lambda: full.server.server.reader.watches.requests == 1)
    changes = [
        full.client.patch(core_v1.ConfigMap, f"c{n:03}", {"data": {"n": "1"}}, "default")
        for n in range(OBJECTS)
    ]
    await asyncio.gather(*changes)
    await full.eventually(lambda: unread(full) > 0)  # more than the client has asked for so far
    last, received = f'"resourceVersion":"{full.server.store.revision}"'.encode(), bytearray()
    async with asyncio.timeout(60):
        while last not in received[-200_000:]:
            received += await reader.read(1 << 20)
    assert received.count(b'{"type":"MODIFIED"') == OBJECTS
    writer.transport.abort()


async def test_a_watcher_whose_client_is_gone_is_forgotten(server: LocalCluster) -> None:
    writer = await silent(server, f"{MAPS}?watch=1")
    await server.eventually(lambda: server.server.server.reader.watches.requests == 1)
    writer.transport.abort()
    await server.eventually(lambda: server.server.server.reader.watches.requests == 0)


async def test_a_bookmark_promises_only_what_was_sent(
    full: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BOOKMARK", 0.1)
    tls = full.client.config.ssl_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", full.port, ssl=tls, limit=1 << 16)
    target = f"{MAPS}?watch=1&allowWatchBookmarks=1&resourceVersion={full.server.store.revision}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await full.eventually(lambda: full.server.server.reader.watches.requests == 1)
    changes = [
        full.client.patch(core_v1.ConfigMap, f"c{n:03}", {"data": {"n": "1"}}, "default")
        for n in range(OBJECTS)
    ]
    await asyncio.gather(*changes)
    await full.eventually(lambda: unread(full) > 0)  # more than the client has asked for so far
    last, received = full.server.store.revision, bytearray()
    async with asyncio.timeout(60):
        while (
            b'"BOOKMARK"' not in received[-500:]
            or f'"resourceVersion":"{last}"'.encode() not in received[-500:]
        ):
            received += await reader.read(1 << 20)
    events = [
        int(found)
        for found in re.findall(rb'"(?:MODIFIED|BOOKMARK)".*?"resourceVersion":"(\d+)"', received)
    ]
    assert events == sorted(events)
    assert len(events) > OBJECTS
    writer.transport.abort()


# --- a store that stands still, or holds what is no object ---


class Frozen(MemoryEngine):
    """A store that can be made to stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = asyncio.Event()
        self.runs.set()

    async def ping(self) -> None:
        await self.runs.wait()

    async def commit(self, write: Write) -> int:
        await self.runs.wait()
        return await super().commit(write)


async def health(server: LocalCluster, path: str) -> tuple[int, str]:
    async with session(server) as client, client.get(path) as answer:
        return answer.status, (await answer.read()).decode()


async def test_checks_and_writes_say_that_the_store_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Frozen()
    monkeypatch.setattr(main, "engine_of", lambda options: engine)
    monkeypatch.setattr(pages, "_CHECK", 0.2)
    monkeypatch.setattr(store, "DEADLINE", 0.3)
    async with LocalCluster() as server:
        assert (await health(server, "/readyz"))[0] == 200
        engine.runs.clear()
        status, text = await health(server, "/readyz?verbose")
        assert status == 500 and "[-]etcd failed: reason withheld" in text and "[+]ping ok" in text
        assert [
            (await health(server, f"/{path}"))[0]
            for path in ("livez", "readyz/etcd", "readyz/ping")
        ] == [500, 500, 200]
        with pytest.raises(StatusError) as late:
            await server.client.create(config_map("c"))
        assert (late.value.code, late.value.reason) == (504, "Timeout")
        engine.runs.set()
        assert (await health(server, "/readyz"))[0] == 200


BROKEN = {
    "truncated": b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"bad","namespace":"default"},"data":{"a":"b',
    "binary": bytes(range(256)),
    "not utf-8": b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"bad"},"data":{"a":"\xff\xfe"}}',
    "empty": b"",
    "no object": b"[1,2]",
    "text": "garbage",
}
KEY = "/core/configmaps/default/bad"


async def spoilt(root: Path, value: bytes | str) -> None:
    """A cluster's file with one good object and one of which `value` is left."""
    async with LocalCluster(store="sqlite", root=root) as server:
        await server.client.create(config_map("good"))
        await server.client.create(config_map("bad"))
    with sqlite3.connect(root / "state.db") as database:
        changed = database.execute("UPDATE log SET value = ? WHERE key = ?", (value, KEY))
        assert changed.rowcount == 1
    database.close()


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_object_is_named_and_can_be_removed(
    tmp_path: Path, value: bytes | str
) -> None:
    await spoilt(tmp_path, value)
    async with LocalCluster(store="sqlite", root=tmp_path) as server:
        client = server.client
        assert (await client.get(core_v1.ConfigMap, "good", "default")).metadata.name == "good"
        with pytest.raises(StatusError, match=f"corrupt object, Code: 7, Key: {KEY}") as one:
            await client.get(core_v1.ConfigMap, "bad", "default")
        assert (one.value.code, one.value.reason) == (500, "InternalError")
        with pytest.raises(
            StatusError, match="failed to read one or more configmaps from the storage"
        ) as many:
            await client.list(core_v1.ConfigMap, "default")
        assert (many.value.code, many.value.reason) == (500, "StorageReadError")
        assert [cause.field for cause in many.value.status.details.causes] == [KEY]  # type: ignore[union-attr]
        assert (await client.list(core_v1.ConfigMap, "kube-system")).items is not None
        options = {"ignoreStoreReadErrorWithClusterBreakingPotential": True}
        await client.request("DELETE", f"{MAPS}/bad", json.dumps(options).encode())
        assert [
            c.metadata.name for c in (await client.list(core_v1.ConfigMap, "default")).items
        ] == ["good"]
        with pytest.raises(StatusError, match="exclusively used to delete corrupt object"):
            await client.request("DELETE", f"{MAPS}/good", json.dumps(options).encode())


@pytest.mark.needs("etcd")
async def test_a_watch_ends_with_an_error_when_what_comes_is_no_object(etcd: str) -> None:
    from tiphys.store.etcd import EtcdEngine

    stranger = EtcdEngine([etcd])
    async with LocalCluster(store=f"http://{etcd}") as server:
        await stranger.open(lambda changes: None)
        made = await server.client.create(config_map("bad"))
        seen = asyncio.ensure_future(_error_of_watch(server, made.metadata.resource_version))
        await server.eventually(lambda: server.server.server.reader.watches.requests == 1)
        await stranger.commit(Write(KEY, b'{"metadata":{"na'))
        error = await seen
        assert error.reason == "StorageReadError" and KEY in error.status.details.causes[0].message  # type: ignore[union-attr]
        await stranger.commit(Write(KEY, None))
        await server.eventually(lambda: not server.server.store.cache("/core/configmaps/").corrupt)
        assert await server.client.list(core_v1.ConfigMap, "default")
    await stranger.close()


async def _error_of_watch(server: LocalCluster, revision: str) -> StatusError:
    with pytest.raises(StatusError) as error:
        async for _ in server.client.watch(core_v1.ConfigMap, "default", revision=revision):
            pass
    return error.value
