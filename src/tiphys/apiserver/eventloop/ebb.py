"""Memory goes back to the system after a rush.

What a rush takes is free when it is over, but glibc keeps it: pages that are free between others stay the process's until
somebody asks for them (`malloc_trim`). That takes some 10 ms for each 100 MiB, so it is asked from a thread, once memory has
stopped growing.

Python's own collector of cycles stops everything while it looks at what there is: 60 ms for a server that has 80 MiB, though it
finds next to nothing, for what stays is held by the cache and what goes is freed without it. So what a full collection has seen
is not looked at again, but in a thorough one now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource as resources
import time
from pathlib import Path

log = logging.getLogger(__name__)

_EVERY = 3.0  # seconds between two looks
_WORTH = 24 << 20  # bytes more than after the last time, from which it is worth it
_LOOKS = 20  # after so many one asks all the same, of a process that is not small: history is let go long after its rush
_SMALL = 100 << 20  # bytes
_CALM = 2 << 20  # bytes that a process grows by between two looks and is calm
_OLDEST = 2  # generation of the collector
_THRESHOLDS = (20_000, 8, 8)  # of its generations
_THOROUGH = 1800.0  # seconds between two collections of everything
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # of mallopt


def resident_memory() -> int:
    """Bytes of this process in memory."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resources.getpagesize()
    return 0


def settle_allocator() -> None:
    """Few arenas, whose free pages are few, too; and what is large is mapped by itself, however often it comes."""
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, 1 << 20)


def settle_collector() -> None:
    """Full collections come often and look only at what is new since the last one."""
    gc.set_threshold(*_THRESHOLDS)
    gc.callbacks.append(_freeze_survivors)


def _freeze_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()


def _collect_thoroughly() -> None:
    """Looks at everything once more: cycles that were frozen while they lived go now."""
    if _freeze_survivors in gc.callbacks:
        gc.unfreeze()
        gc.collect()


async def return_memory() -> None:
    """Looks after the memory of this process, until it is cancelled."""
    thorough = time.monotonic() + _THOROUGH
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return
    seen = low = resident_memory()
    looks = 0
    while True:
        await asyncio.sleep(_EVERY)
        looks += 1
        if time.monotonic() > thorough:
            _collect_thoroughly()
            thorough = time.monotonic() + _THOROUGH
        now = resident_memory()
        calm, seen = now - seen < _CALM, now
        if calm and (now - low > _WORTH or (looks >= _LOOKS and now > _SMALL)):
            await asyncio.to_thread(trim, 0)
            looks, low = 0, resident_memory()
            if now - low > _WORTH:
                log.info("memory after a rush: %d MiB, were %d", low >> 20, now >> 20)
            seen = low
        low = min(low, now)
