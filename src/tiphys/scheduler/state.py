"""The state that the scheduling cycle, event handlers and binding cycles share. All run on one
event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tiphys.scheduler.cache import Cache
from tiphys.scheduler.nominator import Nominator
from tiphys.scheduler.queue import SchedulingQueue
from tiphys.scheduler.snapshot import Snapshot


class SchedulerState:
    """`now` is a monotonic clock in seconds; `wake` is set when pods may have become active."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.wake = asyncio.Event()
        self.queue = SchedulingQueue(now, on_active=self.wake.set)
        self.snapshot = Snapshot()
        self.cache = Cache(self.snapshot)
        self.nominator = Nominator(self.snapshot)
