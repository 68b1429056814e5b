"""TaintToleration: a pod is kept off nodes whose taints it does not tolerate, or would rather not
be there."""

from __future__ import annotations

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery.nodes import tolerated
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import (
    Floats,
    Plugin,
    Verdict,
    Verdicts,
    normalized_by_maximum,
)
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


class TaintToleration(Plugin):
    name = "TaintToleration"
    static = True
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_TAINTS))

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        rows = snapshot.all_rows()
        for row, node in snapshot.live_nodes():
            if node.spec.taints and not tolerates_taints(pod, node):
                rows[row] = False
        return [Verdict(rows, "node(s) had untolerated taint(s)", unresolvable=True)]

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        assert event.node is not None
        if event.old_node is not None and tolerates_taints(pod, event.old_node):
            return False
        return tolerates_taints(pod, event.node)

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """The number of PreferNoSchedule taints that the pod does not tolerate."""
        tolerations = [
            toleration
            for toleration in pod.spec.tolerations
            if toleration.effect in ("", "PreferNoSchedule")
        ]
        raw = np.zeros(len(snapshot))
        for row, node in snapshot.live_nodes():
            for taint in node.spec.taints:
                if taint.effect == "PreferNoSchedule" and not tolerated(taint, tolerations):
                    raw[row] += 1
        return raw if raw.any() else None

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return normalized_by_maximum(raw, feasible, reverse=True)


def tolerates_taints(pod: PodInfo, node: core_v1.Node) -> bool:
    """Whether a pod tolerates every taint of a node that would keep it off."""
    tolerations = pod.spec.tolerations
    return all(
        taint.effect not in ("NoSchedule", "NoExecute") or tolerated(taint, tolerations)
        for taint in node.spec.taints
    )
