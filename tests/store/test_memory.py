"""The engine that keeps nothing: what it says of itself."""

from __future__ import annotations

from tiphys.store.engine import Change, Write
from tiphys.store.memory import MemoryEngine


async def test_it_counts_writes_and_nothing_lags_behind() -> None:
    seen: list[Change] = []
    engine = MemoryEngine()
    assert await engine.commit(Write("/a/b/early", b"1")) == 1  # nobody listens yet
    snapshot = await engine.open(seen.extend)
    assert (snapshot.revision, snapshot.compacted, snapshot.changes) == (1, 0, [])
    assert await engine.commit(Write("/a/b/x", b"1", 0)) == 2
    assert await engine.commit(Write("/a/b/x", None)) == 3
    assert await engine.commit(Write("/a/b/x", b"2", 0)) == 4 == await engine.barrier()
    assert [(change.revision, change.value, change.previous) for change in seen] == [
        (2, b"1", 0),
        (3, None, 2),
        (4, b"2", 0),
    ]
    assert not engine.lags() and not engine.shared
