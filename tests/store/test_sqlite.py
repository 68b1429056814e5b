"""What the durable engine must do over a restart, and when the disk fails."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tiphys.store.engine import Change, StoreError, Write
from tiphys.store.sqlite import SQLiteEngine, read_current


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
