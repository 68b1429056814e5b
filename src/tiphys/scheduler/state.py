"""The state that the scheduling cycle, event handlers and binding cycles share. All run on one
event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from tiphys.scheduler.cache import Cache
from tiphys.scheduler.gangs import Gangs
from tiphys.scheduler.metrics import SchedulerMetrics
from tiphys.scheduler.nominator import Nominator
from tiphys.scheduler.queue import Part, SchedulingQueue
from tiphys.scheduler.snapshot import Snapshot


class SchedulerState:
    """`now` is a monotonic clock in seconds; `wake` is set when pods may have become active."""

    def __init__(self, now: Callable[[], float], metrics: SchedulerMetrics | None = None) -> None:
        self.now = now
        self.wake = asyncio.Event()
        self.metrics = metrics or SchedulerMetrics(CollectorRegistry())
        self.queue = SchedulingQueue(
            now, on_active=self.wake.set, on_incoming=self.metrics.incoming
        )
        self.metrics.show_pending(
            {
                Part.ACTIVE: self.queue.count_active,
                Part.BACKOFF: self.queue.count_backoff,
                Part.UNSCHEDULABLE: self.queue.count_unschedulable,
            }
        )
        self.snapshot = Snapshot()
        self.cache = Cache(self.snapshot)
        self.nominator = Nominator(self.snapshot)
        self.gangs = Gangs()
