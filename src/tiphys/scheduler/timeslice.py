"""A share of the event loop, for work that takes longer than others should wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SECONDS = 0.01


class TimeSlice:
    """Starts when it is created. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._started = now()

    async def yield_if_over(self) -> None:
        """Yields to other tasks if the slice is over, and starts the next one."""
        if self._now() - self._started > _SECONDS:
            await asyncio.sleep(0)
            self._started = self._now()
