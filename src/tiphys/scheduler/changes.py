"""What happens in the cluster, as far as pods that fit nowhere are concerned. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tiphys.api import core_v1
from tiphys.scheduler.podinfo import PodInfo

NODE_ADDED, NODE_SIZE, NODE_LABELS, NODE_TAINTS = (
    "node added",
    "node size",
    "node labels",
    "node taints",
)
NODE_GONE = "node gone"
POD_GONE, POD_PLACED, POD_LABELS, POD_SIZE = "pod gone", "pod placed", "pod labels", "pod size"
VOLUMES, NAMESPACES, DEVICES = "volumes", "namespaces", "devices"


@dataclass(frozen=True)
class Change:
    """Something happened. `node` and `pod` are as they are now, or were last; `old_node` and `old_pod` as they were
    before, where they changed. `pod` is or was on a node. `stored` is an object that volumes or devices depend on, and
    `before` what it was, if that is known."""

    kind: str
    node: core_v1.Node | None = None
    old_node: core_v1.Node | None = None
    pod: PodInfo | None = None
    old_pod: PodInfo | None = None
    stored: Any = None
    before: Any = None


def of_node(old: core_v1.Node | None, new: core_v1.Node | None) -> Iterator[Change]:
    """What it means that a node came (no `old`), went (no `new`) or changed."""
    if new is None:
        yield Change(NODE_GONE, node=old)
        return
    if old is None:
        yield Change(NODE_ADDED, node=new)
        return
    for kind, before, after in (
        (NODE_SIZE, old.status.allocatable, new.status.allocatable),
        (NODE_LABELS, old.metadata.labels, new.metadata.labels),
        (
            NODE_TAINTS,
            (old.spec.taints, old.spec.unschedulable),
            (new.spec.taints, new.spec.unschedulable),
        ),
    ):
        if before != after:
            yield Change(kind, node=new, old_node=old)


def ended(pod: core_v1.Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def of_pod(old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterator[Change]:
    """What it means to others that a pod came to a node, left it or changed there. One without a node means nothing."""
    if new is None or ended(new):
        last = old if old is not None else new
        if last is not None and last.spec.node_name and not (old is not None and ended(old)):
            yield Change(POD_GONE, pod=PodInfo(last))
    elif new.spec.node_name:
        if old is None or not old.spec.node_name:
            yield Change(POD_PLACED, pod=PodInfo(new))
            return
        now, before = PodInfo(new), PodInfo(old)
        if now.labels != before.labels:
            yield Change(POD_LABELS, pod=now, old_pod=before)
        if now.requests != before.requests:
            yield Change(POD_SIZE, pod=now, old_pod=before)
