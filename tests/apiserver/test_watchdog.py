"""The watchdog of the event loop: what it counts, and that it costs an idle server nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest

from tiphys.apiserver.eventloop.watchdog import Watchdog

REQUEST = SimpleNamespace(method="GET", path="/api/v1/pods")


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    made = Watchdog()
    made.start()
    yield made
    made.stop()


def busy(seconds: float) -> None:
    """Holds the loop for this much of its thread's processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def beats(watchdog: Watchdog) -> int:
    return sum(watchdog.counts)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the beats are a count
            await asyncio.sleep(0.005)


async def test_a_hold_after_a_request_is_counted_with_its_length(watchdog: Watchdog) -> None:
    watchdog.touch(REQUEST)
    await asyncio.sleep(0)
    busy(0.08)
    await until(lambda: beats(watchdog) > 0)
    assert 0.07 <= watchdog.longest < 0.2
    assert watchdog.during


async def test_what_holds_the_loop_when_no_request_has_come_for_a_while_is_seen_too(
    watchdog: Watchdog,
) -> None:
    watchdog.touch(REQUEST)
    await until(lambda: beats(watchdog) >= 12)  # slow beats by now
    busy(0.15)
    watchdog.touch(REQUEST)  # it does not hide what was before it
    await until(lambda: watchdog.longest > 0.07)


async def test_the_beats_end_when_no_requests_come(watchdog: Watchdog) -> None:
    watchdog.touch(REQUEST)
    await until(lambda: watchdog._handle is None)
    assert beats(watchdog) <= 30


async def test_a_request_makes_slow_beats_quick_again(watchdog: Watchdog) -> None:
    watchdog.touch(REQUEST)
    await until(lambda: beats(watchdog) >= 12)
    watchdog.touch(REQUEST)
    assert watchdog._due - time.monotonic() <= 0.005
