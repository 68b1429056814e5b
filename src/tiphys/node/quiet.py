"""Work that waits until a node has nothing more urgent to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PAUSE = 0.3  # seconds without urgent work
_PATIENCE = 5.0  # seconds that other work waits at most


class Quiet:
    """Is told of urgent work, and lets other work wait for a pause in it.

    pause: seconds of it
    clock: seconds
    sleep: lets so many of them go by
    """

    def __init__(
        self,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._pause = pause
        self._disturbed = clock() - pause

    def disturb(self) -> None:
        """Something urgent was done, and more of it may follow."""
        self._disturbed = self._clock()

    async def wait(self) -> None:
        """Returns in a pause, or when the work has waited for long enough."""
        deadline = self._clock() + _PATIENCE
        while (left := min(self._disturbed + self._pause, deadline) - self._clock()) > 0:
            await self._sleep(left)
