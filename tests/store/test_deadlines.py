"""Deadlines that share a timer end the right tasks, and nobody else's cancellation is theirs."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.store.deadlines import Deadlines

SOON = 0.02


async def waits(deadlines: Deadlines, for_what: asyncio.Event) -> str:
    try:
        with deadlines.begin():
            await for_what.wait()
    except TimeoutError:
        return "too late"
    return "in time"


async def test_what_is_not_done_by_then_is_a_timeout() -> None:
    deadlines, never = Deadlines(SOON), asyncio.Event()
    assert await asyncio.gather(*(waits(deadlines, never) for _ in range(3))) == ["too late"] * 3
    assert not deadlines.open
    assert await waits(deadlines, never) == "too late"  # the timer is set again


async def test_what_is_done_has_no_deadline_any_more() -> None:
    deadlines, now, never = Deadlines(SOON), asyncio.Event(), asyncio.Event()
    now.set()
    assert await waits(deadlines, now) == "in time"
    late = asyncio.ensure_future(waits(deadlines, never))
    assert await waits(deadlines, now) == "in time"
    assert await late == "too late"


async def test_who_is_cancelled_by_others_is_cancelled() -> None:
    deadlines, never = Deadlines(60), asyncio.Event()
    task = asyncio.ensure_future(waits(deadlines, never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not deadlines.open


async def test_who_is_cancelled_and_late_at_once_is_cancelled() -> None:
    deadlines, never = Deadlines(SOON), asyncio.Event()
    task = asyncio.ensure_future(waits(deadlines, never))
    await asyncio.sleep(0)
    task.cancel()
    next(iter(deadlines.open)).expire()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_passes() -> None:
    deadlines = Deadlines(60)
    with pytest.raises(KeyError), deadlines.begin():
        raise KeyError("a")
    assert not deadlines.open


async def test_a_deadline_that_is_further_away_is_looked_at_later() -> None:
    deadlines, never = Deadlines(SOON), asyncio.Event()
    first = asyncio.ensure_future(waits(deadlines, never))
    await asyncio.sleep(SOON / 2)
    second = asyncio.ensure_future(waits(deadlines, never))
    assert await first == "too late"
    assert len(deadlines.open) == 1
    assert await second == "too late"
