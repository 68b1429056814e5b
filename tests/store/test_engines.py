"""The contract kit over every engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.configurations import keyed, transformers
from tests.store.kit import CHECKS
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.engine import Change, Engine
from tiphys.store.memory import MemoryEngine
from tiphys.store.replica import ReplicaEngine
from tiphys.store.sharing import SharedEngine
from tiphys.store.sqlite import SQLiteEngine
from tiphys.store.store import Store


async def replica_of(primary: SharedEngine, store: Store, seen: list[Change]) -> ReplicaEngine:
    """A replica in this process, open."""
    ours, theirs = socket.socketpair()
    replica = ReplicaEngine(theirs, primary.published, lambda: None)
    await asyncio.gather(
        primary.attach(ours, store, lambda: None), replica.open(lambda new: seen.extend(new))
    )
    return replica


@pytest.fixture(
    params=["memory", "sqlite", "etcd", "replica", "encrypted sqlite", "encrypted etcd"]
)
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Engine, list[Change]]]:
    seen: list[Change] = []
    made: Any
    if request.param == "memory":
        made = MemoryEngine()
    elif "sqlite" in request.param:
        made = SQLiteEngine(tmp_path / "db")
    elif request.param == "replica":
        made = SharedEngine(MemoryEngine())
    else:
        from tiphys.store.etcd import EtcdEngine

        made = EtcdEngine([request.getfixturevalue("etcd")], prefix=f"/{tmp_path.name}")
    if isinstance(made, SharedEngine):
        await made.open(lambda changes: None)
        yield await replica_of(made, Store(MemoryEngine()), seen), seen
        await made.close()
        return
    if "encrypted" in request.param:
        made = SealedEngine(made, transformers(keyed("secretbox"), resources=("*.*",)))
    await made.open(lambda changes: seen.extend(changes))
    yield made, seen
    await made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
async def test_contract(engine: tuple[Engine, list[Change]], check: Any) -> None:
    await check(*engine)
