"""The long form of tests/store/test_crash.py: a server that is killed hundreds of times loses
nothing it acknowledged, and watches over it neither miss nor reorder. TIPHYS_KILLS says how many
times for each engine (200)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.store.crashes import check_kills

KILLS = int(os.environ.get("TIPHYS_KILLS", "200"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "etcd"])
async def test_kills_lose_nothing(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = "sqlite" if engine == "sqlite" else "http://" + request.getfixturevalue("etcd")
    written, relisted = await check_kills(tmp_path, store, KILLS)
    print(f"{KILLS} kills on {engine}: {written} writes acknowledged, {relisted} lists anew")
    assert written > KILLS
