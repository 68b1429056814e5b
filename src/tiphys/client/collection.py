"""Python's collector of cycles in a process that holds many objects.

It stops everything while it walks them: 1 µs for each object, ten seconds for the pods of 5,000
hollow nodes, though it finds next to nothing: what stays is held by caches, and what goes is freed
without it. So it looks at young objects alone, 30,000 at a time at the most. What survives that is
frozen: it is freed as ever when nothing refers to it, but it is searched for cycles only in a
thorough collection.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource as resources
import time
from pathlib import Path

log = logging.getLogger(__name__)

# Objects of the youngest generation, collections of it, and "never". The middle generation is
# collected with two young ones in it: 30,000 objects take 30 ms if all of them live.
_THRESHOLDS = (10_000, 2, 1 << 30)
_LOOK_EVERY = 600.0  # seconds between two looks whether a thorough collection is due
_SHARE = 0.001  # of all time, which thorough collections take at the most
# The objects are not counted: that is a walk over all of them, too.
_WALK = 3e-9  # seconds for each byte of the process, until one has been measured
_MORE = 16 << 20  # bytes more than after the last one, without which it is not worth it


def resident_memory() -> int:
    """Bytes of this process in memory."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resources.getpagesize()
    return 0


def settle_collector() -> None:
    """Has the collector walk young objects alone. Somebody else sees to thorough collections."""
    gc.set_threshold(*_THRESHOLDS)
    if _freeze_survivors not in gc.callbacks:
        gc.callbacks.append(_freeze_survivors)


def _freeze_survivors(phase: str, collection: dict[str, int]) -> None:
    """What has survived two collections is not walked again. Freezing costs nothing."""
    if phase == "stop" and collection["generation"] == 1:
        gc.freeze()


def collect_thoroughly() -> int:
    """Collects everything, also what is frozen, and freezes the rest. Returns how many objects were
    in cycles that nothing referred to."""
    gc.unfreeze()
    found = gc.collect()
    gc.freeze()
    return found


class ThoroughCollections:
    """Those of one process: the more it holds, the rarer they are."""

    def __init__(self, now: float) -> None:
        """`now` is in seconds, of the clock that `is_due` is asked with."""
        self._last = now
        self._held = 0  # bytes after the last one
        self._walk = _WALK

    def is_due(self, resident: int, now: float) -> bool:
        """Whether it is worth its time in a process of so many bytes."""
        waited = now - self._last
        return resident - self._held > _MORE and resident * self._walk <= waited * _SHARE

    def took(self, seconds: float, resident: int, now: float) -> None:
        """Takes note of one that ended `now` and left so many bytes."""
        self._last = now
        self._held = resident
        self._walk = max(seconds / max(resident, 1), _WALK / 10)


async def collect_sparsely() -> None:
    """Makes thorough collections when they are due. Until it is cancelled."""
    collections = ThoroughCollections(time.monotonic())
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        began = time.monotonic()
        if not collections.is_due(resident_memory(), began):
            continue
        found = collect_thoroughly()
        ended = time.monotonic()
        collections.took(ended - began, resident_memory(), ended)
        log.info("Collected %d objects in cycles, in %.2f s.", found, ended - began)
