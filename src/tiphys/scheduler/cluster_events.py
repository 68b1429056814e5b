"""Cluster events: what happens in the cluster, as far as it can make an unschedulable pod
schedulable. Pure.

Upstream's `ClusterEvent` (a resource and an action), with the objects that its queueing hints are
given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery.finished import pod_finished
from tiphys.scheduler.podinfo import PodInfo


class EventKind(StrEnum):
    """What happened to which kind of object. Pod events are about pods that are assigned to a
    node."""

    NODE_ADDED = "node added"
    NODE_DELETED = "node deleted"
    NODE_ALLOCATABLE = "node allocatable changed"
    NODE_LABELS = "node labels changed"
    NODE_TAINTS = "node taints changed"
    POD_ASSIGNED = "pod assigned"
    POD_DELETED = "assigned pod deleted"
    POD_LABELS = "assigned pod labels changed"
    POD_REQUESTS = "assigned pod requests changed"
    STORAGE = "storage changed"  # claims, volumes, classes, drivers, capacities
    NAMESPACE_LABELS = "namespace labels changed"
    DEVICES = "devices changed"  # resource slices, resource claims
    DEVICE_CLASS = "device class changed"


@dataclass(frozen=True)
class ClusterEvent:
    """`node` and `pod` are as they are now, or were last; `old_node` and `old_pod` as they were
    before a change.

    `obj` is the object of a STORAGE, DEVICES or DEVICE_CLASS event, where there is one, and
    `old_obj` what it was before.
    """

    kind: EventKind
    node: core_v1.Node | None = None
    old_node: core_v1.Node | None = None
    pod: PodInfo | None = None
    old_pod: PodInfo | None = None
    obj: Any = None
    old_obj: Any = None


def node_events(old: core_v1.Node | None, new: core_v1.Node | None) -> Iterator[ClusterEvent]:
    """The events of a node that was added (no `old`), deleted (no `new`) or changed."""
    if new is None:
        yield ClusterEvent(EventKind.NODE_DELETED, node=old)
        return
    if old is None:
        yield ClusterEvent(EventKind.NODE_ADDED, node=new)
        return
    if old.status.allocatable != new.status.allocatable:
        yield ClusterEvent(EventKind.NODE_ALLOCATABLE, node=new, old_node=old)
    if old.metadata.labels != new.metadata.labels:
        yield ClusterEvent(EventKind.NODE_LABELS, node=new, old_node=old)
    taints_changed = old.spec.taints != new.spec.taints
    if taints_changed or old.spec.unschedulable != new.spec.unschedulable:
        yield ClusterEvent(EventKind.NODE_TAINTS, node=new, old_node=old)


def pod_events(old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterator[ClusterEvent]:
    """The events of a pod that was assigned to a node, left it, or changed there. A pod without a
    node has none."""
    if new is None or pod_finished(new):
        yield from _leaving(old, new)
    elif new.spec.node_name:
        if old is None or not old.spec.node_name:
            yield ClusterEvent(EventKind.POD_ASSIGNED, pod=PodInfo(new))
        else:
            yield from _changed(PodInfo(old), PodInfo(new))


def _leaving(old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterator[ClusterEvent]:
    already_left = old is not None and pod_finished(old)
    last = old if old is not None else new
    if last is not None and last.spec.node_name and not already_left:
        yield ClusterEvent(EventKind.POD_DELETED, pod=PodInfo(last))


def _changed(old: PodInfo, new: PodInfo) -> Iterator[ClusterEvent]:
    if new.labels != old.labels:
        yield ClusterEvent(EventKind.POD_LABELS, pod=new, old_pod=old)
    if new.requests != old.requests:
        yield ClusterEvent(EventKind.POD_REQUESTS, pod=new, old_pod=old)
