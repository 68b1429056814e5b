"""NodeName: a pod that names its node can be on no other."""

from __future__ import annotations

from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


class NodeName(Plugin):
    name = "NodeName"
    static = True
    events = frozenset((EventKind.NODE_ADDED,))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        node_name = pod.spec.node_name
        if not node_name:
            return []
        rows = snapshot.rows_named([node_name])
        reason = "node(s) didn't match the requested node name"
        return [Verdict(rows, reason, unresolvable=True)]

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        return event.node is not None and event.node.metadata.name == pod.spec.node_name
