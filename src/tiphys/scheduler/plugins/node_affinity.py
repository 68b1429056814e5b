"""NodeAffinity: the labels and names that a pod wants of its node, and what its profile adds to
that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.nodes import matches_node, matches_term
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

_NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
_NO_ADDED_MATCH = "node(s) didn't match scheduler-enforced node affinity"


class NodeAffinity(Plugin):
    """`arguments`: addedAffinity, which every pod of the profile has besides its own."""

    name = "NodeAffinity"
    static = True
    events = frozenset((EventKind.NODE_ADDED, EventKind.NODE_LABELS))

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        added = (arguments or {}).get("addedAffinity")
        self._added = from_builtins(added, core_v1.NodeAffinity) if added else None
        self._added_required = _required(self._added)

    def pre_filter_nodes(self, pod: PodInfo) -> frozenset[str] | None:
        """The nodes that the required affinity names, as that of the pods of daemon sets does."""
        required = _required(_node_affinity(pod))
        if required is None or not required.node_selector_terms:
            return None
        names: frozenset[str] = frozenset()
        for term in required.node_selector_terms:
            names_of_term = _named_nodes(term)
            if names_of_term is None:
                return None  # terms are alternatives: this one does not narrow the nodes
            names |= names_of_term
        return names

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts = []
        if self._added_required is not None:
            rows = snapshot.rows_where(self._matches_added)
            verdicts.append(Verdict(rows, _NO_ADDED_MATCH, unresolvable=True))
        if pod.spec.node_selector or _required(_node_affinity(pod)) is not None:
            rows = snapshot.rows_where(lambda node: matches_node(pod.spec, node))
            verdicts.append(Verdict(rows, _NO_MATCH, unresolvable=True))
        return verdicts

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        assert event.node is not None
        if event.old_node is not None and self._matches(pod, event.old_node):
            return False
        return self._matches(pod, event.node)

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """The weights of the preferred terms that match."""
        preferred = [
            term
            for affinity in (_node_affinity(pod), self._added)
            if affinity is not None
            for term in affinity.preferred_during_scheduling_ignored_during_execution
        ]
        if not preferred:
            return None
        raw = np.zeros(len(snapshot))
        for row, node in snapshot.live_nodes():
            raw[row] = sum(term.weight for term in preferred if matches_term(term.preference, node))
        return raw

    def normalize(self, raw: Floats, feasible: Bools) -> Floats | None:
        return normalized_by_maximum(raw, feasible)

    def _matches(self, pod: PodInfo, node: core_v1.Node) -> bool:
        return matches_node(pod.spec, node) and self._matches_added(node)

    def _matches_added(self, node: core_v1.Node) -> bool:
        if self._added_required is None:
            return True
        return any(matches_term(term, node) for term in self._added_required.node_selector_terms)


def _node_affinity(pod: PodInfo) -> core_v1.NodeAffinity | None:
    affinity = pod.spec.affinity
    return affinity.node_affinity if affinity is not None else None


def _required(affinity: core_v1.NodeAffinity | None) -> core_v1.NodeSelector | None:
    if affinity is None:
        return None
    return affinity.required_during_scheduling_ignored_during_execution


def _named_nodes(term: core_v1.NodeSelectorTerm) -> frozenset[str] | None:
    """The nodes that a term names; None: it names none."""
    named = [
        frozenset(requirement.values)
        for requirement in term.match_fields
        if requirement.key == "metadata.name" and requirement.operator == "In"
    ]
    return frozenset.intersection(*named) if named else None
