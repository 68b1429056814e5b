"""Affinity between pods: with whom a pod must, may not, or would rather share a topology."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tiphys.machinery.selectors import Selector
from tiphys.scheduler.changes import (
    NAMESPACES,
    NODE_ADDED,
    NODE_GONE,
    NODE_LABELS,
    POD_GONE,
    POD_LABELS,
    POD_PLACED,
    Change,
)
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools, Counter
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import HARD, PodInfo, Term
from tiphys.scheduler.snapshot import Snapshot


class InterPodAffinity(Plugin):
    """`arguments`: hardPodAffinityWeight (0 to 100, 1), ignorePreferredTermsOfExistingPods (false)."""

    name = "InterPodAffinity"
    hints = frozenset(
        (NODE_ADDED, NODE_GONE, NODE_LABELS, POD_GONE, POD_LABELS, POD_PLACED, NAMESPACES)
    )

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        said = arguments or {}
        self._hard = int(said.get("hardPodAffinityWeight", 1))
        if not 0 <= self._hard <= 100:
            raise ConfigurationError(
                f"hardPodAffinityWeight: Invalid value: {self._hard}: not in valid range [0-100]"
            )
        self._ignores_preferred = bool(said.get("ignorePreferredTermsOfExistingPods"))

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts: Verdicts = []
        if pod.required_affinity:
            verdicts.append(
                Verdict(self._affine(view, pod), "node(s) didn't match pod affinity rules", True)
            )
        if pod.required_anti_affinity:
            rows = np.ones(len(view.names), np.bool_)
            for term in pod.required_anti_affinity:
                rows &= view.tally(term).empty()
            verdicts.append(Verdict(rows, "node(s) didn't match pod anti-affinity rules"))
        if view.anti:
            rows = np.ones(len(view.names), np.bool_)
            for term, holders in view.anti.about(pod, view.labels_of(pod.namespace)):
                rows &= view.tally(term, holders).empty()
            verdicts.append(
                Verdict(rows, "node(s) didn't satisfy existing pods anti-affinity rules")
            )
        return verdicts

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        if change.kind == POD_PLACED:
            return self._accompanies(view, pod, change.pod)
        if change.kind in (POD_GONE, POD_LABELS):
            others = [other for other in (change.pod, change.old_pod) if other is not None]
            # The last of those it wants to be with may go too: then it is the first of its group.
            return any(
                self._accompanies(view, pod, other) or self._repels(view, pod, other)
                for other in others
            )
        if change.kind == NODE_ADDED:
            assert change.node is not None
            labels = change.node.metadata.labels
            return all(term.topology in labels for term in pod.required_affinity)
        if change.kind == NODE_LABELS:
            assert change.node is not None and change.old_node is not None
            now, before = change.node.metadata.labels, change.old_node.metadata.labels
            terms = [*pod.required_affinity, *pod.required_anti_affinity]
            if view.anti:
                terms += [term for term, _ in view.anti.about(pod, view.labels_of(pod.namespace))]
            return any(now.get(term.topology) != before.get(term.topology) for term in terms)
        return True

    @staticmethod
    def _accompanies(view: Snapshot, pod: PodInfo, other: PodInfo | None) -> bool:
        """Whether another pod is one that the pod has to be with."""
        if other is None or not pod.required_affinity:
            return False
        return all(view.is_about(term, other) for term in pod.required_affinity)

    @staticmethod
    def _repels(view: Snapshot, pod: PodInfo, other: PodInfo) -> bool:
        """Whether one of two pods may not be with the other."""
        mine = any(view.is_about(term, other) for term in pod.required_anti_affinity)
        return mine or any(view.is_about(term, pod) for term in other.required_anti_affinity)

    @staticmethod
    def _affine(view: Snapshot, pod: PodInfo) -> Bools:
        rows = np.ones(len(view.names), np.bool_)
        nobody, companions = True, _companions(view, pod.required_affinity)
        for term in pod.required_affinity:
            tally = companions.tally(view.domains(term.topology))
            rows &= ~tally.empty()
            nobody = nobody and not tally.totals.any()
        if nobody and all(view.is_about(term, pod) for term in pod.required_affinity):
            # The first of a group that wants to be together: any node with the label will do.
            rows = np.ones(len(view.names), np.bool_)
            for term in pod.required_affinity:
                rows &= view.domains(term.topology).labelled
        return rows

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        if not pod.preferred and not view.wishes:
            return None
        raw = np.zeros(len(view.names))
        for term in pod.preferred:
            raw += (term.weight * view.tally(term).totals)[view.domains(term.topology).rows]
        for term, holders in view.wishes.about(pod, view.labels_of(pod.namespace)):
            if weight := self._weight(term):
                raw += (weight * view.tally(term, holders).totals)[view.domains(term.topology).rows]
        seen = raw[feasible]
        if not len(seen) or seen.max() == seen.min():
            return None
        return np.floor(100.0 * ((raw - seen.min()) / (seen.max() - seen.min())))

    def _weight(self, term: Term) -> int:
        if term.weight == HARD:
            return self._hard
        return 0 if self._ignores_preferred else term.weight


def _companions(view: Snapshot, terms: tuple[Term, ...]) -> Counter:
    """The pods that all required terms are about: one that only some are about does not count."""
    if len(terms) == 1:
        return view.matching_term(terms[0])
    found = [spaces for term in terms if (spaces := view.namespaces_of(term))]
    namespaces = frozenset.intersection(*found) or frozenset(("\0",)) if found else frozenset[str]()
    return view.matching(
        namespaces, Selector(tuple(r for term in terms for r in term.selector.requirements))
    )
