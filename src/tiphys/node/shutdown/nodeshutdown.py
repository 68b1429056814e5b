"""Ends the pods of a node that is about to be switched off, the least important first."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tiphys.machinery import timestamps
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.shutdown.periods import Period, Periods, grouped

log = logging.getLogger(__name__)

NOT_READY = "node is shutting down"
REFUSED = Rejection("NodeShutdown", "Pod was rejected as the node is shutting down.")
_MESSAGE = "Pod was terminated in response to imminent node shutdown."
TERMINATED = Rejection("Terminated", _MESSAGE)
_STATE = "graceful_node_shutdown_state"
_DETECTED = "Shutdown manager detected shutdown event"
_CANCELLED = "Shutdown manager detected shutdown cancellation"


class Announcements(NamedTuple):
    """How a shutdown is reported.

    report:  has the node's status written
    event:   records a reason and a message about the node
    metrics: show when it began and ended
    now:     seconds since the epoch
    """

    report: Callable[[], None]
    event: Callable[[str, str], None]
    metrics: KubeletMetrics
    now: Callable[[], float]


class NodeShutdown:
    """Of one node. `is_under_way`: it is not ready and takes no pods."""

    def __init__(
        self,
        periods: Periods,
        pods: Callable[[], Iterable[ManagedPod]],
        announcements: Announcements,
        folder: Path,
    ) -> None:
        """`folder` is the node's, where it notes its last shutdown."""
        self.periods = periods
        self.is_under_way = False
        self._pods = pods
        self._announcements = announcements
        self._state = folder / _STATE
        self._show_last()

    async def begin(self) -> None:
        """Returns when all pods have ended, or their time is over."""
        say = self._announcements
        self.is_under_way = True
        say.event("NodeShutdown", _DETECTED)
        say.report()
        began = say.now()
        self._note(began)
        active = [managed for managed in self._pods() if managed.is_active]
        by_priority = [(managed.pod.spec.priority or 0, managed) for managed in active]
        for period, pods in grouped(self.periods, by_priority):
            await _end(period, pods)
        self._note(began, say.now())
        log.info("%d pods were ended: the node may be switched off", len(active))

    def cancel(self) -> None:
        """The machine stays on after all. Pods that have ended stay so."""
        self.is_under_way = False
        self._announcements.event("NodeShutdown", _CANCELLED)
        self._announcements.report()

    # --- the last shutdown ---

    def _note(self, began: float, ended: float = 0.0) -> None:
        self._show(began, ended)
        times = {"startTime": timestamps.rfc3339(began)}
        if ended:
            times["endTime"] = timestamps.rfc3339(ended)
        fresh = self._state.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(times))
            os.replace(fresh, self._state)
        except OSError as error:
            log.warning("The time of the shutdown is not noted: %s", error)

    def _show(self, began: float, ended: float) -> None:
        metrics = self._announcements.metrics
        metrics.shutdown_start.set(began)
        metrics.shutdown_end.set(ended)

    def _show_last(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            times = json.loads(self._state.read_text())
            began = timestamps.parse(times.get("startTime", "")) or 0.0
            self._show(began, timestamps.parse(times.get("endTime", "")) or 0.0)


async def _end(period: Period, pods: Sequence[ManagedPod]) -> None:
    """A pod whose spec gives it less time has less. A period without pods is skipped."""
    for managed in pods:
        own = managed.pod.spec.termination_grace_period_seconds
        grace = period.seconds if own is None else min(own, period.seconds)
        managed.evict(TERMINATED, grace, _MESSAGE)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(period.seconds):
            for managed in pods:
                await managed.ended.wait()
