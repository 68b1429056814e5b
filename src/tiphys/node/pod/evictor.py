"""Keeps a node from running out of what its pods share: it reports that it is short of something,
takes no more pods, removes images that can be pulled again, and evicts pods, one at a time.

Policy is in `pressure`; the counterpart of upstream's eviction manager.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.eviction import folder_inodes, measure
from tiphys.node.resources.pressure import (
    DISK_PRESSURE,
    HOLD,
    INODES,
    PIDS,
    SIGNALS,
    STORAGE,
    Consumer,
    Observed,
    Pressures,
    Threshold,
    message,
    ranked,
)
from tiphys.node.resources.thresholds import Thresholds
from tiphys.node.states import Usage

log = logging.getLogger(__name__)

_CLEAN_UP = 30.0  # seconds that an evicted pod is waited for before another goes, as upstream

Uses = Mapping[str, Mapping[str, Usage]]  # by pod uid and container


class Senses(NamedTuple):
    """What the evictor observes and what it may do.

    observe:        what is left, by signal
    usage:          of containers, by pod uid and name. Raises RuntimeFault, TimeoutError
    reclaim_images: removes unused images; returns the bytes that this freed
    now:            seconds since the epoch
    processes:      how many a pod has
    event:          records an Event about the node: a reason and a message
    evicted:        counts an eviction for a signal
    """

    observe: Callable[[], dict[str, Observed]]
    usage: Callable[[], Awaitable[dict[str, dict[str, Usage]]]]
    reclaim_images: Callable[[], Awaitable[int]]
    now: Callable[[], float]
    processes: Callable[[core_v1.Pod], Awaitable[int]]
    event: Callable[[str, str], None]
    evicted: Callable[[str], None]


class Eviction(NamedTuple):
    """A pod that was evicted, and when (seconds since the epoch)."""

    managed: ManagedPod
    evicted_at: float


class Evictor:
    """Of one node. `conditions` are those that hold: MemoryPressure and the like."""

    def __init__(
        self,
        thresholds: Iterable[Threshold],
        senses: Senses,
        hold: float = HOLD,
        max_grace: float = 0,
    ) -> None:
        """`hold`: seconds that a condition holds after its reason is over. `max_grace`: seconds at
        most that a pod has which a soft threshold evicts."""
        self._thresholds = Thresholds(thresholds)
        self._senses = senses
        self._pressures = Pressures(hold)
        self._max_grace = max_grace
        self._last: Eviction | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        return self._pressures.conditions

    async def look(self, pods: Iterable[ManagedPod]) -> ManagedPod | None:
        """One look at the node; the pod that has to go for it, if any. Raises RuntimeFault,
        TimeoutError."""
        observed = self._senses.observe()
        now = self._senses.now()
        crossed = self._thresholds.observe(observed, now)
        self._pressures.observe(crossed.all, now)
        if not crossed.due or self._waits(now):
            return None
        threshold = crossed.due[0]
        condition, resource = SIGNALS[threshold.signal]
        self._senses.event("EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if condition == DISK_PRESSURE:
            freed = await self._senses.reclaim_images()
            if freed:
                log.info("Unused images of %d bytes were removed: the disk is short", freed)
                observed = self._senses.observe()
                if not self._thresholds.unresolved(observed):
                    return None
        return await self._evict_one(threshold, observed, pods)

    def _waits(self, now: float) -> bool:
        """Whether the last pod is still ending: what it leaves may be enough."""
        last = self._last
        return (
            last is not None
            and not last.managed.ended.is_set()
            and now - last.evicted_at < _CLEAN_UP
        )

    async def _evict_one(
        self, threshold: Threshold, observed: Mapping[str, Observed], pods: Iterable[ManagedPod]
    ) -> ManagedPod | None:
        running = [pod for pod in pods if pod.is_active]
        if any(pod.pod.metadata.deletion_timestamp for pod in running):
            return None  # what it leaves may be enough
        used = await self._senses.usage()
        resource = SIGNALS[threshold.signal][1]
        by_uid = {pod.pod.metadata.uid: pod for pod in running}
        consumers = [
            await self._consumer(pod, used.get(uid, {}), resource) for uid, pod in by_uid.items()
        ]
        for consumer in ranked(consumers, resource):
            evicted = by_uid[consumer.pod.metadata.uid]
            text = message(threshold, observed[threshold.signal], consumer)
            evicted.event("Warning", "Evicted", text)
            evicted.evict(Rejection("Evicted", text), self._grace(threshold, evicted), text)
            self._last = Eviction(evicted, self._senses.now())
            self._senses.evicted(threshold.signal)
            return evicted
        log.warning("The node is short of %s, and no pod of it can be evicted", resource)
        return None

    def _grace(self, threshold: Threshold, evicted: ManagedPod) -> float:
        if not threshold.is_soft:
            return 0
        own = evicted.pod.spec.termination_grace_period_seconds
        return self._max_grace if own is None else min(self._max_grace, own)

    async def _consumer(
        self, managed: ManagedPod, used: Mapping[str, Usage], resource: str
    ) -> Consumer:
        if resource == PIDS:
            count = await self._senses.processes(managed.pod)
            return Consumer(managed.pod, {PIDS: count}, {})
        if resource == INODES:
            return await _consumer_of_inodes(managed, used)
        return await _consumer(managed, used, resource == STORAGE)


async def _consumer(pod: ManagedPod, used: Mapping[str, Usage], with_disk: bool) -> Consumer:
    containers: dict[str, dict[str, int]] = {
        name: {"memory": usage.working_set, STORAGE: usage.disk} for name, usage in used.items()
    }
    total = {"memory": sum(usage.working_set for usage in used.values())}
    if with_disk:
        disk = await measure(pod.pod.spec, *pod.folders_on_disk(), _written(used))
        for name, size in disk.containers.items():
            containers.setdefault(name, {})[STORAGE] = size
        total[STORAGE] = sum(disk.containers.values()) + sum(disk.volumes.values())
    return Consumer(pod.pod, total, containers)


async def _consumer_of_inodes(pod: ManagedPod, used: Mapping[str, Usage]) -> Consumer:
    """Of volumes, logs, and what containers wrote."""
    volumes, logs = pod.folders_on_disk()
    count = sum(usage.inodes for usage in used.values())
    for folder in (*volumes.values(), *logs.values()):
        count += await folder_inodes(folder)
    return Consumer(pod.pod, {INODES: count}, {})


def _written(used: Mapping[str, Usage]) -> dict[str, int]:
    return {name: usage.disk for name, usage in used.items()}
