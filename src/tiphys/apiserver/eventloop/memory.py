"""Memory trimming: what a burst of requests took goes back to the system after it.

Three things keep it. glibc keeps pages that are free between others until they are requested
(`malloc_trim`, some 10 ms for each 100 MiB, so it is asked from a thread). The watch history keeps
objects that are gone: they are compressed. Both are done when the process has stopped growing.

And Python's collector is kept from what it stops everything for (`client/collection`): cycles are
freed in a thorough collection, in a moment with few requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import time
from collections.abc import Awaitable, Callable

from tiphys.client.collection import collect_thoroughly, resident_memory

log = logging.getLogger(__name__)

_EVERY = 3.0  # seconds between two looks
_GROWTH = 2 << 20  # bytes that a process grows by between two looks and is calm
_WORTH_TRIMMING = 16 << 20  # bytes more than after the last trimming, from which it is worth it
_TRIM_AFTER = 10  # looks after which one trims all the same: history goes long after its burst
_SMALL = 80 << 20  # bytes of a process that is not trimmed then
_CALM = 5  # requests between two looks in a calm moment: everything may be collected then,
_THOROUGH = 1800.0  # after so many seconds if there are more frozen objects than before,
_FROZEN = 30_000  # or when so many more are frozen, and
_SOON = 600.0  # so many seconds are over: of 190,000 frozen in an attack, 9 were found to be gone
_FEW = 2_000  # frozen objects, without which nothing can have piled up that is worth the hold
_OVERDUE = 12 * _THOROUGH  # seconds after which everything is collected in any case
_COUNT = 60.0  # seconds between two counts of what is frozen: each walks a list of all of it
# Parameters of mallopt.
_ARENA_MAX = -8
_MMAP_THRESHOLD = -3


def settle_allocator() -> None:
    """Few arenas, whose free pages are few, too; and what is large is mapped by itself, however
    often it comes.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, 1 << 20)


def _trim() -> None:
    """Has glibc give free pages back. Does nothing where there is no glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryTrimmer:
    """Looks after the memory of one server.

    `compress_history` takes as long as it likes, in small steps. `requests` returns how many came
    so far. `resident` gives the bytes of memory that the process has, `trim` gives back those that
    are free.
    """

    def __init__(
        self,
        compress_history: Callable[[], Awaitable[None]],
        requests: Callable[[], int],
        resident: Callable[[], int] = resident_memory,
        trim: Callable[[], None] = _trim,
    ) -> None:
        self._compress_history = compress_history
        self._requests = requests
        self._heard = requests()  # at the last look
        self._resident = resident
        self._trim = trim
        self._before = resident()  # at the last look
        self._lowest = self._before  # since the last trimming
        self._untrimmed = 0  # looks since then
        self._collected = time.monotonic()  # everything, for the last time
        self._frozen = gc.get_freeze_count()  # after that
        self._count_at = 0.0  # seconds since then at which it is counted again

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.check()

    async def check(self) -> None:
        """One check, of those that `run` makes every few seconds."""
        now = self._resident()
        calm = now - self._before < _GROWTH
        self._before = now
        self._untrimmed += 1
        self._lowest = min(self._lowest, now)
        self._collect()
        grown = now - self._lowest > _WORTH_TRIMMING
        overdue = self._untrimmed >= _TRIM_AFTER and now > _SMALL
        if calm and (grown or overdue):
            await self._shrink(now)

    def _collect(self) -> None:
        """Frees the cycles that were frozen while they lived, if it is time."""
        heard = self._requests()
        calm = heard - self._heard <= _CALM
        self._heard = heard
        waited = time.monotonic() - self._collected
        due = calm and waited > _SOON and self._has_grown(waited)
        if due or waited > _OVERDUE:
            collect_thoroughly()
            self._collected = time.monotonic()
            self._frozen = gc.get_freeze_count()
            self._count_at = 0.0

    def _has_grown(self, waited: float) -> bool:
        """Whether so much more is frozen that cycles among it are worth looking for, `waited`
        seconds after the last time. What is freed without the collector is not in the count."""
        if waited < self._count_at:
            return False
        self._count_at = waited + _COUNT
        grown = gc.get_freeze_count() - self._frozen
        return grown > (_FEW if waited > _THOROUGH else _FROZEN)

    async def _shrink(self, before: int) -> None:
        await self._compress_history()
        await asyncio.to_thread(self._trim)
        now = self._resident()
        if before - now > _WORTH_TRIMMING:
            log.info("Memory was trimmed from %d to %d MiB.", before >> 20, now >> 20)
        self._untrimmed = 0
        self._before = now
        self._lowest = now
