from __future__ import annotations

from typing import Any

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
