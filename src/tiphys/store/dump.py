"""The live keys of an engine in a file, and back: what backups, restores and moves between engines
share.

A dump is a SQLite file as `sqlite` has it, with the live keys alone and a table of how long those
live that end by themselves. It is read and written past the API server: values stay sealed if they
are. History is not in it, so a client that resumes an older watch lists again (410).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc.aio

from tiphys.store import etcdpb as pb
from tiphys.store.engine import StoreError
from tiphys.store.etcd import EtcdEngine
from tiphys.store.sqlite import FORMAT, SCHEMA, newer_format

_LIFETIMES = "CREATE TABLE IF NOT EXISTS lifetime (key TEXT PRIMARY KEY, seconds INTEGER NOT NULL);"
_PAGE = 2000  # keys that are read of etcd at once
_AT_ONCE = 64  # keys that are written to etcd at a time
# What upstream advises to raise revisions by when etcd is restored (etcdutl --bump-revision): more
# than can have been written since the backup, so that no revision is given to a second object.
BUMP = 1_000_000_000


@dataclass
class Row:
    """A live key. `seconds`: how long it still has to live, 0 for ever."""

    revision: int
    key: str
    value: bytes
    seconds: int = 0


class Dump(NamedTuple):
    """What was written or read: the store's revision, and how many keys."""

    revision: int
    keys: int


# --- SQLite ---


def from_sqlite(source: Path, target: Path) -> Dump:
    """Copies what is live in the file of an engine, as it was at one moment; the engine may go on
    writing meanwhile. Raises StoreError."""
    try:
        with _reading(source) as database:
            newer_format(source, database)
            # Of one moment: a reader of SQLite's log sees what was committed when it started, and
            # blocks no writer.
            database.execute("VACUUM INTO ?", (str(target),))
        os.chmod(target, 0o600)
        return _settle(target, 0)
    except sqlite3.Error as error:
        raise StoreError(f"{source}: {error}") from None


def to_sqlite(dump: Path, target: Path, bump: int) -> Dump:
    """Makes a dump the file of an engine. Objects keep their revisions; the next one is `bump`
    further. Raises StoreError."""
    temporary = target.with_name(f"{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        with _reading(dump) as database:
            newer_format(dump, database)
            database.execute("VACUUM INTO ?", (str(temporary),))
        os.chmod(temporary, 0o600)
        done = _settle(temporary, bump)
        with contextlib.closing(sqlite3.connect(temporary)) as database:
            database.execute("DROP TABLE IF EXISTS lifetime")
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")
            database.execute("VACUUM")
            database.commit()
    except sqlite3.Error as error:
        raise StoreError(f"{dump}: {error}") from None
    for rest in ("-wal", "-shm"):
        target.with_name(target.name + rest).unlink(missing_ok=True)
    temporary.rename(target)
    return done


def rows_of(dump: Path) -> list[Row]:
    """The keys of a dump, in the order of their revisions. Raises StoreError."""
    query = (
        "SELECT revision, log.key, value, coalesce(seconds, 0) FROM log "
        "LEFT JOIN lifetime ON lifetime.key = log.key ORDER BY revision"
    )
    try:
        with contextlib.closing(sqlite3.connect(dump)) as database:
            database.executescript(_LIFETIMES)
            return [Row(*row) for row in database.execute(query)]
    except sqlite3.Error as error:
        raise StoreError(f"{dump}: {error}") from None


def revision_of(dump: Path) -> int:
    """The revision of the store that a dump is of. Raises StoreError."""
    try:
        with _reading(dump) as database:
            row = database.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
            return int(row[0])
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(f"{dump}: {error}") from None


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        yield database


def _settle(file: Path, bump: int) -> Dump:
    """Forgets the history in a copy, and sets its revision ahead by `bump`."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete=ON")
        database.executescript(SCHEMA + _LIFETIMES)
        newest = database.execute(
            "SELECT max((SELECT coalesce(max(revision), 0) FROM log),"
            " (SELECT coalesce(max(value), 0) FROM meta))"
        ).fetchone()[0]
        database.execute(
            "DELETE FROM log WHERE value IS NULL"
            " OR revision NOT IN (SELECT max(revision) FROM log GROUP BY key)"
        )
        revision = newest + bump
        for name in ("compacted", "revision"):
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, revision))
        [[count]] = database.execute("SELECT count(*) FROM log")
        database.execute(f"PRAGMA user_version={FORMAT}")
        [[fault]] = database.execute("PRAGMA quick_check(1)")
    if fault != "ok":
        raise StoreError(f"{file} is damaged: {fault}")
    return Dump(revision, count)


def write_rows(target: Path, rows: Iterable[Row], revision: int) -> Dump:
    """Writes keys into a new dump. Two of one revision, which one transaction of a foreign writer
    can make, get new ones behind the others."""
    taken: set[int] = set()
    with contextlib.closing(sqlite3.connect(target)) as database:
        os.chmod(target, 0o600)
        database.executescript(SCHEMA + _LIFETIMES)
        for row in rows:
            if row.revision in taken:
                revision += 1
                row.revision = revision
            taken.add(row.revision)
            database.execute(
                "INSERT INTO log VALUES (?, ?, ?, 0)", (row.revision, row.key, row.value)
            )
            if row.seconds:
                database.execute("INSERT INTO lifetime VALUES (?, ?)", (row.key, row.seconds))
        for name in ("compacted", "revision"):
            database.execute("INSERT INTO meta VALUES (?, ?)", (name, revision))
        database.execute(f"PRAGMA user_version={FORMAT}")
        database.commit()
    return Dump(revision, len(taken))


# --- etcd ---


class EtcdCopy(EtcdEngine):
    """An etcd cluster of which all keys are read, or written, at once. It is not opened."""

    async def dump(self, target: Path) -> Dump:
        """Writes what is live into a dump, as it was at one revision. Raises StoreError."""
        self._connect()
        try:
            self._offset = await self._read_offset()
            rows, revision = await self._rows()
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        finally:
            await self._etcd.close()
        return await asyncio.to_thread(write_rows, target, rows, revision + self._offset)

    async def _rows(self) -> tuple[list[Row], int]:
        lifetimes: dict[int, int] = {0: 0}
        rows: list[Row] = []
        page_start = self._first_key
        revision = 0
        while True:
            request = pb.RangeRequest(
                key=page_start, range_end=self._end_key, limit=_PAGE, revision=revision
            )
            page = await self._etcd.range(request, timeout=30, wait_for_ready=True)
            # Every page is of the revision of the first: etcd keeps what was live then.
            revision = revision or int(page.header.revision)
            for kv in page.kvs:
                if kv.lease not in lifetimes:
                    lifetimes[kv.lease] = await self._seconds_left(kv.lease)
                rows.append(
                    Row(
                        kv.mod_revision + self._offset,
                        self._name(kv.key),
                        kv.value,
                        lifetimes[kv.lease],
                    )
                )
            if not page.more:
                return rows, revision
            page_start = page.kvs[-1].key + b"\x00"

    async def _seconds_left(self, lease: int) -> int:
        request = pb.LeaseTimeToLiveRequest(id=lease)
        answer = await self._etcd.lease_time_to_live(request, timeout=10)
        return max(int(answer.ttl), 1)

    async def fill(self, dump: Path, bump: int) -> Dump:
        """Writes the keys of a dump into an etcd that has none of ours. Their revisions, and all
        later ones, are beyond what the dump's store had given by at least `bump`. Raises
        StoreError."""
        rows = await asyncio.to_thread(rows_of, dump)
        self._connect()
        try:
            await self._check_empty()
            ahead = await asyncio.to_thread(revision_of, dump) + bump
            newest = await self._newest()
            offset = max(ahead - newest, 0)
            put = pb.PutRequest(key=self._offset_key, value=str(offset).encode())
            await self._write([put])
            for start in range(0, len(rows), _AT_ONCE):
                batch = rows[start : start + _AT_ONCE]
                # One transaction for each key: an object's revision is its own.
                await asyncio.gather(*(self._put(row) for row in batch))
            newest = await self._newest()
            await self._etcd.compact(pb.CompactionRequest(revision=newest), timeout=30)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        finally:
            await self._etcd.close()
        return Dump(newest + offset, len(rows))

    async def _check_empty(self) -> None:
        request = pb.RangeRequest(
            key=self._first_key, range_end=self._end_key, limit=1, count_only=True
        )
        existing = await self._etcd.range(request, timeout=30, wait_for_ready=True)
        if existing.count:
            raise StoreError(
                f"etcd at {self._target} has {existing.count} keys below {self._prefix.decode()} "
                "already, which are somebody's: remove them first, or use another etcd"
            )

    async def _put(self, row: Row) -> None:
        lease = await self._leases.of(row.seconds) if row.seconds else 0
        await self._write([pb.PutRequest(key=self._key(row.key), value=row.value, lease=lease)])

    async def _write(self, puts: list[pb.PutRequest]) -> None:
        request = pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts])
        await self._etcd.txn(request, timeout=30)
