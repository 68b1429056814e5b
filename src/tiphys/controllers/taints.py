"""Taints that follow a node's conditions, and when pods must leave because of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.nodes import is_ready, toleration_of

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_BY_READINESS = {"False": NOT_READY, "Unknown": UNREACHABLE}
_BY_CONDITION = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OURS = frozenset((NOT_READY, UNREACHABLE, _UNSCHEDULABLE, *_BY_CONDITION.values()))

# Upstream's node-eviction-rate, secondary-node-eviction-rate, unhealthy-zone-threshold and
# large-cluster-size-threshold.
_RATE = 0.1  # nodes that are emptied each second in a zone that is well
_SLOW_RATE = 0.01  # and in a large one that is not
_UNHEALTHY = 0.55  # share of silent nodes from which a zone is not well
_LARGE = 50  # nodes; in a smaller zone that is not well none is emptied


def eviction_rate(zone: list[core_v1.Node], others: list[core_v1.Node]) -> float:
    """Nodes of a zone that may be emptied each second. 0 when no node of the cluster sends
    heartbeats: then it is more likely that the control plane is cut off."""
    silent = sum(not is_ready(node) for node in zone)
    if silent == len(zone):
        return _RATE if any(map(is_ready, others)) else 0.0
    if silent > 2 and silent >= _UNHEALTHY * len(zone):
        return _SLOW_RATE if len(zone) > _LARGE else 0.0
    return _RATE


class Wanted(NamedTuple):
    """A taint as a node's conditions call for it."""

    key: str
    effect: str


def wanted_taints(node: core_v1.Node, evicting: bool = True) -> list[Wanted]:
    """The taints that a node should have; with `evicting` its pods may be sent away now. A node
    that has never said anything takes no pods, and has none to be sent away."""
    taints = []
    ready = conditions.find(node.status.conditions, "Ready")
    if ready is None:
        taints.append(Wanted(NOT_READY, "NoSchedule"))
    elif ready.status in _BY_READINESS:
        key = _BY_READINESS[ready.status]
        taints.append(Wanted(key, "NoSchedule"))
        if evicting:
            taints.append(Wanted(key, "NoExecute"))
    for kind, key in _BY_CONDITION.items():
        if conditions.is_true(node.status.conditions, kind):
            taints.append(Wanted(key, "NoSchedule"))
    if node.spec.unschedulable:
        taints.append(Wanted(_UNSCHEDULABLE, "NoSchedule"))
    return taints


def retaint(node: core_v1.Node, stamp: str, evicting: bool = True) -> list[core_v1.Taint] | None:
    """The node's taints as they should be, None when they are so already. Those of others stay;
    `stamp` is now, from when on tolerations of new ones count."""
    wanted = wanted_taints(node, evicting)
    standing = {(taint.key, taint.effect) for taint in node.spec.taints if taint.key in _OURS}
    if standing == set(wanted):
        return None
    taints = [
        taint
        for taint in node.spec.taints
        if taint.key not in _OURS or (taint.key, taint.effect) in wanted
    ]
    for key, effect in wanted:
        if (key, effect) in standing:
            continue
        since = stamp if effect == "NoExecute" else None
        taints.append(core_v1.Taint(key=key, effect=effect, time_added=since))
    return taints


class Sighting(NamedTuple):
    """What identifies a NoExecute taint among those of its node."""

    key: str
    value: str


def sightings(node: core_v1.Node) -> list[Sighting]:
    """The NoExecute taints of a node."""
    return [
        Sighting(taint.key, taint.value)
        for taint in node.spec.taints
        if taint.effect == "NoExecute"
    ]


def eviction_time(
    pod: core_v1.Pod,
    taints: list[core_v1.Taint],
    now: float,
    seen: Mapping[Sighting, float] | None = None,
) -> float | None:
    """When a pod must leave because of NoExecute taints, in seconds since the epoch; None: never.

    A taint that does not say since when it is there counts from when it was first `seen`, and no
    taint before the pod was put on the node.
    """
    bound = _bound_at(pod)
    seen = seen or {}
    soonest: float | None = None
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        toleration = toleration_of(taint, pod.spec.tolerations)
        if toleration is None:
            return now
        if toleration.toleration_seconds is None:
            continue
        added = timestamps.parse(taint.time_added)
        if not added:
            added = seen.get(Sighting(taint.key, taint.value), now)
        leaves = max(added, bound) + max(0, toleration.toleration_seconds)
        soonest = leaves if soonest is None else min(soonest, leaves)
    return soonest


def _bound_at(pod: core_v1.Pod) -> float:
    scheduled = conditions.find(pod.status.conditions, "PodScheduled")
    since = scheduled.last_transition_time if scheduled is not None else None
    return timestamps.parse(since or pod.metadata.creation_timestamp)
