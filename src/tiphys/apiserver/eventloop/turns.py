"""Turns of tasks on the event loop.

Every request is answered by one thread. What takes long is done in steps of a few milliseconds, and
between two steps the loop polls its sockets: `Turns` are for what a request waits for (lists),
`Rounds` for what no request waits for (watches).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
_STEP = 0.001  # seconds of one step
_ROUND = 0.003  # seconds that callbacks may take before the loop polls its sockets again


class Turns:
    """One step for each round of the event loop, flows in turn: who requests much waits behind
    itself.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by flow; the first is the next
        self._scheduled = False

    async def take(self, flow: str) -> None:
        """Returns when the caller may do its next step. At once in a round without one."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next)
            return
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(flow, deque()).append(waiter)
        await waiter

    async def sliced(self, flow: str, items: Sequence[T], step: int) -> AsyncIterator[Sequence[T]]:
        """The items, `step` at a time, with a turn between two slices."""
        for start in range(0, len(items), step):
            if start:
                await self.take(flow)
            yield items[start : start + step]

    def _next(self) -> None:
        while self._waiting:
            flow, waiters = next(iter(self._waiting.items()))
            del self._waiting[flow]
            waiter = waiters.popleft()
            if waiters:
                self._waiting[flow] = waiters  # behind the others
            if not waiter.done():  # else its request has been given up
                waiter.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._scheduled = False


class Pace:
    """For work of one flow over many things: ``await pace.next()`` after each waits for a turn once
    the current one has lasted a millisecond.
    """

    def __init__(self, turns: Turns, flow: str) -> None:
        self._turns = turns
        self._flow = flow
        self._until = time.monotonic() + _STEP

    async def next(self) -> None:
        if time.monotonic() > self._until:
            await self._turns.take(self._flow)
            self._until = time.monotonic() + _STEP


class Steps:
    """For work that one request does over many things: ``await steps.next()`` after each lets
    others have the loop, once it has been held for a few milliseconds.
    """

    def __init__(self) -> None:
        self._until = time.monotonic() + _ROUND

    async def next(self) -> None:
        if time.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + _ROUND


class Rounds:
    """Runs callbacks soon, in order, as many at a time as fit into a few milliseconds."""

    def __init__(self) -> None:
        self._due: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def add(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        due = self._due
        ends = time.monotonic() + _ROUND
        try:
            while due:
                due.popleft()()
                if time.monotonic() > ends:
                    break
        finally:
            self._scheduled = bool(due)
            if due:
                asyncio.get_running_loop().call_soon(self._run)
