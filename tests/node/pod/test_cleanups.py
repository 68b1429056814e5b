"""Cleaning up after pods gives way to pods that are ending."""

from __future__ import annotations

import asyncio

from tiphys.client.tasks import TaskGroup
from tiphys.node.pod.cleanups import CleanUps


class Cleaning:
    """Two pods that are gone, one still ending."""

    def __init__(self, cleanups: CleanUps) -> None:
        self.cleanups = cleanups
        self.order: list[str] = []
        self.may_end = asyncio.Event()

    async def end(self) -> None:
        with self.cleanups.ending():
            await self.may_end.wait()
            self.order.append("ended")

    async def clean(self, name: str) -> None:
        async with self.cleanups.turn():
            self.order.append(f"{name} begins")
            await asyncio.sleep(0)
            self.order.append(f"{name} is done")


async def test_what_is_left_of_a_pod_waits_for_pods_that_are_ending() -> None:
    cleaning, tasks = Cleaning(CleanUps(patience=600)), TaskGroup("test")
    ending = tasks.start(cleaning.end(), "end")
    await asyncio.sleep(0)
    first = tasks.start(cleaning.clean("first"), "clean")
    await asyncio.sleep(0)
    assert cleaning.order == []
    cleaning.may_end.set()
    await ending
    await first
    assert cleaning.order == ["ended", "first begins", "first is done"]


async def test_it_does_not_wait_longer_than_its_patience() -> None:
    cleaning, tasks = Cleaning(CleanUps(patience=0.01)), TaskGroup("test")
    ending = tasks.start(cleaning.end(), "end")
    await asyncio.sleep(0)
    await cleaning.clean("first")
    assert cleaning.order == ["first begins", "first is done"]
    cleaning.may_end.set()
    await ending


async def test_where_nothing_is_ending_it_is_done_at_once_two_at_a_time() -> None:
    cleaning = Cleaning(CleanUps(patience=600))
    await asyncio.gather(*(cleaning.clean(name) for name in ("a", "b", "c")))
    assert cleaning.order[:2] == ["a begins", "b begins"]
    assert cleaning.order.index("c begins") > cleaning.order.index("a is done")


async def test_a_pod_whose_end_fails_is_not_waited_for() -> None:
    cleaning = Cleaning(CleanUps(patience=600))
    try:
        with cleaning.cleanups.ending():
            raise RuntimeError
    except RuntimeError:
        pass
    await cleaning.clean("first")
    assert cleaning.order == ["first begins", "first is done"]
