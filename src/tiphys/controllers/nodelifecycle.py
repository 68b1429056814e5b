"""Nodes that fall silent, taints that follow conditions, and the pods that must leave because of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tiphys.api import coordination_v1, core_v1
from tiphys.controllers.pods import condition, is_ready
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.nodes import toleration_of

GRACE = 50.0  # seconds of silence until a node counts as unreachable
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS = frozenset((NOT_READY, UNREACHABLE, _UNSCHEDULABLE, *_PRESSURE.values()))


# --- the core: pure ---


ZONE = "topology.kubernetes.io/zone"
_RATE, _SLOW_RATE = (
    0.1,
    0.01,
)  # nodes emptied each second, in a zone that is well and in one that is not
_UNHEALTHY, _LARGE = (
    0.55,
    50,
)  # share of silent nodes that makes a zone unwell; nodes from which it is worth the wait


def zone_of(node: core_v1.Node) -> str:
    return node.metadata.labels.get(ZONE, "")


def is_well(node: core_v1.Node) -> bool:
    ready = condition(node, "Ready")
    return ready is not None and ready.status == "True"


def eviction_rate(zone: list[core_v1.Node], others: list[core_v1.Node]) -> float:
    """Nodes of a zone that may be emptied each second. None when every node of the cluster is silent: then it is more
    likely that it is us who cannot hear them."""
    silent = sum(not is_well(node) for node in zone)
    if silent == len(zone) and not any(map(is_well, others)):
        return 0.0
    if silent > 2 and silent >= _UNHEALTHY * len(zone) and silent < len(zone):
        return _SLOW_RATE if len(zone) > _LARGE else 0.0
    return _RATE


def wanted_taints(node: core_v1.Node, emptying: bool = True) -> list[tuple[str, str]]:
    """(key, effect) of the taints that a node's conditions call for; `emptying`: its pods may be sent away now."""
    ready = condition(node, "Ready")
    taints = []
    if ready is None or ready.status == "False":
        taints += [(NOT_READY, "NoSchedule")] + (
            [(NOT_READY, "NoExecute")] if ready is not None and emptying else []
        )
    elif ready.status == "Unknown":
        taints += [(UNREACHABLE, "NoSchedule")] + ([(UNREACHABLE, "NoExecute")] if emptying else [])
    taints += [
        (key, "NoSchedule")
        for name, key in _PRESSURE.items()
        if (c := condition(node, name)) is not None and c.status == "True"
    ]
    if node.spec.unschedulable:
        taints.append((_UNSCHEDULABLE, "NoSchedule"))
    return taints


def retaint(node: core_v1.Node, stamp: str, emptying: bool = True) -> list[core_v1.Taint] | None:
    """The node's taints as they should be, None when they are so already."""
    wanted = wanted_taints(node, emptying)
    standing = {(t.key, t.effect) for t in node.spec.taints if t.key in _OURS}
    if standing == set(wanted):
        return None
    kept = [t for t in node.spec.taints if t.key not in _OURS or (t.key, t.effect) in wanted]
    made = [
        core_v1.Taint(key=k, effect=e, time_added=stamp if e == "NoExecute" else None)
        for k, e in wanted
        if (k, e) not in standing
    ]
    return kept + made


Sighting = tuple[str, str]  # key and value of a NoExecute taint


def eviction_time(
    pod: core_v1.Pod,
    taints: list[core_v1.Taint],
    now: float,
    seen: Mapping[Sighting, float] | None = None,
) -> float | None:
    """When the pod must leave because of NoExecute taints; None: never. A taint that does not say since when it is there
    counts from when it was first `seen`, and no taint before the pod was put on the node."""
    bound = _bound_at(pod)
    soonest: float | None = None
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        toleration = toleration_of(taint, pod.spec.tolerations)
        if toleration is None:
            return now
        if toleration.toleration_seconds is not None:
            since = timestamps.parse(taint.time_added) or (seen or {}).get(
                (taint.key, taint.value), now
            )
            since = max(since, bound)
            when = since + max(0, toleration.toleration_seconds)
            soonest = when if soonest is None else min(soonest, when)
    return soonest


def _bound_at(pod: core_v1.Pod) -> float:
    scheduled = condition(pod, "PodScheduled")
    since = scheduled.last_transition_time if scheduled is not None else None
    return timestamps.parse(since or pod.metadata.creation_timestamp)


# --- the shell ---


class NodeLifecycleController(Controller):
    name = "node-lifecycle"
    event_source = "node-controller"

    def watch(self) -> None:
        self._nodes, self._leases = (
            self.informer(core_v1.Node),
            self.informer(coordination_v1.Lease),
        )
        self._pods = self.informer(core_v1.Pod)
        self._pods.index("node", lambda pod: [pod.spec.node_name])
        self._nodes.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)
        self._heard: dict[str, tuple[str, float]] = {}
        self._eviction_recorder = self.context.recorder.as_component("taint-eviction-controller")
        self._tainted: dict[
            str, dict[Sighting, float]
        ] = {}  # by node: when its NoExecute taints were first seen
        self._next_emptied: dict[str, float] = {}  # by zone: when the next node may be emptied

    def _pod_changed(self, old: Any, new: Any) -> None:
        if new is not None and new.spec.node_name and (old is None or not old.spec.node_name):
            node = self._nodes.get(new.spec.node_name)
            if node is not None and any(t.effect == "NoExecute" for t in node.spec.taints):
                self.queue.add(new.spec.node_name)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            self._heard.pop(key, None)
            self._tainted.pop(key, None)
            return None
        silent = self._silence(node)
        if silent > GRACE:
            node = await self._mark_unknown(node)
        taints = retaint(node, timestamps.rfc3339(self.context.now()), self._may_empty(node))
        if taints is not None:
            copied = copy.deepcopy(node)
            copied.spec.taints = taints
            node = await self.client.update(copied)
        wait = await self._evict(node)
        await self._mark_pods(node)
        again = max(1.0, GRACE - silent + 1.0) if silent <= GRACE else 5.0
        return min(again, wait) if wait is not None else again

    def _may_empty(self, node: core_v1.Node) -> bool:
        """Whether the pods of a silent node may be sent away now: one node after the other, at the zone's rate."""
        standing = any(
            t.effect == "NoExecute" and t.key in (NOT_READY, UNREACHABLE) for t in node.spec.taints
        )
        if is_well(node):
            return True
        zone, others = zone_of(node), list(self._nodes)
        peers = [n for n in others if zone_of(n) == zone]
        rate = eviction_rate(peers, [n for n in others if zone_of(n) != zone])
        if standing or not rate:
            return bool(rate)
        now = self.context.now()
        if now < self._next_emptied.get(zone, 0.0):
            return False
        self._next_emptied[zone] = now + 1.0 / rate
        return True

    def _silence(self, node: core_v1.Node) -> float:
        """Seconds since the node was last heard of, by our own clock."""
        lease = self._leases.get(f"kube-node-lease/{node.metadata.name}")
        ready = condition(node, "Ready")
        sign = (
            f"{lease.spec.renew_time if lease else ''}/{ready.last_heartbeat_time if ready else ''}"
        )
        now, seen = self.context.now(), self._heard.get(node.metadata.name)
        if seen is None or seen[0] != sign:
            self._heard[node.metadata.name] = (sign, now)
            return 0.0
        return now - seen[1]

    async def _mark_unknown(self, node: core_v1.Node) -> core_v1.Node:
        ready = condition(node, "Ready")
        if ready is not None and ready.status == "Unknown":
            return node
        copied, stamp = copy.deepcopy(node), timestamps.rfc3339(self.context.now())
        names = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
        standing = {c.type: c for c in copied.status.conditions}
        for name in names:
            made = standing.get(name) or core_v1.NodeCondition(
                type=name, last_heartbeat_time=node.metadata.creation_timestamp
            )
            made.status, made.reason = (
                "Unknown",
                "NodeStatusUnknown" if name in standing else "NodeStatusNeverUpdated",
            )
            made.message, made.last_transition_time = "Kubelet stopped posting node status.", stamp
            standing[name] = made
        copied.status.conditions = list(standing.values())
        self.context.recorder.record(
            node, "Normal", "NodeNotReady", f"Node {node.metadata.name} status is now: NodeNotReady"
        )
        return await self.client.update_status(copied)

    async def _mark_pods(self, node: core_v1.Node) -> None:
        """Pods of a node that is not ready are not ready either."""
        ready = condition(node, "Ready")
        if ready is None or ready.status != "Unknown":
            return
        for pod in self._pods.by("node", node.metadata.name):
            if is_ready(pod):
                copied = copy.deepcopy(pod)
                found = condition(copied, "Ready")
                assert found is not None
                found.status, found.last_transition_time = (
                    "False",
                    timestamps.rfc3339(self.context.now()),
                )
                await self.client.update_status(copied)

    def _sightings(self, node: core_v1.Node, now: float) -> dict[Sighting, float]:
        before = self._tainted.get(node.metadata.name, {})
        taints = [(t.key, t.value) for t in node.spec.taints if t.effect == "NoExecute"]
        found = self._tainted[node.metadata.name] = {
            taint: before.get(taint, now) for taint in taints
        }
        return found

    async def _evict(self, node: core_v1.Node) -> float | None:
        """Deletes the pods whose time is up; returns when the next one's is."""
        now, soonest = self.context.now(), None
        seen = self._sightings(node, now)
        if not seen:
            return None
        for pod in self._pods.by("node", node.metadata.name):
            when = eviction_time(pod, node.spec.taints, now, seen)
            if when is None or pod.metadata.deletion_timestamp:
                continue
            if when > now:
                soonest = when if soonest is None else min(soonest, when)
                continue
            self._eviction_recorder.record(
                pod,
                "Normal",
                "TaintManagerEviction",
                f"Marking for deletion Pod {pod.metadata.namespace}/{pod.metadata.name}",
            )
            mark = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": timestamps.rfc3339(now),
            }
            change = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [mark]}}
            try:
                await self.client.patch(
                    core_v1.Pod, pod.metadata.name, change, pod.metadata.namespace, "status"
                )
                await self.client.delete(
                    core_v1.Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid
                )
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
        return None if soonest is None else soonest - now + 0.1
