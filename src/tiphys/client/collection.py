"""Python's collector of cycles in a process that holds many objects.

It stops everything while it walks them: 1 µs for each object, ten seconds for the pods of 5,000
hollow nodes, though it finds next to nothing: what stays is held by caches, and what goes is freed
without it. So it looks at young objects alone, 30,000 at a time at the most. What survives that is
frozen: it is freed as ever when nothing refers to it, but it is searched for cycles only in a
thorough collection.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time

log = logging.getLogger(__name__)

# Objects of the youngest generation, collections of it, and "never". The middle generation is
# collected with two young ones in it: 30,000 objects take 30 ms if all of them live.
_THRESHOLDS = (10_000, 2, 1 << 30)
_LOOK_EVERY = 600.0  # seconds between two looks whether a thorough collection is due
_SHARE = 0.001  # of all time, which thorough collections take at the most
_WALK = 1e-6  # seconds for each object, until one has been measured
_MORE = 30_000  # frozen objects more than after the last one, without which it is not worth it


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
        self._held = 0  # objects that were frozen after the last one
        self._walk = _WALK

    def is_due(self, frozen: int, now: float) -> bool:
        """Whether it is worth its time, with so many objects `frozen`."""
        waited = now - self._last
        return frozen - self._held > _MORE and frozen * self._walk <= waited * _SHARE

    def took(self, seconds: float, frozen: int, now: float) -> None:
        """Takes note of one that ended `now` and left so many objects `frozen`."""
        self._last = now
        self._held = frozen
        self._walk = max(seconds / max(frozen, 1), _WALK / 10)


async def collect_sparsely() -> None:
    """Makes thorough collections when they are due. Until it is cancelled."""
    collections = ThoroughCollections(time.monotonic())
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        began = time.monotonic()
        if not collections.is_due(gc.get_freeze_count(), began):
            continue
        found = collect_thoroughly()
        ended = time.monotonic()
        collections.took(ended - began, gc.get_freeze_count(), ended)
        log.info("Collected %d objects in cycles, in %.2f s.", found, ended - began)
