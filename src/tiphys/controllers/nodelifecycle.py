"""Nodes that fall silent, taints that follow conditions, and the pods that must leave because of
them.

Which taints and when is worked out in `taints`.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tiphys.api import coordination_v1, core_v1
from tiphys.controllers.pods import disruption_patch, is_ready
from tiphys.controllers.shell import Controller, sooner
from tiphys.controllers.taints import (
    NOT_READY,
    UNREACHABLE,
    Sighting,
    eviction_rate,
    eviction_time,
    retaint,
    sightings,
)
from tiphys.machinery import conditions, nodes, timestamps
from tiphys.machinery.errors import StatusError, is_write_overtaken

GRACE = 50.0  # seconds of silence until a node counts as unreachable (node-monitor-grace-period)
ZONE = "topology.kubernetes.io/zone"
_WHILE_SILENT = 5.0  # seconds between checks of a silent node, as node-monitor-period
_AFTER_GRACE = 1.0  # seconds after the grace period until a node is checked
_MARGIN = 0.1  # seconds after a pod's toleration ends until it is checked
_LEASES = "kube-node-lease"  # namespace
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")  # by the node's agent


class _Heartbeat(NamedTuple):
    """The last heartbeat of a node (lease and condition), and when it was first observed."""

    renewals: str
    time: float


def zone_of(node: core_v1.Node) -> str:
    return node.metadata.labels.get(ZONE, "")


def silenced(node: core_v1.Node, now: float) -> core_v1.Node:
    """The node with its conditions Unknown, as after too long without a heartbeat."""
    changed = copy.deepcopy(node)
    for kind in _REPORTED:
        standing = conditions.find(node.status.conditions, kind)
        heartbeat = node.metadata.creation_timestamp
        if standing is not None:
            heartbeat = standing.last_heartbeat_time
        condition = core_v1.NodeCondition(
            type=kind,
            status="Unknown",
            reason="NodeStatusNeverUpdated" if standing is None else "NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_heartbeat_time=heartbeat,
        )
        changed.status.conditions = conditions.updated(changed.status.conditions, condition, now)
    return changed


def without_readiness(pod: core_v1.Pod, now: float) -> core_v1.Pod | None:
    """A copy of a ready pod that is not ready any more; None for one that is not."""
    if not is_ready(pod):
        return None
    changed = copy.deepcopy(pod)
    condition = conditions.find(changed.status.conditions, "Ready")
    assert condition is not None
    condition.status = "False"
    condition.last_transition_time = timestamps.rfc3339(now)
    return changed


class NodeLifecycleController(Controller):
    name = "node-lifecycle"
    event_source = "node-controller"

    def watch(self) -> None:
        self._nodes = self.informer(core_v1.Node)
        self._leases = self.informer(coordination_v1.Lease)
        self._pods = self.informer(core_v1.Pod)
        self._pods.index("node", lambda pod: [pod.spec.node_name])
        self._heartbeats: dict[str, _Heartbeat] = {}  # by node
        self._leases.on_change(self._lease_changed)
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)
        self._eviction_recorder = self.context.recorder.as_component("taint-eviction-controller")
        self._tainted: dict[str, dict[Sighting, float]] = {}  # by node: when taints were first seen
        self._next_evicted: dict[str, float] = {}  # by zone: when the next node may be emptied

    def _lease_changed(self, old: Any, new: Any) -> None:
        """A heartbeat counts from when it arrived: a node that was checked just before its last one
        must not get the time until the next check as well."""
        if new is None or new.metadata.namespace != _LEASES:
            return
        node = self._nodes.get(new.metadata.name)
        if node is not None:
            self._last_heartbeat(node)

    def _node_changed(self, old: Any, new: Any) -> None:
        if new is not None:
            self._last_heartbeat(new)
        self.enqueue(old, new)

    def _pod_changed(self, old: Any, new: Any) -> None:
        """A pod that has just been bound may have to leave at once."""
        if new is None or not new.spec.node_name:
            return
        if old is not None and old.spec.node_name:
            return
        node = self._nodes.get(new.spec.node_name)
        if node is not None and sightings(node):
            self.queue.add(new.spec.node_name)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            self._heartbeats.pop(key, None)
            self._tainted.pop(key, None)
            return None
        silence = self._silence(node)
        if silence > GRACE:
            node = await self._mark_unknown(node)
        stamp = timestamps.rfc3339(self.context.now())
        taints = retaint(node, stamp, self._may_evict(node))
        if taints is not None:
            changed = copy.deepcopy(node)
            changed.spec.taints = taints
            node = await self.client.update(changed)
        wait = await self._evict(node)
        await self._mark_pods(node)
        if silence > GRACE:
            return sooner(wait, _WHILE_SILENT)
        return sooner(wait, GRACE - silence + _AFTER_GRACE)

    # --- silence ---

    def _silence(self, node: core_v1.Node) -> float:
        """Seconds since the node's last heartbeat, by our own clock: the node's may be wrong."""
        return self.context.now() - self._last_heartbeat(node).time

    def _last_heartbeat(self, node: core_v1.Node) -> _Heartbeat:
        """The last heartbeat of the node, and when it was observed."""
        name = node.metadata.name
        lease = self._leases.get(f"{_LEASES}/{name}")
        ready = conditions.find(node.status.conditions, "Ready")
        renewed = lease.spec.renew_time if lease is not None else ""
        heartbeat = ready.last_heartbeat_time if ready is not None else ""
        renewals = f"{renewed}/{heartbeat}"
        observed = self._heartbeats.get(name)
        if observed is None or observed.renewals != renewals:
            observed = self._heartbeats[name] = _Heartbeat(renewals, self.context.now())
        return observed

    async def _mark_unknown(self, node: core_v1.Node) -> core_v1.Node:
        ready = conditions.find(node.status.conditions, "Ready")
        if ready is not None and ready.status == "Unknown":
            return node
        message = f"Node {node.metadata.name} status is now: NodeNotReady"
        self.event(node, "Normal", "NodeNotReady", message)
        return await self.client.update_status(silenced(node, self.context.now()))

    async def _mark_pods(self, node: core_v1.Node) -> None:
        """Pods of a silent node are not ready: services lead elsewhere."""
        ready = conditions.find(node.status.conditions, "Ready")
        if ready is None or ready.status != "Unknown":
            return
        now = self.context.now()
        for pod in self._pods.by("node", node.metadata.name):
            changed = without_readiness(pod, now)
            if changed is not None:
                await self.client.update_status(changed)

    # --- eviction ---

    def _may_evict(self, node: core_v1.Node) -> bool:
        """Whether the pods of a silent node may be sent away now: one node after the other, at the
        zone's rate."""
        if nodes.is_ready(node):
            return True
        zone = zone_of(node)
        name = node.metadata.name
        # The informer may not show yet that this one was just marked.
        everyone = [node, *(other for other in self._nodes if other.metadata.name != name)]
        peers = [other for other in everyone if zone_of(other) == zone]
        others = [other for other in everyone if zone_of(other) != zone]
        rate = eviction_rate(peers, others)
        is_evicted = any(taint.key in (NOT_READY, UNREACHABLE) for taint in sightings(node))
        if not rate or is_evicted:
            return bool(rate)
        now = self.context.now()
        if now < self._next_evicted.get(zone, 0.0):
            return False
        self._next_evicted[zone] = now + 1.0 / rate
        return True

    async def _evict(self, node: core_v1.Node) -> float | None:
        """Deletes the pods whose time is up. Returns the seconds until the next one's is."""
        now = self.context.now()
        seen = self._first_seen(node, now)
        if not seen:
            return None
        wait: float | None = None
        for pod in self._pods.by("node", node.metadata.name):
            leaves = eviction_time(pod, node.spec.taints, now, seen)
            if leaves is None or pod.metadata.deletion_timestamp:
                continue
            if leaves > now:
                wait = sooner(wait, leaves - now + _MARGIN)
            else:
                await self._evict_pod(pod, now)
        return wait

    def _first_seen(self, node: core_v1.Node, now: float) -> dict[Sighting, float]:
        """When each NoExecute taint of the node was first seen."""
        before = self._tainted.get(node.metadata.name, {})
        seen = {sighting: before.get(sighting, now) for sighting in sightings(node)}
        self._tainted[node.metadata.name] = seen
        return seen

    async def _evict_pod(self, pod: core_v1.Pod, now: float) -> None:
        meta = pod.metadata
        message = f"Marking for deletion Pod {meta.namespace}/{meta.name}"
        self._eviction_recorder.record(pod, "Normal", "TaintManagerEviction", message)
        reason = "Taint manager: deleting due to NoExecute taint"
        change = disruption_patch(pod, "DeletionByTaintManager", reason, now)
        try:
            await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
            await self.delete(pod)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
