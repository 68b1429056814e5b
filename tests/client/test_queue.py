from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tiphys.client.metrics import ComponentMetrics
from tiphys.client.queue import WorkQueue


class Clock:
    """A `call_later` that runs when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Any]] = []

    def __call__(self, delay: float, call: Any, *args: Any) -> Any:
        self.waiting.append((delay, lambda: call(*args)))
        return self

    def cancel(self) -> None:
        self.waiting.pop()

    def run(self) -> list[float]:
        due, self.waiting = self.waiting, []
        for _, call in due:
            call()
        return [delay for delay, _ in due]


async def test_a_key_is_worked_on_once_at_a_time_and_again_if_it_was_added_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a" and len(queue) == 0
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1


async def test_failures_wait_longer_each_time_until_forgotten() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)  # type: ignore[arg-type]
    delays = []
    for _ in range(3):
        queue.retry("a")
        delays += clock.run()
        queue.done(await queue.get())
    queue.forget("a")
    queue.retry("a")
    assert delays == [0.01, 0.02, 0.04] and clock.run() == [0.01]


async def test_an_earlier_appointment_stands() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)  # type: ignore[arg-type]
    queue.add_after("a", 5)
    queue.add_after("a", 9)
    assert [delay for delay, _ in clock.waiting] == [5]
    queue.close()


async def test_work_on_a_key_makes_its_appointment_void() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(call_later=clock)
    queue.add_after("a", 600.0)
    queue.add("a")
    assert await queue.get() == "a" and clock.waiting == []
    queue.add_after("a", 5.0)  # made while it is worked on: that stands
    queue.done("a")
    assert clock.run() == [5.0] and len(queue) == 1


# --- what is counted, and what ends ---


async def test_the_earliest_appointment_of_a_key_counts() -> None:
    timers: list[tuple[float, str]] = []
    cancelled: list[int] = []

    class Timer:
        def __init__(self) -> None:
            self._number = len(timers)

        def cancel(self) -> None:
            cancelled.append(self._number)

    def later(seconds: float, call: Any, key: str) -> Any:
        made = Timer()
        timers.append((seconds, key))
        return made

    queue: WorkQueue[str] = WorkQueue(later)
    for seconds in (10, 20, 5):
        queue.add_after("a", seconds)
    assert timers == [(10, "a"), (5, "a")] and cancelled == [0]
    queue.add("a")
    assert await queue.get() == "a" and cancelled == [0, 1], "who works on it says when it is due"
    queue.add_after("b", 3)
    queue.close()
    assert cancelled == [0, 1, 2]


async def test_a_key_that_is_due_now_is_added_now() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for seconds in (0, -1):
        queue.add_after("a", seconds)
    assert len(queue) == 1 and await queue.get() == "a"


async def test_the_pause_doubles_up_to_half_a_minute() -> None:
    pauses: list[float] = []

    class Timer:
        def cancel(self) -> None: ...

    def later(seconds: float, call: Any, key: str) -> Any:
        pauses.append(seconds)
        call(key)
        return Timer()

    queue: WorkQueue[str] = WorkQueue(later)
    for number in range(1, 15):
        queue.retry("a")
        assert queue.failures("a") == number
        queue.done(await queue.get())
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08] and pauses[-3:] == [20.48, 30.0, 30.0]
    queue.forget("a")
    queue.retry("a")
    assert pauses[-1] == 0.01


async def test_who_waits_hears_that_the_queue_is_closed() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_happens_to_keys_is_counted_once() -> None:
    registry = CollectorRegistry()
    queue: WorkQueue[str] = WorkQueue(name="q", metrics=ComponentMetrics(registry))

    def count(name: str) -> float | None:
        return registry.get_sample_value(f"workqueue_{name}", {"name": "q"})

    queue.add("a")
    queue.add("a")
    assert (count("adds_total"), count("depth")) == (1, 1)
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert (count("adds_total"), count("queue_duration_seconds_count")) == (2, 1)
    assert count("work_duration_seconds_count") == 0 and count("depth") == 0
    assert (count("unfinished_work_seconds") or 0) > 0
    queue.done(key)
    assert (count("work_duration_seconds_count"), count("depth")) == (1, 1)
    assert count("unfinished_work_seconds") == 0 == count("longest_running_processor_seconds")
    queue.add_after("b", 60)
    assert count("retries_total") == 1
    queue.close()


def test_a_key_that_never_failed_has_no_failures() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.forget("a")
    assert queue.failures("a") == 0
