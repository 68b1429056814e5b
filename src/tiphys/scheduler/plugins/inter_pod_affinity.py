"""InterPodAffinity: with which pods a pod must, must not, or would rather share a topology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tiphys.machinery.selectors import Selector
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import MAX_NODE_SCORE, Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.podrules import HARD_AFFINITY_WEIGHT, AffinityTerm
from tiphys.scheduler.selector_index import SelectorCounts
from tiphys.scheduler.snapshot import NO_NAMESPACES, Snapshot


class InterPodAffinity(Plugin):
    """`arguments`: hardPodAffinityWeight (0 to 100; 1), ignorePreferredTermsOfExistingPods
    (false)."""

    name = "InterPodAffinity"
    events = frozenset(
        (
            EventKind.NODE_ADDED,
            EventKind.NODE_DELETED,
            EventKind.NODE_LABELS,
            EventKind.POD_ASSIGNED,
            EventKind.POD_DELETED,
            EventKind.POD_LABELS,
            EventKind.NAMESPACE_LABELS,
        )
    )

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        arguments = arguments or {}
        self._hard_weight = int(arguments.get("hardPodAffinityWeight", 1))
        if not 0 <= self._hard_weight <= 100:
            raise ConfigurationError(
                f"hardPodAffinityWeight: Invalid value: {self._hard_weight}: "
                "not in valid range [0-100]"
            )
        self._ignores_preferred = bool(arguments.get("ignorePreferredTermsOfExistingPods"))

    # --- filter ---

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts = []
        if pod.rules.required_affinity:
            rows = _rows_with_affinity(snapshot, pod)
            reason = "node(s) didn't match pod affinity rules"
            verdicts.append(Verdict(rows, reason, unresolvable=True))
        if pod.rules.required_anti_affinity:
            rows = snapshot.all_rows()
            for term in pod.rules.required_anti_affinity:
                rows &= snapshot.domain_counts(term).empty_rows()
            verdicts.append(Verdict(rows, "node(s) didn't match pod anti-affinity rules"))
        if snapshot.anti_affinity_terms:
            rows = snapshot.all_rows()
            namespace_labels = snapshot.namespace_labels(pod.namespace)
            for term, pods in snapshot.anti_affinity_terms.matching(pod, namespace_labels):
                rows &= snapshot.domain_counts(term, pods).empty_rows()
            reason = "node(s) didn't satisfy existing pods anti-affinity rules"
            verdicts.append(Verdict(rows, reason))
        return verdicts

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        if event.kind == EventKind.POD_ASSIGNED:
            assert event.pod is not None
            return _has_affinity_to(snapshot, pod, event.pod)
        if event.kind in (EventKind.POD_DELETED, EventKind.POD_LABELS):
            # The last of the pods that it has affinity to may be deleted, too: then it is the first
            # of its group.
            return any(
                _has_affinity_to(snapshot, pod, other) or _repel(snapshot, pod, other)
                for other in (event.pod, event.old_pod)
                if other is not None
            )
        if event.kind == EventKind.NODE_ADDED:
            assert event.node is not None
            labels = event.node.metadata.labels
            return all(term.topology_key in labels for term in pod.rules.required_affinity)
        if event.kind == EventKind.NODE_LABELS:
            return _changes_topology(event, snapshot, pod)
        return True

    # --- score ---

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """The weights of the pod's preferred terms, and of the terms of pods that are there, for
        each pod of the row's domain."""
        preferred = pod.rules.preferred_terms
        if not preferred and not snapshot.scoring_terms:
            return None
        raw = np.zeros(len(snapshot))
        for term in preferred:
            counts = snapshot.domain_counts(term)
            raw += (term.weight * counts.totals)[counts.domains.rows]
        namespace_labels = snapshot.namespace_labels(pod.namespace)
        for term, pods in snapshot.scoring_terms.matching(pod, namespace_labels):
            weight = self._weight_of(term)
            if weight:
                counts = snapshot.domain_counts(term, pods)
                raw += (weight * counts.totals)[counts.domains.rows]
        feasible_scores = raw[feasible]
        if not len(feasible_scores):
            return None
        lowest = feasible_scores.min()
        spread = feasible_scores.max() - lowest
        if spread == 0:
            return None
        return np.floor(MAX_NODE_SCORE * ((raw - lowest) / spread))

    def _weight_of(self, term: AffinityTerm) -> int:
        """The weight of a term of a pod that is on a node already."""
        if term.weight == HARD_AFFINITY_WEIGHT:
            return self._hard_weight
        return 0 if self._ignores_preferred else term.weight


def _rows_with_affinity(snapshot: Snapshot, pod: PodInfo) -> Bools:
    """The rows where every required affinity term has a pod in its domain."""
    terms = pod.rules.required_affinity
    pods = _counts_of_all_terms(snapshot, terms)
    rows = snapshot.all_rows()
    has_any = False
    for term in terms:
        counts = pods.by_domain(snapshot.domains(term.topology_key))
        rows &= ~counts.empty_rows()
        has_any = has_any or bool(counts.totals.any())
    is_first_of_group = not has_any and all(snapshot.term_matches(term, pod) for term in terms)
    if is_first_of_group:
        # Upstream: it would never be scheduled otherwise. Any node with the labels will do.
        rows = snapshot.all_rows()
        for term in terms:
            rows &= snapshot.domains(term.topology_key).labelled
    return rows


def _counts_of_all_terms(snapshot: Snapshot, terms: Sequence[AffinityTerm]) -> SelectorCounts:
    """The pods that every one of the terms matches: a pod that only some match does not count."""
    if len(terms) == 1:
        return snapshot.counts_of(snapshot.namespaces_of(terms[0]), terms[0].selector)
    limited = [spaces for term in terms if (spaces := snapshot.namespaces_of(term))]
    namespaces: frozenset[str] = frozenset()  # all
    if limited:
        namespaces = frozenset.intersection(*limited) or NO_NAMESPACES
    requirements = tuple(
        requirement for term in terms for requirement in term.selector.requirements
    )
    return snapshot.counts_of(namespaces, Selector(requirements))


def _has_affinity_to(snapshot: Snapshot, pod: PodInfo, other: PodInfo) -> bool:
    """Whether every required affinity term of the pod, and there are some, matches the other."""
    terms = pod.rules.required_affinity
    return bool(terms) and all(snapshot.term_matches(term, other) for term in terms)


def _repel(snapshot: Snapshot, pod: PodInfo, other: PodInfo) -> bool:
    """Whether a required anti-affinity term of either pod matches the other one."""
    if any(snapshot.term_matches(term, other) for term in pod.rules.required_anti_affinity):
        return True
    return any(snapshot.term_matches(term, pod) for term in other.rules.required_anti_affinity)


def _changes_topology(event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
    """Whether a node has another domain now in a topology that matters to the pod."""
    assert event.node is not None and event.old_node is not None
    now = event.node.metadata.labels
    before = event.old_node.metadata.labels
    terms = [*pod.rules.required_affinity, *pod.rules.required_anti_affinity]
    namespace_labels = snapshot.namespace_labels(pod.namespace)
    for term, _ in snapshot.anti_affinity_terms.matching(pod, namespace_labels):
        terms.append(term)
    return any(now.get(term.topology_key) != before.get(term.topology_key) for term in terms)
