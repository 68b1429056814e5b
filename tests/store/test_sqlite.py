"""What the durable engine must do over a restart, and when the disk fails."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tiphys.store import sqlite as module
from tiphys.store.engine import Change, StoreError, Write
from tiphys.store.sqlite import SQLiteEngine, _Commit, check_format, read_current


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SQLiteEngine]:
    made = SQLiteEngine(tmp_path / "db")
    await made.open(lambda changes: None)
    yield made
    await made.close()


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
    assert (tmp_path / "db.lock").stat().st_mode & 0o777 == 0o600
    await first.close()
    second = SQLiteEngine(tmp_path / "db")
    await second.open(lambda changes: None)
    await second.close()


async def test_a_compaction_that_fails_keeps_nothing_from_being_written(
    engine: SQLiteEngine, tmp_path: Path
) -> None:
    first = await engine.commit(Write("/a/b/x", b"1", 0))
    with sqlite3.connect(tmp_path / "db") as outside:
        outside.execute("ALTER TABLE meta RENAME TO elsewhere")
    with pytest.raises(StoreError, match="no such table"):
        await engine.compact(first)
    assert await engine.commit(Write("/a/b/x", b"2", first)) == first + 1


async def test_writes_are_made_while_an_answer_waits_for_the_event_loop(
    engine: SQLiteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    call = engine._call

    async def keeping(function: Callable[[], Any]) -> Any:
        kept.append(await call(function))  # as a busy loop keeps it for a while
        return kept[-1]

    monkeypatch.setattr(engine, "_call", keeping)
    first = await engine.commit(Write("/a/b/x", b"1", 0))
    await engine.ping()
    await engine.compact(first)
    assert len(kept) > 2
    assert await engine.commit(Write("/a/b/x", b"2", first)) == first + 1


async def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    seen: list[Change] = []
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(seen.extend)
    with sqlite3.connect(tmp_path / "db") as outside:
        outside.execute("ALTER TABLE log RENAME TO elsewhere")
    with pytest.raises(StoreError):
        await engine.commit(Write("/a/b/x", b"1", 0))
    with sqlite3.connect(tmp_path / "db") as outside:
        outside.execute("ALTER TABLE elsewhere RENAME TO log")
    assert await engine.commit(Write("/a/b/x", b"1", 0)) == 1 and len(seen) == 1
    await engine.close()


async def test_the_file_can_be_read_while_it_is_written_to(
    engine: SQLiteEngine, tmp_path: Path
) -> None:
    first = await engine.commit(Write("/a/b/x", b"1", 0))
    second = await engine.commit(Write("/a/b/x", b"2", first))
    gone = await engine.commit(Write("/a/b/y", b"1", 0))
    await engine.commit(Write("/a/b/y", None, gone))
    assert [(row.key, row.revision, row.value) for row in read_current(tmp_path / "db")] == [
        ("/a/b/x", second, b"2")
    ]
    with pytest.raises(StoreError):
        read_current(tmp_path / "nothing")


async def test_a_compaction_keeps_what_is_newer(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    revisions = [await first.commit(Write("/a/b/x", b"%d" % number)) for number in range(4)]
    await first.compact(revisions[1])
    await first.close()
    second = SQLiteEngine(tmp_path / "db")
    snapshot = await second.open(lambda changes: None)
    assert [change.revision for change in snapshot.changes] == revisions[1:]
    await second.close()


async def test_no_value_comes_back_wherever_a_compaction_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FORGOTTEN", 1)
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(lambda changes: None)
    for key in "xyx":  # x is deleted and comes again
        for value in (b"1", b"2"):
            await engine.commit(Write(key, value))
        last = await engine.commit(Write(key, None))
    last = await engine.commit(Write("x", b"3", 0))
    steps = 0

    async def goes_on_as_before() -> bool:
        nonlocal steps
        steps += 1
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"db{suffix}", tmp_path / f"copy-{steps}{suffix}")
        again = SQLiteEngine(tmp_path / f"copy-{steps}")
        snapshot = await again.open(lambda changes: None)
        live = {change.key: change.value for change in snapshot.changes}
        await again.compact(last)
        left = [(row.key, row.value) for row in read_current(tmp_path / f"copy-{steps}")]
        await again.close()
        return left == [("x", b"3")] and {key for key in live if live[key]} == {"x"}

    while await engine._call(lambda: engine._forget(last)):
        assert await goes_on_as_before()
    assert steps == 9 and await goes_on_as_before()
    await engine.close()


async def test_nothing_can_be_read_of_what_was_removed_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = SQLiteEngine(path, scrubs=True)
    await engine.open(lambda changes: None)
    secret = b"in the open" * 1000
    first = await engine.commit(Write("/a/b/x", secret, 0))
    last = await engine.commit(Write("/a/b/x", b"sealed", first))
    await engine.compact(last)
    await engine.close()
    assert b"sealed" in path.read_bytes() and b"in the open" not in path.read_bytes()


async def test_values_that_somebody_wrote_as_text_are_read_as_bytes(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    await first.close()
    with sqlite3.connect(tmp_path / "db") as outside:
        outside.execute("INSERT INTO log VALUES (1, '/a/b/x', 'text', 0), (2, '/a/b/y', 7, 0)")
        outside.execute("INSERT INTO log VALUES (3, '/a/b/y', NULL, 2)")
    second = SQLiteEngine(tmp_path / "db")
    snapshot = await second.open(lambda changes: None)
    assert snapshot.changes == [
        Change(1, "/a/b/x", b"text", 0),
        Change(2, "/a/b/y", b"7", 0),
        Change(3, "/a/b/y", None, 2),
    ]
    await second.close()


async def test_a_file_that_another_process_closes_soon_is_waited_for(tmp_path: Path) -> None:
    first = SQLiteEngine(tmp_path / "db")
    await first.open(lambda changes: None)
    second = SQLiteEngine(tmp_path / "db", patience=10)
    opening = asyncio.ensure_future(second.open(lambda changes: None))
    await asyncio.sleep(0)
    assert not opening.done()
    assert await first.commit(Write("/a/b/x", b"1")) == 1, "the loop goes on meanwhile"
    await first.close()
    assert (await opening).revision == 1
    await second.close()


async def test_a_file_that_nobody_closes_is_waited_for_so_long(
    engine: SQLiteEngine, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(StoreError, match="in use by another process"):
        await SQLiteEngine(tmp_path / "db", patience=0.05).open(lambda changes: None)
    assert loop.time() - began >= 0.05


@pytest.mark.parametrize(
    ("version", "words"), [(0, ""), (1, ""), (2, "has format 2, and this release knows 1")]
)
def test_a_format_of_a_later_release_is_refused(tmp_path: Path, version: int, words: str) -> None:
    with sqlite3.connect(tmp_path / "db") as outside:
        outside.execute(f"PRAGMA user_version={version}")
        outside.execute("CREATE TABLE any (n)")
    if not words:
        check_format(tmp_path / "db")
        return
    with pytest.raises(StoreError, match=words):
        check_format(tmp_path / "db")


def test_what_is_no_database_has_no_format(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"x" * 4096)
    with pytest.raises(StoreError, match="db: file is not a database"):
        check_format(tmp_path / "db")


async def test_a_ping_is_answered_by_the_file(engine: SQLiteEngine, tmp_path: Path) -> None:
    await engine.ping()
    assert not engine.lags()
    await engine._call(lambda: engine._db.close())
    with pytest.raises(StoreError, match="closed database"):
        await engine.ping()
    engine._db = sqlite3.connect(tmp_path / "db", check_same_thread=False)


async def test_an_error_of_what_is_called_is_its_callers(engine: SQLiteEngine) -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await engine._call(fail)
    await engine.ping()


async def test_who_no_longer_waits_is_not_called_for(engine: SQLiteEngine) -> None:
    called: list[bool] = []
    question = asyncio.ensure_future(engine._call(lambda: called.append(True)))
    write = asyncio.ensure_future(engine.commit(Write("/a/b/x", b"1")))
    held = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_soon(held.set)
    await held.wait()
    question.cancel()
    write.cancel()
    assert await engine.commit(Write("/a/b/y", b"1")) == 2, "a write that was begun is made"
    await engine.ping()


async def job(number: int) -> _Commit:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    return _Commit(Write(f"/a/b/{number}", b"1"), future)


async def test_writes_that_wait_share_a_commit_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUP", 3)
    engine = SQLiteEngine(tmp_path / "db")
    jobs = [await job(number) for number in range(5)]
    for waiting in jobs[1:]:
        engine._jobs.put(waiting)
    assert engine._group(jobs[0]) == (jobs[:3], module._NO_JOB)
    engine._jobs.put(None)
    assert engine._group(engine._jobs.get()) == (jobs[3:], None), "what is no write ends a group"
    assert engine._group(jobs[0]) == ([jobs[0]], module._NO_JOB)


async def test_writes_and_questions_are_done_in_the_order_in_which_they_came(
    engine: SQLiteEngine,
) -> None:
    order: list[int] = []
    asking = [
        asyncio.ensure_future(
            engine._call(lambda: order.append(engine._revision))
            if number % 3 == 0
            else engine.commit(Write(f"/a/b/{number}", b"1"))
        )
        for number in range(10)
    ]
    await asyncio.gather(*asking)
    assert order == [0, 2, 4, 6]


async def test_a_conflict_inside_a_group_is_with_what_the_group_has_written(
    tmp_path: Path,
) -> None:
    seen: list[Change] = []
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(seen.extend)
    writes = [
        Write("/a/b/x", b"1", 0),
        Write("/a/b/x", b"2", 0),
        Write("/a/b/x", None, 1),
        Write("/a/b/x", None, None),
        Write("/a/b/x", b"3", 0),
    ]
    commits = [_Commit(write, asyncio.get_running_loop().create_future()) for write in writes]
    await engine._call(lambda: engine._commit_group(commits))
    results = await asyncio.gather(*(one.future for one in commits), return_exceptions=True)
    assert [getattr(result, "current", result) for result in results] == [1, 1, 2, 0, 3]
    assert [(change.revision, change.previous) for change in seen] == [(1, 0), (2, 1), (3, 0)]
    assert await engine.barrier() == 3
    await engine.close()


async def test_history_of_what_was_deleted_goes_with_it(tmp_path: Path) -> None:
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(lambda changes: None)
    first = await engine.commit(Write("/a/b/x", b"1"))
    gone = await engine.commit(Write("/a/b/x", None, first))
    kept = await engine.commit(Write("/a/b/y", b"1"))
    await engine.compact(first)
    rows = [row.revision for row in (await engine._call(engine._load)).changes]
    assert rows == [first, gone, kept]
    await engine.compact(gone)
    assert [row.revision for row in (await engine._call(engine._load)).changes] == [kept]
    await engine.close()


async def test_free_pages_are_given_back_in_steps_and_a_quarter_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FREED", 10)
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(lambda changes: None)
    for number in range(10):
        await engine.commit(Write(f"/a/b/{number}", b"x" * 40_000))

    def pages() -> tuple[int, int]:
        [[count]] = engine._db.execute("PRAGMA page_count")
        [[free]] = engine._db.execute("PRAGMA freelist_count")
        return count, free

    assert not await engine._call(engine._shrink), "nothing is free"
    await engine._call(lambda: engine._db.execute("DELETE FROM log WHERE revision > 4"))
    seen = [await engine._call(pages)]
    while await engine._call(engine._shrink):
        seen.append(await engine._call(pages))
    seen.append(await engine._call(pages))
    given_back = [before[0] - after[0] for before, after in pairwise(seen)]
    assert len(given_back) > 2 and set(given_back[:-1]) == {10} and 0 < given_back[-1] <= 10
    assert seen[-1][1] == seen[-2][0] // 4
    await engine.close()


async def test_the_file_shrinks_when_what_was_in_it_is_removed(tmp_path: Path) -> None:
    engine = SQLiteEngine(tmp_path / "db")
    await engine.open(lambda changes: None)
    for _ in range(20):
        last = await engine.commit(Write("/a/b/x", b"x" * 100_000))
    await engine.compact(last)
    assert (tmp_path / "db").stat().st_size < 400_000
    assert (tmp_path / "db-wal").stat().st_size == 0
    await engine.close()
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
