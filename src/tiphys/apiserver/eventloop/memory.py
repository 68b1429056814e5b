"""Memory trimming: what a burst of requests took goes back to the system after it.

Three things keep it. glibc keeps pages that are free between others until somebody asks for them
(`malloc_trim`, some 10 ms for each 100 MiB, so it is asked from a thread). The watch history keeps
objects that are gone: they are compressed. And Python's collector of cycles stops everything while
it looks at what there is (60 ms for a server of 80 MiB), though it finds next to nothing: what
stays is held by the cache, and what goes is freed without it. So a full collection waits for a
calm moment, and what it has seen is not looked at again, but in a thorough one now and then.

Calm is when the process has stopped growing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource as resources
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger(__name__)

_EVERY = 3.0  # seconds between two looks
_GROWTH = 2 << 20  # bytes that a process grows by between two looks and is calm
_WORTH_TRIMMING = 16 << 20  # bytes more than after the last trimming, from which it is worth it
_TRIM_AFTER = 10  # looks after which one trims all the same: history goes long after its burst
_SMALL = 80 << 20  # bytes of a process that is not trimmed then
_COLLECT_AFTER = 3  # collections of the middle generation: of 8, as Python has it, one took 55 ms
_IMPATIENT = 20  # looks after which a full collection does not wait for a calm moment
_THOROUGH = 1800.0  # seconds between two collections of everything
# Objects of the youngest generation, collections of it, and "never": see `MemoryTrimmer`.
_THRESHOLDS = (20_000, 8, 1 << 30)
# Parameters of mallopt.
_ARENA_MAX = -8
_MMAP_THRESHOLD = -3


def resident_memory() -> int:
    """Bytes of this process in memory."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resources.getpagesize()
    return 0


def settle_allocator() -> None:
    """Few arenas, whose free pages are few, too; and what is large is mapped by itself, however
    often it comes.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, 1 << 20)


def settle_collector() -> None:
    """Leaves full collections to the `MemoryTrimmer`: one in the middle of a large request takes
    100 ms.
    """
    gc.set_threshold(*_THRESHOLDS)


def _trim() -> None:
    """Has glibc give free pages back. Does nothing where there is no glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryTrimmer:
    """Looks after the memory of one server.

    `compress_history` takes as long as it likes, in small steps.

    `resident` gives the bytes of memory that the process has, `trim` gives back those that are
    free.
    """

    def __init__(
        self,
        compress_history: Callable[[], Awaitable[None]],
        resident: Callable[[], int] = resident_memory,
        trim: Callable[[], None] = _trim,
    ) -> None:
        self._compress_history = compress_history
        self._resident = resident
        self._trim = trim
        self._before = resident()  # at the last look
        self._lowest = self._before  # since the last trimming
        self._untrimmed = 0  # looks since then
        self._uncollected = 0  # looks since a full collection was due
        self._thorough = time.monotonic() + _THOROUGH

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.look()

    async def look(self) -> None:
        """One look, of those that `run` has every few seconds."""
        now = self._resident()
        calm = now - self._before < _GROWTH
        self._before = now
        self._untrimmed += 1
        self._lowest = min(self._lowest, now)
        self._collect(calm)
        grown = now - self._lowest > _WORTH_TRIMMING
        overdue = self._untrimmed >= _TRIM_AFTER and now > _SMALL
        if calm and (grown or overdue):
            await self._shrink(now)

    def _collect(self, calm: bool) -> None:
        """A full collection when it is due; what it leaves is not looked at again."""
        if time.monotonic() > self._thorough:
            self._thorough = time.monotonic() + _THOROUGH
            gc.unfreeze()  # cycles that were frozen while they lived go now
        elif gc.get_count()[2] < _COLLECT_AFTER:
            return
        self._uncollected += 1
        if calm or self._uncollected >= _IMPATIENT:
            self._uncollected = 0
            gc.collect()
            gc.freeze()

    async def _shrink(self, before: int) -> None:
        await self._compress_history()
        await asyncio.to_thread(self._trim)
        now = self._resident()
        if before - now > _WORTH_TRIMMING:
            log.info("Memory was trimmed from %d to %d MiB.", before >> 20, now >> 20)
        self._untrimmed = 0
        self._before = now
        self._lowest = now
