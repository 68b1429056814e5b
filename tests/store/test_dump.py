"""The live keys of an engine in a file, and back: from each engine into each."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tiphys.store import dump
from tiphys.store.cache import Expired, Filter
from tiphys.store.engine import Conflict, StoreError, Write
from tiphys.store.etcd import EtcdEngine
from tiphys.store.sqlite import SQLiteEngine
from tiphys.store.store import Store

OBJECT = b'{"metadata":{"name":"x"}}'


def ignore(changes: Any) -> None:
    pass


def engine_at(place: Any, root: Path) -> Any:
    return SQLiteEngine(root / "db") if place == "sqlite" else EtcdEngine([place], f"/{root.name}")


async def filled(place: Any, root: Path) -> dict[str, int]:
    """Three keys, one of them written twice, and one that is gone. Their revisions by key."""
    engine = engine_at(place, root)
    await engine.open(ignore)
    first = await engine.commit(Write("/core/events/a", OBJECT, 0, 3600))
    again = await engine.commit(Write("/core/events/a", OBJECT + b" ", first, 3600))
    other = await engine.commit(Write("/core/pods/b", OBJECT, 0))
    gone = await engine.commit(Write("/core/pods/gone", OBJECT, 0))
    last = await engine.commit(Write("/core/pods/gone", None, gone))
    await engine.close()
    return {"/core/events/a": again, "/core/pods/b": other, "": last}


async def dumped(place: Any, root: Path, target: Path) -> dump.Dump:
    if place == "sqlite":
        return dump.from_sqlite(root / "db", target)
    return await dump.EtcdCopy([place], f"/{root.name}").dump(target)


async def loaded(place: Any, root: Path, source: Path, bump: int = 0) -> dump.Dump:
    if place == "sqlite":
        return dump.to_sqlite(source, root / "db", bump)
    return await dump.EtcdCopy([place], f"/{root.name}").fill(source, bump)


@pytest.fixture(params=["sqlite", "etcd"])
def source(request: pytest.FixtureRequest) -> Any:
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("etcd")


@pytest.fixture(params=["sqlite", "etcd"])
def target(request: pytest.FixtureRequest) -> Any:
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("etcd")


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / f"{tmp_path.name}-{name}"
    made.mkdir()
    return made


async def test_what_is_live_moves_between_engines_and_no_revision_is_given_again(
    source: Any, target: Any, tmp_path: Path
) -> None:
    old, new = folder(tmp_path, "old"), folder(tmp_path, "new")
    written = await filled(source, old)
    done = await dumped(source, old, tmp_path / "dump")
    assert (done.keys, done.revision >= written[""]) == (2, True)
    await loaded(target, new, tmp_path / "dump")
    engine = engine_at(target, new)
    snapshot = await engine.open(ignore)
    assert {c.key: c.value for c in snapshot.changes} == {
        "/core/events/a": OBJECT + b" ",
        "/core/pods/b": OBJECT,
    }
    if target == "sqlite":
        assert {c.key: c.revision for c in snapshot.changes} == {
            key: revision for key, revision in written.items() if key
        }
    else:
        assert min(c.revision for c in snapshot.changes) > written[""]
    assert await engine.commit(Write("/core/pods/c", OBJECT, 0)) > done.revision
    await engine.close()


async def test_an_old_revision_conflicts_and_a_new_one_is_taken(
    target: Any, tmp_path: Path
) -> None:
    old, new = folder(tmp_path, "old"), folder(tmp_path, "new")
    written = await filled("sqlite", old)
    await dumped("sqlite", old, tmp_path / "dump")
    await loaded(target, new, tmp_path / "dump", 1000)
    engine = engine_at(target, new)
    await engine.open(ignore)
    with pytest.raises(Conflict) as conflict:
        await engine.commit(Write("/core/pods/b", OBJECT, written["/core/events/a"]))
    assert await engine.commit(Write("/core/pods/b", OBJECT, conflict.value.current)) > 1000
    assert await engine.barrier() > 1000
    with pytest.raises(Conflict):
        await engine.commit(Write("/core/pods/b", OBJECT, 0))
    await engine.close()


async def test_watches_from_before_a_restore_expire_and_later_ones_go_on(
    target: Any, tmp_path: Path
) -> None:
    old, new = folder(tmp_path, "old"), folder(tmp_path, "new")
    written = await filled("sqlite", old)
    await dumped("sqlite", old, tmp_path / "dump")
    await loaded(target, new, tmp_path / "dump", dump.BUMP)
    store = Store(engine_at(target, new))
    await store.open()
    pods = store.cache("/core/pods/")
    for revision in (written["/core/pods/b"], written[""], written[""] + 100):
        with pytest.raises(Expired):
            pods.watch(Filter("/core/pods/"), revision, lambda: None)
    watcher = pods.watch(Filter("/core/pods/"), store.revision, lambda: None)
    made = await store.put(pods, "/core/pods/c", OBJECT, 0)
    assert [event.revision for _, event in watcher.take()] == [made.revision]
    await store.compact(made.revision)
    await store.close()


async def test_what_ends_by_itself_still_does(etcd: str, tmp_path: Path) -> None:
    old, new = folder(tmp_path, "old"), folder(tmp_path, "new")
    await filled(etcd, old)
    await dumped(etcd, old, tmp_path / "dump")
    seconds = {row.key: row.seconds for row in dump.rows_of(tmp_path / "dump")}
    assert 3500 < seconds["/core/events/a"] < 4000 and seconds["/core/pods/b"] == 0
    await loaded(etcd, new, tmp_path / "dump")
    await dumped(etcd, new, tmp_path / "again")
    again = {row.key: row.seconds for row in dump.rows_of(tmp_path / "again")}
    assert 3500 < again["/core/events/a"] < 4500 and again["/core/pods/b"] == 0


async def test_a_dump_is_of_one_moment_while_writes_go_on(source: Any, tmp_path: Path) -> None:
    """Each write of `b` follows one of `a` with the same number: no moment has b ahead of a."""
    root = folder(tmp_path, "old")
    engine = engine_at(source, root)
    await engine.open(ignore)
    written = asyncio.Event()

    async def write() -> None:
        for number in range(100_000):
            for key in ("/core/pods/a", "/core/pods/b"):
                await engine.commit(Write(key, b"%d" % number))
            written.set()

    writer = asyncio.ensure_future(write())
    await written.wait()
    for attempt in range(5):
        target = tmp_path / f"dump{attempt}"
        if source == "sqlite":
            await asyncio.to_thread(dump.from_sqlite, root / "db", target)
        else:
            await dumped(source, root, target)
        a, b = sorted(dump.rows_of(target), key=lambda row: row.key)
        assert int(b.value) <= int(a.value) <= int(b.value) + 1
    writer.cancel()
    await engine.close()


async def test_an_etcd_with_keys_of_ours_is_not_written_over(etcd: str, tmp_path: Path) -> None:
    root = folder(tmp_path, "old")
    await filled(etcd, root)
    await dumped(etcd, root, tmp_path / "dump")
    with pytest.raises(StoreError, match="has 2 keys"):
        await loaded(etcd, root, tmp_path / "dump")


async def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    await filled("sqlite", tmp_path)
    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="a newer release has written it"):
        await SQLiteEngine(tmp_path / "db").open(ignore)
    with pytest.raises(StoreError, match="a newer release"):
        dump.from_sqlite(tmp_path / "db", tmp_path / "dump")
