"""Filters on what a node is: its name, labels, taints, ports, and whether it takes pods at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.footprint import clash
from tiphys.machinery.nodes import matches_node, matches_term, tolerated
from tiphys.scheduler.changes import NODE_ADDED, NODE_LABELS, NODE_TAINTS, POD_GONE, Change
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdict, Verdicts, stretched
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_UNSCHEDULABLE = core_v1.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    static = True
    hints = frozenset((NODE_ADDED, NODE_TAINTS))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if tolerated(_UNSCHEDULABLE, pod.pod.spec.tolerations):
            return []
        return [Verdict(view.schedulable, "node(s) were unschedulable", True)]

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        assert change.node is not None
        return not change.node.spec.unschedulable and (
            change.old_node is None or bool(change.old_node.spec.unschedulable)
        )


class NodeName(Plugin):
    name = "NodeName"
    static = True
    hints = frozenset((NODE_ADDED,))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        wanted = pod.pod.spec.node_name
        if not wanted:
            return []
        rows = np.zeros(len(view.names), np.bool_)
        if wanted in view.row:
            rows[view.row[wanted]] = True
        return [Verdict(rows, "node(s) didn't match the requested node name", True)]

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        return change.node is not None and change.node.metadata.name == pod.pod.spec.node_name


class TaintToleration(Plugin):
    name = "TaintToleration"
    static = True
    hints = frozenset((NODE_ADDED, NODE_TAINTS))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        tolerations = pod.pod.spec.tolerations
        rows = np.ones(len(view.names), np.bool_)
        for at, node in enumerate(view.nodes):
            for taint in node.spec.taints if node else ():
                if taint.effect in ("NoSchedule", "NoExecute") and not tolerated(
                    taint, tolerations
                ):
                    rows[at] = False
                    break
        return [Verdict(rows, "node(s) had untolerated taint(s)", True)]

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        return _bears(pod, change.node) and not (
            change.old_node is not None and _bears(pod, change.old_node)
        )

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        raw = np.zeros(len(view.names))
        preferring = [t for t in pod.pod.spec.tolerations if t.effect in ("", "PreferNoSchedule")]
        for at, node in enumerate(view.nodes):
            if node is not None and node.spec.taints:
                raw[at] = sum(
                    t.effect == "PreferNoSchedule" and not tolerated(t, preferring)
                    for t in node.spec.taints
                )
        return raw if raw.any() else None

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return stretched(raw, feasible, reverse=True)


def _bears(pod: PodInfo, node: core_v1.Node | None) -> bool:
    """Whether a pod tolerates every taint of a node that would keep it off."""
    taints = (
        [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
        if node is not None
        else []
    )
    return all(tolerated(taint, pod.pod.spec.tolerations) for taint in taints)


class NodeAffinity(Plugin):
    """What a pod wants of its nodes, and what its profile adds to that."""

    name = "NodeAffinity"
    static = True
    hints = frozenset((NODE_ADDED, NODE_LABELS))

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        said = (arguments or {}).get("addedAffinity")
        self._added = from_builtins(said, core_v1.NodeAffinity) if said else None

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts: Verdicts = []
        required = (
            self._added.required_during_scheduling_ignored_during_execution if self._added else None
        )
        if required is not None:
            terms = required.node_selector_terms
            rows = [
                node is not None and any(matches_term(term, node) for term in terms)
                for node in view.nodes
            ]
            reason = "node(s) didn't match scheduler-enforced node affinity"
            verdicts.append(Verdict(np.array(rows, np.bool_), reason, True))
        return verdicts + self._wanted(view, pod)

    def narrow(self, pod: PodInfo) -> frozenset[str] | None:
        """The nodes that every term of the required affinity names, as the pods of daemon sets do."""
        affinity = pod.pod.spec.affinity.node_affinity if pod.pod.spec.affinity else None
        required = (
            affinity.required_during_scheduling_ignored_during_execution if affinity else None
        )
        if required is None or not required.node_selector_terms:
            return None
        named = [_named(term) for term in required.node_selector_terms]
        return None if None in named else frozenset().union(*(names for names in named if names))

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        return self._suits(change.node, pod) and not self._suits(change.old_node, pod)

    def _suits(self, node: core_v1.Node | None, pod: PodInfo) -> bool:
        required = (
            self._added.required_during_scheduling_ignored_during_execution if self._added else None
        )
        if node is None or not matches_node(pod.pod.spec, node):
            return False
        return required is None or any(
            matches_term(term, node) for term in required.node_selector_terms
        )

    @staticmethod
    def _wanted(view: Snapshot, pod: PodInfo) -> Verdicts:
        spec = pod.pod.spec
        affinity = spec.affinity.node_affinity if spec.affinity else None
        if not spec.node_selector and (
            affinity is None or affinity.required_during_scheduling_ignored_during_execution is None
        ):
            return []
        rows = np.fromiter(
            (node is not None and matches_node(spec, node) for node in view.nodes),
            np.bool_,
            len(view.nodes),
        )
        return [Verdict(rows, "node(s) didn't match Pod's node affinity/selector", True)]

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        affinity = pod.pod.spec.affinity.node_affinity if pod.pod.spec.affinity else None
        preferred = [
            term
            for one in (affinity, self._added)
            if one
            for term in one.preferred_during_scheduling_ignored_during_execution
        ]
        if not preferred:
            return None
        raw = np.zeros(len(view.names))
        for at, node in enumerate(view.nodes):
            if node is not None:
                raw[at] = sum(p.weight for p in preferred if matches_term(p.preference, node))
        return raw

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return stretched(raw, feasible)


def _named(term: core_v1.NodeSelectorTerm) -> frozenset[str] | None:
    """The nodes that a term names; None: it names none."""
    named = [
        frozenset(row.values)
        for row in term.match_fields
        if row.key == "metadata.name" and row.operator == "In"
    ]
    return frozenset.intersection(*named) if named else None


class NodePorts(Plugin):
    name = "NodePorts"
    hints = frozenset((NODE_ADDED, POD_GONE))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        if not pod.ports:
            return []
        rows = np.ones(len(view.names), np.bool_)
        for at, taken in view.ports.items():
            rows[at] = not any(
                clash(mine, theirs)
                for ports in taken.values()
                for theirs in ports
                for mine in pod.ports
            )
        return [Verdict(rows, "node(s) didn't have free ports for the requested pod ports")]

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        gone = change.pod.ports if change.pod is not None else ()
        return change.kind == NODE_ADDED or any(
            clash(mine, theirs) for theirs in gone for mine in pod.ports
        )
