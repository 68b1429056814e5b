"""NodeUnschedulable: cordoned nodes take no pods."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery.nodes import tolerated
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_UNSCHEDULABLE_TAINT = core_v1.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class NodeUnschedulable(Plugin):
    """A pod that tolerates the taint of cordoned nodes may be on them."""

    name = "NodeUnschedulable"
    static = True
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_TAINTS))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if tolerated(_UNSCHEDULABLE_TAINT, pod.spec.tolerations):
            return []
        reason = "node(s) were unschedulable"
        return [Verdict(snapshot.schedulable, reason, unresolvable=True)]

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        assert event.node is not None
        was_unschedulable = event.old_node is None or bool(event.old_node.spec.unschedulable)
        return was_unschedulable and not event.node.spec.unschedulable
