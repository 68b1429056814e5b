"""Affinity between pods: with whom a pod must, may not, or would rather share a topology."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.plugins.base import Floats, Plugin, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Bools, Snapshot


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        verdicts: Verdicts = []
        if pod.required_affinity:
            verdicts.append((self._affine(view, pod), "node(s) didn't match pod affinity rules"))
        if pod.required_anti_affinity:
            rows = np.ones(len(view.names), np.bool_)
            for term in pod.required_anti_affinity:
                counts, _ = view.per_domain(term.topology, view.matching(term.namespaces, term.selector))
                rows &= counts == 0
            verdicts.append((rows, "node(s) didn't match pod anti-affinity rules"))
        if view.anti:
            rows = np.ones(len(view.names), np.bool_)
            for term, holders in view.anti.about(pod):
                counts, _ = view.per_domain(term.topology, holders)
                rows &= counts == 0
            verdicts.append((rows, "node(s) didn't satisfy existing pods anti-affinity rules"))
        return verdicts

    @staticmethod
    def _affine(view: Snapshot, pod: PodInfo) -> Bools:
        rows = np.ones(len(view.names), np.bool_)
        nobody = True
        for term in pod.required_affinity:
            counts, totals = view.per_domain(term.topology, view.matching(term.namespaces, term.selector))
            rows &= counts > 0
            nobody = nobody and not totals.any()
        if nobody and all(term.matches(pod.namespace, pod.labels) for term in pod.required_affinity):
            # The first of a group that wants to be together: any node with the label will do.
            rows = np.ones(len(view.names), np.bool_)
            for term in pod.required_affinity:
                rows &= view.domains(term.topology)[0] >= 0
        return rows

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        if not pod.preferred and not view.wishes:
            return None
        raw = np.zeros(len(view.names))
        for term in pod.preferred:
            counts, _ = view.per_domain(term.topology, view.matching(term.namespaces, term.selector))
            raw += term.weight * counts
        for term, holders in view.wishes.about(pod):
            counts, _ = view.per_domain(term.topology, holders)
            raw += term.weight * counts
        seen = raw[feasible]
        if not len(seen) or seen.max() == seen.min():
            return None
        return 100.0 * (raw - seen.min()) / (seen.max() - seen.min())
