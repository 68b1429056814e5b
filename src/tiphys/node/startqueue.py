"""Whose sandbox or container is started next, where more are wanted than a node starts at a time.

A pod that has a sandbox comes before those that have none: its containers run before the next
sandbox is made. So of many pods that come together half run after half the time. In the order of
asking, all sandboxes would be made before the first container, and all pods would run at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

_PATIENCE = 10.0  # seconds after which a sandbox comes before containers

_Line = deque[tuple[float, asyncio.Future[None]]]  # since when, and what tells of a place


class StartQueue:
    """Lets `places` starts go on at a time. `clock`: seconds."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = places
        self._clock = clock
        self._containers: _Line = deque()
        self._sandboxes: _Line = deque()

    def sandbox(self) -> AbstractAsyncContextManager[None]:
        """Within it, a sandbox may be made."""
        return self._turn(self._sandboxes)

    def container(self) -> AbstractAsyncContextManager[None]:
        """Within it, a container may be started."""
        return self._turn(self._containers)

    @asynccontextmanager
    async def _turn(self, line: _Line) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._stand_in(line)
        try:
            yield
        finally:
            self._release()

    async def _stand_in(self, line: _Line) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append((self._clock(), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was given in the same moment
                self._release()
            raise

    def _release(self) -> None:
        """Hands a place on. Who does not wait any more is passed over."""
        while (turn := self._next()) is not None:
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _next(self) -> asyncio.Future[None] | None:
        is_overdue = self._sandboxes and self._clock() - self._sandboxes[0][0] > _PATIENCE
        line = self._containers if self._containers and not is_overdue else self._sandboxes
        return line.popleft()[1] if line else None
