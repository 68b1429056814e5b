"""The default engine: one SQLite file, one writer thread, group commit with a real fsync.

The file holds one log, a row per write. A key's last row is its value; older rows are history, kept so that a
watcher can resume over a restart, until compaction removes them. Keys and their revisions are kept in memory by the
writer thread, so a write costs one INSERT and no look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tiphys.store.engine import Change, Conflict, Listener, Snapshot, StoreError, Write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, previous INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_GROUP = 512  # writes that share one commit at the most: bounds how long the first of them waits

_Job = tuple[Write, "asyncio.Future[int]"] | Callable[[], Any] | None


def read_current(path: Path) -> list[Change]:
    """What stands under each key of a file, which another process may be writing to. Raises StoreError."""
    rows = "SELECT * FROM log WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) AND value IS NOT NULL"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [_change(row) for row in database.execute(rows)]
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from None


def _change(row: tuple[int, Any, Any, int]) -> Change:
    """A row as a change, whatever stands there: a stranger's hand may have left text."""
    revision, key, value, previous = row
    return Change(
        revision,
        str(key),
        value if value is None or isinstance(value, bytes) else str(value).encode(),
        previous,
    )


class SQLiteEngine:
    """`path` is the database file; its folder must exist. Only one process may have it open."""

    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._revision = 0  # of the writer thread
        self._published = 0
        self._compacted = 0
        self._current: dict[str, int] = {}
        self._stale: list[
            tuple[int, int]
        ] = []  # (revision of the row that replaced it, stale row's revision)

    # --- on the event loop ---

    async def open(self, listener: Listener) -> Snapshot:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StoreError(f"{self._path} is in use by another process") from None
        self._thread.start()
        snapshot: Snapshot = await self._ask(self._load)
        self._published = snapshot.revision
        return snapshot

    async def commit(self, write: Write) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put((write, future))
        return await future

    async def ping(self) -> None:
        await self._ask(lambda: self._db.execute("SELECT 1"))

    async def barrier(self) -> int:
        return self._published  # what is on disk and not yet published is not acknowledged either

    async def compact(self, revision: int) -> None:
        await self._ask(lambda: self._forget(revision))

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    async def _ask(self, job: Callable[[], Any]) -> Any:
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(job())
            except sqlite3.Error as error:
                answer.set_exception(StoreError(f"{self._path}: {error}"))

        self._jobs.put(run)
        return await asyncio.wrap_future(answer)

    # --- on the writer thread ---

    def _load(self) -> Snapshot:
        new = not self._path.exists()
        os.close(os.open(self._path, os.O_CREAT, 0o600))
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        if new:
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._compacted = self._meta("compacted")
        changes = []
        for row in self._db.execute("SELECT * FROM log ORDER BY revision"):
            changes.append(_change(row))
            self._note(changes[-1])
        # A deletion can be the last write and then be compacted away: its revision must not be given again.
        self._revision = max(self._revision, self._compacted, self._meta("revision"))
        return Snapshot(self._revision, self._compacted, changes)

    def _meta(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _note(self, change: Change) -> None:
        if change.previous:
            self._stale.append((change.revision, change.previous))
        if change.value is None:
            self._stale.append((change.revision, change.revision))
            self._current.pop(change.key, None)
        else:
            self._current[change.key] = change.revision
        self._revision = change.revision

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            group: list[tuple[Write, asyncio.Future[int]]] = []
            while isinstance(job, tuple):
                group.append(job)
                try:
                    job = self._jobs.get_nowait() if len(group) < _GROUP else _NOTHING
                except queue.Empty:
                    job = _NOTHING
            if group:
                self._write(group)
            if job is None:
                break
            job()
        with contextlib.suppress(sqlite3.Error, AttributeError):
            self._db.close()

    def _write(self, group: list[tuple[Write, asyncio.Future[int]]]) -> None:
        revision, overlay = self._revision, dict[str, int]()
        changes: list[Change] = []
        answers: list[tuple[asyncio.Future[int], int | Exception]] = []
        for write, future in group:
            current = overlay.get(write.key, self._current.get(write.key, 0))
            if (write.expected is not None and write.expected != current) or (
                write.value is None and not current
            ):
                answers.append((future, Conflict(write.key, current)))
                continue
            revision += 1
            overlay[write.key] = 0 if write.value is None else revision
            changes.append(Change(revision, write.key, write.value, current))
            answers.append((future, revision))
        try:
            self._insert(changes)
        except sqlite3.Error as error:
            failure = StoreError(f"{self._path}: {error}")
            answers = [(future, failure) for _, future in group]
            changes = []
        for change in changes:
            self._note(change)
        with contextlib.suppress(
            RuntimeError
        ):  # the loop is closed: nobody waits for an answer any more
            self._loop.call_soon_threadsafe(self._publish, changes, answers)

    def _insert(self, changes: list[Change]) -> None:
        if not changes:
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            rows = [(c.revision, c.key, c.value, c.previous) for c in changes]
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _forget(self, revision: int) -> None:
        gone = [(stale,) for replaced, stale in self._stale if replaced <= revision]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("DELETE FROM log WHERE revision = ?", gone)
        for name, value in (("compacted", revision), ("revision", self._revision)):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
        self._db.execute("COMMIT")
        self._stale = [row for row in self._stale if row[0] > revision]
        self._compacted = max(self._compacted, revision)
        self._db.execute("PRAGMA incremental_vacuum")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- back on the event loop ---

    def _publish(
        self, changes: list[Change], answers: list[tuple[asyncio.Future[int], int | Exception]]
    ) -> None:
        if changes:
            self._listener(changes)
            self._published = changes[-1].revision
        for future, answer in answers:
            if future.done():
                continue
            if isinstance(answer, int):
                future.set_result(answer)
            else:
                future.set_exception(answer)


def _NOTHING() -> None:
    return None
