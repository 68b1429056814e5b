"""The default engine: one SQLite file, one writer thread, group commit with a real fsync.

The file holds one log, a row per write. A key's last row is its value; older rows are history, kept
so that a watcher can resume over a restart, until compaction removes them. Keys and their revisions
are kept in memory by the writer thread, so a write costs one INSERT and no look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.store.engine import Change, Conflict, Listener, Snapshot, StoreError, Write

FORMAT = 1  # of the file, kept in it as `user_version`; 0 is 1 of before there were others
SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    previous INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_LOCK_AGAIN = 0.02  # seconds between two attempts to open a file that another process holds
_FORGOTTEN = 500  # rows that are removed in one step, some 10 ms; writes go between
_FREED = 100  # pages of 4 KiB that are given back in one step, 40 ms at the most; writes go between
_SPARE = 4  # a quarter of the file may be free: the next minutes' history fills it again
_GROUP = 512  # writes that share one commit at the most: bounds how long the first of them waits


class _Commit(NamedTuple):
    """A write in the writer thread's queue, and who waits for its revision."""

    write: Write
    future: asyncio.Future[int]


class _Answer(NamedTuple):
    """What the writer thread decided about a write: its revision, or why it was not made."""

    future: asyncio.Future[int]
    result: int | Exception


_Job = _Commit | Callable[[], Any] | None  # None ends the thread


def read_current(path: Path) -> list[Change]:
    """The live keys of a file, which another process may be writing to. Raises StoreError."""
    rows = """
        SELECT revision, key, value, previous FROM log
        WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) AND value IS NOT NULL
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [_change(row) for row in database.execute(rows)]
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from None


def check_format(path: Path) -> None:
    """Whether this release can use a file. Raises StoreError."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            newer_format(path, database)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from None


def newer_format(path: Path, database: sqlite3.Connection) -> None:
    """Raises StoreError when a later release has written the file."""
    [[version]] = database.execute("PRAGMA user_version")
    if version > FORMAT:
        raise StoreError(
            f"{path} has format {version}, and this release knows {FORMAT}: a newer release has "
            "written it; install that one again"
        )


def _change(row: tuple[int, Any, Any, int]) -> Change:
    """A row as a change. An edit of the file by hand may have left a text in place of
    bytes."""
    revision, key, value, previous = row
    if value is not None and not isinstance(value, bytes):
        value = str(value).encode()
    return Change(revision, str(key), value, previous)


class SQLiteEngine:
    """An `Engine` in one file.

    path:   the database file; its folder must exist. Only one process may have it open (a lock
            file beside it)
    scrubs: whether what compaction removes is overwritten with zeros, so that nothing can be read
            from the file that is no longer in it
    patience: seconds for another process to close the file
    """

    shared = False

    def __init__(self, path: Path, scrubs: bool = False, patience: float = 0.0) -> None:
        self._path = path
        self._scrubs = scrubs
        self._patience = patience
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._published = 0  # the newest revision that the listener has seen
        # The writer thread's own:
        self._revision = 0
        self._current: dict[str, int] = {}  # live key → revision
        # (revision of the replacing row, replaced row's), oldest first
        self._stale: deque[tuple[int, int]] = deque()

    # --- on the event loop ---

    async def open(self, listener: Listener) -> Snapshot:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        await self._take_lock()
        self._thread.start()
        snapshot: Snapshot = await self._call(self._load)
        self._published = snapshot.revision
        return snapshot

    async def _take_lock(self) -> None:
        deadline = self._loop.time() + self._patience
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self._loop.time() >= deadline:
                    os.close(self._lock)
                    raise StoreError(f"{self._path} is in use by another process") from None
            await asyncio.sleep(_LOCK_AGAIN)

    async def commit(self, write: Write) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put(_Commit(write, future))
        return await future

    async def ping(self) -> None:
        await self._call(lambda: self._rows("SELECT 1"))

    def lags(self) -> bool:
        return False

    async def barrier(self) -> int:
        return self._published  # what is on disk and not yet published is not acknowledged either

    async def compact(self, revision: int) -> None:
        await self._call(lambda: self._note_compaction(revision))
        while await self._call(lambda: self._forget(revision)):
            pass
        while await self._call(self._shrink):
            pass
        await self._call(lambda: self._rows("PRAGMA wal_checkpoint(TRUNCATE)"))

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    async def _call(self, function: Callable[[], Any]) -> Any:
        """Calls a function on the writer thread, between two commits. Raises StoreError."""
        answer: Future[Any] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(function())
            except sqlite3.Error as error:
                answer.set_exception(StoreError(f"{self._path}: {error}"))
            except Exception as error:  # the caller gets it, and this thread goes on
                answer.set_exception(error)

        self._jobs.put(run)
        return await asyncio.wrap_future(answer)

    # --- on the writer thread ---

    def _load(self) -> Snapshot:
        new = not self._path.exists()
        os.close(os.open(self._path, os.O_CREAT, 0o600))
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        newer_format(self._path, self._db)
        if new:
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if self._scrubs:
            self._db.execute("PRAGMA secure_delete=ON")
        self._db.executescript(SCHEMA)
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        rows = self._db.execute("SELECT revision, key, value, previous FROM log ORDER BY revision")
        changes = [_change(row) for row in rows]
        for change in changes:
            self._note(change)
        compacted = self._meta("compacted")
        # The last write can be a deletion that was compacted away: its revision must not be given
        # again.
        self._revision = max(self._revision, compacted, self._meta("revision"))
        return Snapshot(self._revision, compacted, changes)

    def _rows(self, statement: str) -> list[Any]:
        """All rows: a cursor that is not at its end, and waits for the event loop to let go of it,
        keeps SQLite from committing."""
        return self._db.execute(statement).fetchall()

    def _meta(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _note(self, change: Change) -> None:
        """Takes note of a row that is in the log."""
        if change.previous:
            self._stale.append((change.revision, change.previous))
        if change.value is None:
            self._stale.append((change.revision, change.revision))
            self._current.pop(change.key, None)
        else:
            self._current[change.key] = change.revision
        self._revision = change.revision

    def _run(self) -> None:
        job = self._jobs.get()
        while job is not None:
            if isinstance(job, _Commit):
                group, job = self._group(job)
                self._commit_group(group)
                if job is _NO_JOB:
                    job = self._jobs.get()
            else:
                job()
                job = self._jobs.get()
        with contextlib.suppress(sqlite3.Error, AttributeError):  # it may never have been opened
            self._db.close()

    def _group(self, first: _Commit) -> tuple[list[_Commit], _Job]:
        """The writes that wait now, as far as they share a commit, and the job after them."""
        group = [first]
        while len(group) < _GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, _NO_JOB
            if not isinstance(job, _Commit):
                return group, job
            group.append(job)
        return group, _NO_JOB

    def _commit_group(self, group: list[_Commit]) -> None:
        """Decides the order of some writes and makes them durable together."""
        revision = self._revision
        uncommitted: dict[str, int] = {}  # key → revision, 0 for a deletion
        changes: list[Change] = []
        answers: list[_Answer] = []
        for write, future in group:
            current = uncommitted.get(write.key, self._current.get(write.key, 0))
            if write.conflicts_with(current):
                answers.append(_Answer(future, Conflict(write.key, current)))
                continue
            revision += 1
            uncommitted[write.key] = 0 if write.value is None else revision
            changes.append(Change(revision, write.key, write.value, current))
            answers.append(_Answer(future, revision))
        try:
            self._insert(changes)
        except sqlite3.Error as error:
            # Conflicts fail, too: they may be with a write of the group that was not made.
            failure = StoreError(f"{self._path}: {error}")
            answers = [_Answer(future, failure) for _, future in group]
            changes = []
        for change in changes:
            self._note(change)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for an answer
            self._loop.call_soon_threadsafe(self._publish, changes, answers)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable transaction. One that fails is rolled back, so that the next can start."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _insert(self, changes: list[Change]) -> None:
        if not changes:
            return
        rows = [(c.revision, c.key, c.value, c.previous) for c in changes]
        with self._transaction():
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)

    def _note_compaction(self, revision: int) -> None:
        """History up to here is not to be read any more, whether it is still there or not."""
        meta = [("compacted", revision), ("revision", self._revision)]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)

    def _forget(self, revision: int) -> bool:
        """Removes some rows that others replaced up to `revision`; whether there may be more.

        The oldest go first, and the row of a deletion after the value that it ended: no value comes
        back, wherever this is broken off."""
        oldest = itertools.islice(self._stale, _FORGOTTEN)
        due = itertools.takewhile(lambda row: row[0] <= revision, oldest)
        removed = [(stale,) for _, stale in due]
        if not removed:
            return False
        with self._transaction():
            self._db.executemany("DELETE FROM log WHERE revision = ?", removed)
        for _ in removed:
            self._stale.popleft()
        return len(removed) == _FORGOTTEN

    def _shrink(self) -> bool:
        """Gives free pages at the file's end back to the file system; whether there are more."""
        [[pages]] = self._db.execute("PRAGMA page_count")
        [[free]] = self._db.execute("PRAGMA freelist_count")
        excess: int = free - pages // _SPARE
        if excess <= 0:
            return False
        # `execute` would free one page alone: it takes a single step of what has no columns.
        self._db.executescript(f"PRAGMA incremental_vacuum({min(excess, _FREED)})")
        return excess > _FREED

    # --- back on the event loop ---

    def _publish(self, changes: list[Change], answers: list[_Answer]) -> None:
        if changes:
            self._listener(changes)
            self._published = changes[-1].revision
        for future, result in answers:
            if future.done():  # the caller was cancelled
                continue
            if isinstance(result, int):
                future.set_result(result)
            else:
                future.set_exception(result)


def _NO_JOB() -> None:
    """Means "no job is waiting" in the writer thread."""
