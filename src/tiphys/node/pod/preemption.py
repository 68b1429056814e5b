"""Which pods make room on a node for a critical one that is bound to it. The choice is pure;
upstream's `pkg/kubelet/preemption`.

As few pods as possible, and the cheapest: best-effort pods before burstable ones before guaranteed
ones, of each kind those that come closest to what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence

from tiphys.api import core_v1
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.pressure import is_critical

log = logging.getLogger(__name__)

PREEMPTED = Rejection("Preempting", "Preempted in order to admit critical pod")
_DISRUPTION = "Pod was preempted by Kubelet to accommodate a critical pod."
_CLASSES = ("BestEffort", "Burstable", "Guaranteed")
_MARGIN = 10.0  # seconds beyond their grace that pods may take to end


Lacking = Mapping[str, int]  # by resource, in the units of `footprint`


class NoneToPreempt(Exception):
    """All pods together that may go would not make enough room. The text is upstream's."""

    def __init__(self, missing: Lacking) -> None:
        listed = "".join(f"(res: {name}, q: {amount}), " for name, amount in missing.items())
        super().__init__(
            "Unexpected error while attempting to recover from admission failure: preemption: "
            "error finding a set of pods to preempt: no set of running pods found to reclaim "
            f"resources: [{listed}]"
        )


async def make_room(
    pod: core_v1.Pod, pods: Iterable[ManagedPod], lacking: Lacking
) -> Sequence[ManagedPod]:
    """Ends pods of the node for a critical one; returns those when they have ended. Raises
    NoneToPreempt."""
    chosen = to_preempt(pod, pods, lacking)
    for managed in chosen:
        log.info("Pod %s makes room for %s", managed.identity, pod.metadata.name)
        managed.event("Warning", *PREEMPTED)
        managed.evict(PREEMPTED, disruption=_DISRUPTION)
    longest = max((managed.eviction_grace or 0 for managed in chosen), default=0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(longest + _MARGIN):
            for managed in chosen:
                await managed.ended.wait()
    return chosen


def to_preempt(
    pod: core_v1.Pod, pods: Iterable[ManagedPod], lacking: Lacking
) -> Sequence[ManagedPod]:
    """Raises NoneToPreempt."""
    classes: dict[str, list[ManagedPod]] = {name: [] for name in _CLASSES}
    for managed in pods:
        if managed.is_active and _may_preempt(pod, managed.pod):
            classes[managed.pod.status.qos_class or "BestEffort"].append(managed)
    best_effort, burstable, guaranteed = classes.values()
    if missing := _without(lacking, [*best_effort, *burstable, *guaranteed]):
        raise NoneToPreempt(missing)
    first = _closest(guaranteed, _without(lacking, [*best_effort, *burstable]))
    second = _closest(burstable, _without(lacking, [*best_effort, *first]))
    third = _closest(best_effort, _without(lacking, [*first, *second]))
    return [*third, *second, *first]


def _may_preempt(pod: core_v1.Pod, other: core_v1.Pod) -> bool:
    return (is_critical(pod) and not is_critical(other)) or (
        (pod.spec.priority or 0) > (other.spec.priority or 0)
    )


def _closest(pods: list[ManagedPod], lacking: Lacking) -> list[ManagedPod]:
    chosen: list[ManagedPod] = []
    left = list(pods)
    while lacking and left:
        best = min(left, key=lambda managed: (_distance(managed, lacking), *_size(managed)))
        left.remove(best)
        chosen.append(best)
        lacking = _without(lacking, [best])
    return chosen


def _distance(managed: ManagedPod, lacking: Lacking) -> float:
    """How far a pod's requests are from what is missing, each resource counted alike."""
    shares = (
        max(0, amount - _requested(managed, name)) / amount for name, amount in lacking.items()
    )
    return sum(share**2 for share in shares)


def _size(managed: ManagedPod) -> tuple[int, int]:
    return _requested(managed, "memory"), _requested(managed, "cpu")


def _without(lacking: Lacking, pods: Iterable[ManagedPod]) -> Lacking:
    """What is still missing without these pods."""
    pods = list(pods)
    left = {
        name: amount - sum(_requested(managed, name) for managed in pods)
        for name, amount in lacking.items()
    }
    return {name: amount for name, amount in left.items() if amount > 0}


def _requested(managed: ManagedPod, name: str) -> int:
    return 1 if name == "pods" else managed.footprint.requests.get(name, 0)
