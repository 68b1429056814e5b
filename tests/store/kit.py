"""What every engine must do: the contract, run over each of them by test_engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tiphys.store.engine import Change, Conflict, Engine, Write

Make = Callable[[], Awaitable[tuple[Engine, list[Change]]]]


async def check_order(engine: Engine, seen: list[Change]) -> None:
    """Revisions grow by write, every change is seen once and in order, also under concurrency."""

    async def write(number: int) -> list[int]:
        return [await engine.commit(Write(f"/a/b/{number}-{i}", b"v", 0)) for i in range(20)]

    written = await asyncio.gather(*(write(n) for n in range(8)))
    revisions = sorted(r for row in written for r in row)
    assert len(set(revisions)) == 160
    assert [change.revision for change in seen] == revisions
    assert all(change.previous == 0 and change.value == b"v" for change in seen)


async def check_conflicts(engine: Engine, seen: list[Change]) -> None:
    """The expected revision decides; a refused write changes nothing."""
    first = await engine.commit(Write("/a/b/x", b"1", 0))
    with pytest.raises(Conflict) as taken:
        await engine.commit(Write("/a/b/x", b"2", 0))
    assert taken.value.current == first
    second = await engine.commit(Write("/a/b/x", b"2", first))
    with pytest.raises(Conflict):
        await engine.commit(Write("/a/b/x", b"3", first))
    for expected in (None, 0, first):
        with pytest.raises(Conflict) as absent:
            await engine.commit(Write("/a/b/none", None, expected))
        assert absent.value.current == 0
    gone = await engine.commit(Write("/a/b/x", None, second))
    assert gone > second > first
    assert [(c.value, c.previous) for c in seen] == [(b"1", 0), (b"2", first), (None, second)]
    again = await engine.commit(Write("/a/b/x", b"4", 0))
    assert again > gone


async def check_one_winner(engine: Engine, seen: list[Change]) -> None:
    """Of many that expect the same revision, one wins, and the others are told what it wrote."""
    first = await engine.commit(Write("/a/b/x", b"0", 0))
    writes = [Write("/a/b/x", b"%d" % number, first) for number in range(20)]
    results = await asyncio.gather(*map(engine.commit, writes), return_exceptions=True)
    [winner] = [result for result in results if isinstance(result, int)]
    conflicts = [result for result in results if isinstance(result, Conflict)]
    assert len(conflicts) == 19 and {conflict.current for conflict in conflicts} == {winner}
    assert len(seen) == 2


async def check_whatever_it_is_at(engine: Engine, seen: list[Change]) -> None:
    """A write that expects nothing replaces whatever is there, and a deletion removes it."""
    first = await engine.commit(Write("/a/b/x", b"1", None))
    second = await engine.commit(Write("/a/b/x", b"2", None))
    gone = await engine.commit(Write("/a/b/x", None, None))
    assert [(change.revision, change.previous) for change in seen] == [
        (first, 0),
        (second, first),
        (gone, second),
    ]


async def check_history_goes_live_keys_stay(engine: Engine, seen: list[Change]) -> None:
    first = await engine.commit(Write("/a/b/x", b"1", 0))
    second = await engine.commit(Write("/a/b/y", b"1", 0))
    await engine.compact(second)
    assert await engine.commit(Write("/a/b/x", b"2", first)) > second
    with pytest.raises(Conflict):
        await engine.commit(Write("/a/b/y", b"2", 0))


async def check_barrier(engine: Engine, seen: list[Change]) -> None:
    revision = await engine.commit(Write("/a/b/x", b"1", None))
    assert await engine.barrier() >= revision


CHECKS = (
    check_order,
    check_conflicts,
    check_one_winner,
    check_whatever_it_is_at,
    check_history_goes_live_keys_stay,
    check_barrier,
)
