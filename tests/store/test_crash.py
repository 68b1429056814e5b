"""SIGKILL at any moment during writes: no acknowledged write is lost, no revision is given twice,
no watcher that resumes misses an event. Twenty times on SQLite and on etcd, with the real server
process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.configurations import document, keyed
from tests.store.crashes import check_kills

ROUNDS = 20


@pytest.mark.parametrize("engine", ["sqlite", "etcd"])
async def test_sigkill_loses_nothing(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = "sqlite" if engine == "sqlite" else "http://" + request.getfixturevalue("etcd")
    written, relisted = await check_kills(tmp_path, store, ROUNDS)
    assert written > ROUNDS
    assert engine == "etcd" or not relisted


@pytest.mark.slow
async def test_sigkill_loses_nothing_of_an_encrypted_store(tmp_path: Path) -> None:
    config = tmp_path / "encryption.yaml"
    config.write_text(document(keyed("secretbox"), resources=("*.*",)))
    options = ("--encryption-provider-config", str(config))
    written, relisted = await check_kills(tmp_path, "sqlite", 4, *options)
    assert written > 4 and not relisted
    assert b'"metadata"' not in (tmp_path / "state.db").read_bytes()
