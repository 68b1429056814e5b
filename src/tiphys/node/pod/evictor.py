"""Keeps a node from running out of what its pods share: it reports that it is short of something,
takes no more pods, removes images that can be pulled again, and evicts pods, one at a time.

Policy is in `pressure`; the counterpart of upstream's eviction manager.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from tiphys.machinery.finished import pod_finished
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.eviction import measure
from tiphys.node.resources.pressure import (
    DISK_PRESSURE,
    HOLD,
    SIGNALS,
    Consumer,
    Observed,
    Pressures,
    Threshold,
    crossed,
    message,
    ranked,
)
from tiphys.node.states import Usage

log = logging.getLogger(__name__)

Uses = Mapping[str, Mapping[str, Usage]]  # by pod uid and container


class Senses(NamedTuple):
    """What the evictor looks at and what it may do.

    observe:        what is left, by signal
    usage:          of containers, by pod uid and name. Raises RuntimeFault, TimeoutError
    reclaim_images: removes unused images; returns the bytes that this freed
    now:            seconds since the epoch
    """

    observe: Callable[[], dict[str, Observed]]
    usage: Callable[[], Awaitable[dict[str, dict[str, Usage]]]]
    reclaim_images: Callable[[], Awaitable[int]]
    now: Callable[[], float]


class Evictor:
    """Of one node. `conditions` are those that hold: MemoryPressure and the like."""

    def __init__(self, thresholds: Iterable[Threshold], senses: Senses, hold: float = HOLD) -> None:
        """`hold`: seconds that a condition holds after its reason is over."""
        self._thresholds = list(thresholds)
        self._senses = senses
        self._pressures = Pressures(hold)

    @property
    def conditions(self) -> tuple[str, ...]:
        return self._pressures.conditions

    async def look(self, pods: Iterable[ManagedPod]) -> ManagedPod | None:
        """One look at the node; the pod that has to go for it, if any. Raises RuntimeFault,
        TimeoutError."""
        observed = self._senses.observe()
        short_of = crossed(self._thresholds, observed)
        self._pressures.observe(short_of, self._senses.now())
        if not short_of:
            return None
        if SIGNALS[short_of[0].signal][0] == DISK_PRESSURE:
            freed = await self._senses.reclaim_images()
            if freed:
                log.info("Unused images of %d bytes were removed: the disk is short", freed)
                observed = self._senses.observe()
                short_of = crossed(self._thresholds, observed)
                if not short_of:
                    return None
        return await self._evict_one(short_of[0], observed, pods)

    async def _evict_one(
        self, threshold: Threshold, observed: Mapping[str, Observed], pods: Iterable[ManagedPod]
    ) -> ManagedPod | None:
        running = [pod for pod in pods if pod.failure is None and not pod_finished(pod.pod)]
        if any(pod.pod.metadata.deletion_timestamp for pod in running):
            return None  # what it leaves may be enough
        used = await self._senses.usage()
        condition, resource = SIGNALS[threshold.signal]
        by_uid = {pod.pod.metadata.uid: pod for pod in running}
        consumers = [
            await _consumer(pod, used.get(uid, {}), condition == DISK_PRESSURE)
            for uid, pod in by_uid.items()
        ]
        for consumer in ranked(consumers, resource):
            evicted = by_uid[consumer.pod.metadata.uid]
            text = message(threshold, observed[threshold.signal], consumer)
            evicted.event("Warning", "Evicted", text)
            evicted.failure = Rejection("Evicted", text)
            evicted.wake()
            return evicted
        log.warning("The node is short of %s, and no pod of it can be evicted", resource)
        return None


async def _consumer(pod: ManagedPod, used: Mapping[str, Usage], with_disk: bool) -> Consumer:
    containers: dict[str, dict[str, int]] = {
        name: {"memory": usage.working_set, "ephemeral-storage": usage.disk}
        for name, usage in used.items()
    }
    total = {"memory": sum(usage.working_set for usage in used.values())}
    if with_disk:
        disk = await measure(pod.pod.spec, *pod.folders_on_disk(), _written(used))
        for name, size in disk.containers.items():
            containers.setdefault(name, {})["ephemeral-storage"] = size
        total["ephemeral-storage"] = sum(disk.containers.values()) + sum(disk.volumes.values())
    return Consumer(pod.pod, total, containers)


def _written(used: Mapping[str, Usage]) -> dict[str, int]:
    return {name: usage.disk for name, usage in used.items()}
