"""The contract kit over every engine, and what a durable engine must do over a restart."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.kit import CHECKS
from tiphys.store.cache import Expired, Filter
from tiphys.store.engine import Change, Engine, StoreError, Write
from tiphys.store.memory import MemoryEngine
from tiphys.store.sqlite import SQLiteEngine
from tiphys.store.store import Store


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real etcd."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    folder = tmp_path_factory.mktemp("etcd")
    command = [
        "etcd",
        "--data-dir",
        str(folder),
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
        client,
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        f"default={peer}",
        "--log-level",
        "error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", ports[0])) == 0:
                break
    yield f"127.0.0.1:{ports[0]}"
    process.kill()
    process.wait()


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Engine, list[Change]]]:
    seen: list[Change] = []
    made: Any
    if request.param == "memory":
        made = MemoryEngine()
    elif request.param == "sqlite":
        made = SQLiteEngine(tmp_path / "db")
    else:
        from tiphys.store.etcd import EtcdEngine

        made = EtcdEngine([request.getfixturevalue("etcd")], prefix=f"/{tmp_path.name}")
    await made.open(lambda changes: seen.extend(changes))
    yield made, seen
    await made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
async def test_contract(engine: tuple[Engine, list[Change]], check: Any) -> None:
    await check(*engine)


async def test_sqlite_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    a = await first.commit(Write("/a/b/x", b"1", 0))
    b = await first.commit(Write("/a/b/x", b"2", a))
    c = await first.commit(Write("/a/b/y", b"1", 0))
    d = await first.commit(Write("/a/b/y", None, c))
    await first.close()
    second = SQLiteEngine(tmp_path / "db")
    snapshot = await second.open(lambda changes: None)
    assert [(x.revision, x.value) for x in snapshot.changes] == [
        (a, b"1"),
        (b, b"2"),
        (c, b"1"),
        (d, None),
    ]
    await second.compact(d)
    assert await second.commit(Write("/a/b/z", b"1", 0)) == d + 1
    await second.close()
    third = SQLiteEngine(tmp_path / "db")
    snapshot = await third.open(lambda changes: None)
    assert [(x.key, x.value) for x in snapshot.changes] == [("/a/b/x", b"2"), ("/a/b/z", b"1")]
    assert (snapshot.revision, snapshot.compacted) == (d + 1, d)
    await third.close()


async def test_a_compacted_last_deletion_does_not_give_its_revision_again(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    a = await first.commit(Write("/a/b/x", b"1", 0))
    gone = await first.commit(Write("/a/b/x", None, a))
    await first.compact(gone)
    await first.close()
    second = SQLiteEngine(tmp_path / "db")
    await second.open(lambda changes: None)
    assert await second.commit(Write("/a/b/x", b"2", 0)) == gone + 1
    await second.close()


async def test_one_file_has_one_owner(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    with pytest.raises(StoreError, match="in use"):
        await SQLiteEngine(tmp_path / "db").open(lambda changes: None)
    await first.close()


async def test_a_key_of_etcd_ends_with_its_lease(etcd: str, tmp_path: Path) -> None:
    from tiphys.store.etcd import EtcdEngine

    ended = asyncio.Event()

    def listen(changes: Any) -> None:
        if any(change.value is None for change in changes):
            ended.set()

    engine = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    await engine.open(listen)
    await engine.commit(Write("/a/b/short", b"1", 0, 3600))
    first = await engine._leases.of(3600)
    await engine.commit(Write("/a/b/other", b"1", 0))
    assert await engine._leases.of(3600) == first, (
        "keys written at about the same time share a lease"
    )
    await engine._leases.end(first)
    async with asyncio.timeout(10):
        await ended.wait()
    assert list(engine._live) == ["/a/b/other"]
    await engine.close()


async def stored(etcd: str, prefix: str) -> Store:
    from tiphys.store.etcd import EtcdEngine

    made = Store(EtcdEngine([etcd], prefix=prefix))
    await made.open()
    return made


async def test_watches_resume_over_a_restart_as_far_as_etcd_remembers(
    etcd: str, tmp_path: Path
) -> None:
    first = await stored(etcd, f"/{tmp_path.name}")
    cache = first.cache("/a/b/")
    made = await first.put(cache, "/a/b/x", b'{"metadata":{"name":"x"}}', 0)
    changed = await first.put(
        cache, "/a/b/x", b'{"metadata":{"name":"x","uid":"1"}}', made.revision
    )
    gone = await first.delete("/a/b/x", changed.revision)
    await first.close()

    second = await stored(etcd, f"/{tmp_path.name}")
    watcher = second.cache("/a/b/").watch(Filter("/a/b/"), made.revision, lambda: None)
    seen = [
        (event.revision, event.entry is None)
        for event in second.cache("/a/b/").events
        if event.revision > made.revision
    ]
    assert watcher.behind and seen == [(changed.revision, False), (gone, True)]
    await second.compact(changed.revision)
    await second.close()

    third = await stored(etcd, f"/{tmp_path.name}")
    with pytest.raises(Expired):
        third.cache("/a/b/").watch(Filter("/a/b/"), made.revision, lambda: None)
    third.cache("/a/b/").watch(Filter("/a/b/"), changed.revision, lambda: None)
    assert third.cache("/a/b/").get("/a/b/x") is None and third.revision >= gone
    await third.close()
