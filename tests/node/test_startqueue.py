"""Pods that have begun are finished first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tiphys.node.startqueue import StartQueue


class Starts:
    """Starts through a queue, in the order in which they were let in; each goes on until it is told
    to `end`."""

    def __init__(self, places: int) -> None:
        self.now = 0.0
        self.queue = StartQueue(places, lambda: self.now)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """A name begins with the kind: ``s`` or ``c``."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._start(name))
        await settle()

    async def _start(self, name: str) -> None:
        turn = self.queue.sandbox if name[0] == "s" else self.queue.container
        async with turn():
            self.begun.append(name)
            await self._ends[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def starts() -> AsyncIterator[Starts]:
    made = Starts(2)
    yield made
    for task in made.tasks.values():
        task.cancel()
    await asyncio.gather(*made.tasks.values(), return_exceptions=True)


async def test_so_many_start_at_a_time(starts: Starts) -> None:
    await starts.ask("s1", "c1", "s2", "s3")
    assert starts.begun == ["s1", "c1"]
    await starts.end("c1")
    assert starts.begun == ["s1", "c1", "s2"]
    await starts.end("s1", "s2", "s3")
    await starts.ask("s4", "s5", "s6")
    assert starts.begun[3:] == ["s3", "s4", "s5"]


async def test_containers_come_before_sandboxes(starts: Starts) -> None:
    await starts.ask("s1", "s2", "s3", "s4", "c1", "c2")
    await starts.end("s1", "s2", "c1", "c2")
    assert starts.begun == ["s1", "s2", "c1", "c2", "s3", "s4"]


async def test_a_sandbox_does_not_wait_for_ever(starts: Starts) -> None:
    await starts.ask("c1", "c2", "s1")
    starts.now = 8
    await starts.ask("s2")
    starts.now = 11
    await starts.ask("c3", "c4")
    await starts.end("c1", "c2")
    assert starts.begun == ["c1", "c2", "s1", "c3"]


async def test_who_gives_up_takes_no_place(starts: Starts) -> None:
    await starts.ask("s1", "s2", "s3", "c1", "c2", "s4")
    for name in ("c1", "s3"):
        starts.tasks[name].cancel()
    await settle()
    await starts.end("s1", "s2")
    assert starts.begun == ["s1", "s2", "c2", "s4"]


async def test_a_place_that_is_given_to_one_who_gives_up_goes_on(starts: Starts) -> None:
    await starts.ask("s1", "s2", "c1", "c2")
    starts.queue._release()  # the place is c1's
    starts.tasks["c1"].cancel()
    await settle()
    assert starts.tasks["c1"].cancelled() and starts.begun == ["s1", "s2", "c2"]
