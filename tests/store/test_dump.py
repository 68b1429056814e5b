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


# --- files ---


def row(revision: int, key: str, seconds: int = 0) -> dump.Row:
    return dump.Row(revision, key, OBJECT, seconds)


def test_two_keys_of_one_revision_get_one_each(tmp_path: Path) -> None:
    """One transaction of somebody else may have written both."""
    rows = [row(3, "/a/b/x"), row(3, "/a/b/y", 60), row(4, "/a/b/z"), row(3, "/a/b/w")]
    assert dump.write_rows(tmp_path / "dump", rows, 9) == dump.Dump(11, 4)
    assert [(one.revision, one.key, one.seconds) for one in dump.rows_of(tmp_path / "dump")] == [
        (3, "/a/b/x", 0),
        (4, "/a/b/z", 0),
        (10, "/a/b/y", 60),
        (11, "/a/b/w", 0),
    ]
    assert dump.revision_of(tmp_path / "dump") == 11
    assert (tmp_path / "dump").stat().st_mode & 0o777 == 0o600


def test_a_dump_of_nothing_has_a_revision_too(tmp_path: Path) -> None:
    assert dump.write_rows(tmp_path / "dump", [], 9) == dump.Dump(9, 0)
    assert dump.to_sqlite(tmp_path / "dump", tmp_path / "db", 5) == dump.Dump(14, 0)


def broken(path: Path) -> Path:
    path.write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    return path


def test_what_is_no_dump_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    file, target = broken(tmp_path / "dump"), tmp_path / "db"
    for read in (
        lambda: dump.from_sqlite(file, target),
        lambda: dump.to_sqlite(file, target, 0),
        lambda: dump.rows_of(file),
        lambda: dump.revision_of(file),
        lambda: dump.revision_of(tmp_path / "nothing"),
    ):
        with pytest.raises(StoreError, match=str(tmp_path)):
            read()
    assert not target.exists()


def test_a_dump_without_a_revision_is_no_dump(tmp_path: Path) -> None:
    dump.write_rows(tmp_path / "dump", [], 9)
    with sqlite3.connect(tmp_path / "dump") as database:
        database.execute("DELETE FROM meta")
    with pytest.raises(StoreError, match="dump: "):
        dump.revision_of(tmp_path / "dump")


def test_a_dump_that_is_damaged_is_not_restored(tmp_path: Path) -> None:
    dump.write_rows(tmp_path / "dump", [row(1, "/a/b/x")], 1)
    with sqlite3.connect(tmp_path / "dump") as database:
        database.execute("PRAGMA ignore_check_constraints=ON")
        database.execute("CREATE TABLE rule (n INTEGER CHECK (n > 0))")
        database.execute("INSERT INTO rule VALUES (0)")
    with pytest.raises(StoreError, match="is damaged: CHECK constraint failed in rule"):
        dump.to_sqlite(tmp_path / "dump", tmp_path / "db", 0)
    assert not (tmp_path / "db").exists()


async def test_a_restored_file_is_an_engines_and_nothing_of_before_is_left(tmp_path: Path) -> None:
    folder(tmp_path, "old")
    await filled("sqlite", tmp_path)
    dumped_keys = dump.from_sqlite(tmp_path / "db", tmp_path / "dump")
    for name in ("db.new", "db-wal", "db-shm"):
        (tmp_path / name).write_text("of before")
    done = dump.to_sqlite(tmp_path / "dump", tmp_path / "db", 100)
    assert done == dump.Dump(dumped_keys.revision + 100, 2)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "db",
        "db.lock",
        "dump",
    ]
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "db") as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert "lifetime" not in tables
        meta = dict(database.execute("SELECT name, value FROM meta"))
    assert meta == {"compacted": done.revision, "revision": done.revision}


async def test_many_keys_of_etcd_are_read_in_pages(
    etcd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_PAGE", 2)
    monkeypatch.setattr(dump, "_AT_ONCE", 2)
    rows = [row(number + 1, f"/a/b/{number}") for number in range(5)]
    dump.write_rows(tmp_path / "dump", rows, 9)
    root = folder(tmp_path, "new")
    done = await loaded(etcd, root, tmp_path / "dump", 1000)
    assert done.keys == 5 and done.revision >= 1009
    again = await dumped(etcd, root, tmp_path / "again")
    assert again.keys == 5 and again.revision >= done.revision
    keys = {one.key for one in dump.rows_of(tmp_path / "again")}
    assert keys == {one.key for one in rows}


async def test_an_etcd_that_does_not_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.store.etcd._TIMEOUT", 0.05)
    dump.write_rows(tmp_path / "dump", [], 9)
    copy = dump.EtcdCopy(["127.0.0.1:1"], "/p")
    with pytest.raises(StoreError, match=r"etcd at ipv4:127\.0\.0\.1:1: "):
        await copy.dump(tmp_path / "target")
    assert not (tmp_path / "target").exists()
