"""Event handlers: what informers report changes the node snapshot, and moves pods in the queue.

An object that can make an unschedulable pod schedulable becomes a cluster event; the queue asks the
pod's queueing hint about it (`SchedulingQueue.move_on`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.informer import Informer
from tiphys.machinery.finished import pod_finished
from tiphys.scheduler.cluster_events import (
    ClusterEvent,
    EventKind,
    node_events,
    pod_events,
)
from tiphys.scheduler.devices.claim_gate import ClaimGate
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.state import SchedulerState


class EventHandlers:
    """Handles pods that name one of `scheduler_names`, and pods on nodes whatever bound them."""

    def __init__(
        self,
        state: SchedulerState,
        devices: DeviceTracker,
        claim_gate: ClaimGate,
        scheduler_names: Container[str],
    ) -> None:
        self._queue = state.queue
        self._snapshot = state.snapshot
        self._cache = state.cache
        self._nominator = state.nominator
        self._gangs = state.gangs
        self._devices = devices
        self._claim_gate = claim_gate
        self._scheduler_names = scheduler_names
        self._gated: set[str] = set()  # uids of pods with scheduling gates
        state.metrics.show_pending({"gated": self.count_gated})

    def follow_cluster(
        self,
        namespaces: Informer[core_v1.Namespace],
        nodes: Informer[core_v1.Node],
        pods: Informer[core_v1.Pod],
    ) -> None:
        """Called when all informers have synced: pods are not to be scheduled before their nodes
        are known."""
        namespaces.on_change(self.namespace_changed)
        nodes.on_change(self.node_changed)
        pods.on_change(self.pod_changed)

    def follow_storage(
        self, informers: Sequence[Informer[Any]], on_change: Callable[[], None]
    ) -> None:
        """Follows what the volume lister knows. `on_change` is called before the queue is."""

        def storage_changed(old: Any, new: Any) -> None:
            on_change()
            obj = new if new is not None else old
            self._queue.move_on(ClusterEvent(EventKind.STORAGE, obj=obj))

        for informer in informers:
            informer.on_change(storage_changed)

    def follow_devices(
        self,
        claims: Informer[v1.ResourceClaim],
        classes: Informer[v1.DeviceClass],
        slices: Informer[v1.ResourceSlice],
    ) -> None:
        """Follows what the device tracker knows."""
        claims.on_change(self.claim_changed)
        classes.on_change(self.class_changed)
        slices.on_change(self.slice_changed)

    # --- devices ---

    def claim_changed(self, old: v1.ResourceClaim | None, new: v1.ResourceClaim | None) -> None:
        if new is not None:
            self._devices.put_claim(new)
        elif old is not None:
            self._devices.remove_claim(old)
        if old is None and new is not None:
            self._claim_gate.claim_created(new.metadata.namespace)
        self._queue.move_on(ClusterEvent(EventKind.DEVICES, obj=new, old_obj=old))

    def class_changed(self, old: v1.DeviceClass | None, new: v1.DeviceClass | None) -> None:
        if new is not None:
            self._devices.put_class(new)
        elif old is not None:
            self._devices.remove_class(old.metadata.name)
        self._queue.move_on(ClusterEvent(EventKind.DEVICE_CLASS, obj=new, old_obj=old))

    def slice_changed(self, old: v1.ResourceSlice | None, new: v1.ResourceSlice | None) -> None:
        if new is not None:
            self._devices.inventory.put(new)
        elif old is not None:
            self._devices.inventory.remove(old.metadata.name)
        self._queue.move_on(ClusterEvent(EventKind.DEVICES))

    # --- namespaces and nodes ---

    def namespace_changed(
        self, old: core_v1.Namespace | None, new: core_v1.Namespace | None
    ) -> None:
        if new is None:
            assert old is not None
            self._snapshot.namespaces.pop(old.metadata.name, None)
        elif old is None or old.metadata.labels != new.metadata.labels:
            self._snapshot.namespaces[new.metadata.name] = new.metadata.labels
            self._queue.move_on(ClusterEvent(EventKind.NAMESPACE_LABELS))

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is not None:
            self._snapshot.put_node(new)
        elif old is not None:
            self._snapshot.remove_node(old.metadata.name)
        for event in node_events(old, new):
            self._queue.move_on(event)

    # --- pods ---

    def pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if new is None:
            assert old is not None
            self._pod_left(old)
        elif pod_finished(new):
            self._pod_left(new)
        elif new.spec.node_name:
            self._pod_assigned(new)
        elif self._is_schedulable(new):
            self._gated.discard(new.metadata.uid)
            self._pod_pending(old, new)
        elif new.spec.scheduling_gates and new.spec.scheduler_name in self._scheduler_names:
            self._gated.add(new.metadata.uid)
        # Working events out costs time for every pod that is bound: only if some pod waits for
        # them.
        if self._queue.wants_events:
            for event in pod_events(old, new):
                self._queue.move_on(event)

    def _pod_left(self, pod: core_v1.Pod) -> None:
        """The pod is gone, or has ended."""
        uid = pod.metadata.uid
        self._queue.delete(uid)
        self._gated.discard(uid)
        self._gangs.remove(PodInfo(pod))
        self._cache.forget(uid)
        self._nominator.withdraw(uid)
        self._claim_gate.forget(uid)
        self._devices.unreserve(pod)

    def _pod_assigned(self, pod: core_v1.Pod) -> None:
        self._queue.delete(pod.metadata.uid)
        info = PodInfo(pod)
        self._cache.confirm(info, pod.spec.node_name)
        self._gangs.put(info)

    def count_gated(self) -> int:
        """Pods that are kept out of the queue: by gates, or for claims that do not exist yet."""
        return len(self._gated) + self._claim_gate.count()

    def _is_schedulable(self, pod: core_v1.Pod) -> bool:
        """Whether a pod without a node is for this scheduler to place (upstream's PreEnqueue of
        SchedulingGates)."""
        if pod.spec.scheduler_name not in self._scheduler_names:
            return False
        return not pod.metadata.deletion_timestamp and not pod.spec.scheduling_gates

    def _pod_pending(self, old: core_v1.Pod | None, new: core_v1.Pod) -> None:
        if self._cache.is_assumed(new.metadata.uid):
            return
        self._nominator.follow_status(old, new)
        if old is not None and not _may_schedule_differently(old, new):
            return
        pod = PodInfo(new)
        if not self._claim_gate.must_wait(pod):
            self._queue.add(pod)


def _may_schedule_differently(old: core_v1.Pod, new: core_v1.Pod) -> bool:
    """Whether an update of a pending pod may make it fit."""
    old_claims = old.status.resource_claim_statuses
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old_claims != new.status.resource_claim_statuses
    )
