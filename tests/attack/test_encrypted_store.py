"""Who can write to the disk of an encrypted store: nothing becomes another object, and nothing that
is damaged stops the server or the other objects."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apiserver.encrypted import refused, running, secret
from tests.store.configurations import keyed
from tiphys.api import core_v1

A, B = "/core/secrets/default/a", "/core/secrets/default/b"
Tamper = Callable[[sqlite3.Connection, bytes, bytes], None]


def put(database: sqlite3.Connection, key: str, value: bytes) -> None:
    database.execute("UPDATE log SET value = ? WHERE key = ?", (value, key))


def swap(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    put(database, A, b)
    put(database, B, a)


def flip(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    put(database, A, a[:-40] + bytes([a[-40] ^ 1]) + a[-39:])


def cut(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    put(database, A, a[:60])


def empty(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    put(database, A, a[: a.rindex(b":", 0, 30) + 1])


def rename(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    put(database, A, a.replace(b":one:", b":two:", 1))


def plain(database: sqlite3.Connection, a: bytes, b: bytes) -> None:
    """An object of the attacker's own, not encrypted, where identity is not listed."""
    put(
        database,
        A,
        b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","namespace":"default"}}',
    )


# secretbox binds no value to its key, so swapping is not noticed: docs/decisions/0018.
@pytest.mark.parametrize(
    ("provider", "tamper"),
    [("aesgcm", one) for one in (swap, flip, cut, empty, rename, plain)] + [("secretbox", flip)],
)
async def test_a_tampered_value_is_an_error_and_stops_nobody(
    tmp_path: Path, provider: str, tamper: Tamper
) -> None:
    async with running(tmp_path, keyed(provider)) as cluster:
        for name in ("a", "b", "c"):
            await cluster.client.create(secret(name), "default")
    with sqlite3.connect(tmp_path / "state.db") as database:
        rows = dict(database.execute("SELECT key, value FROM log WHERE key IN (?, ?)", (A, B)))
        tamper(database, rows[A], rows[B])
    async with running(tmp_path, keyed(provider)) as cluster:
        with refused(500) as info:
            await cluster.client.get(core_v1.Secret, "a", "default")
        assert A in info.value.status.message
        assert (await cluster.client.get(core_v1.Secret, "c", "default")).metadata.name == "c"
        await cluster.client.create(secret("later"), "default")
        await cluster.client.request("GET", "/readyz")
