"""Topology spread: pods of one kind in like numbers over zones, hosts, or any other label of nodes."""

from __future__ import annotations

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery.nodes import matches_node, tolerated
from tiphys.machinery.selectors import Requirement, Selector, from_label_selector
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Bools, Ints, Snapshot

_FOREVER = 2**31


def _selector(constraint: core_v1.TopologySpreadConstraint, pod: PodInfo) -> Selector:
    selector = from_label_selector(constraint.label_selector) or Selector((Requirement("none/none", "in", ()),))
    extra = tuple(Requirement(k, "in", (pod.labels[k],)) for k in constraint.match_label_keys if k in pod.labels)
    return Selector(selector.requirements + extra)


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        verdicts: Verdicts = []
        hard = [c for c in pod.pod.spec.topology_spread_constraints if c.when_unsatisfiable == "DoNotSchedule"]
        for constraint in hard:
            domains, _ = view.domains(constraint.topology_key)
            verdicts.append(
                (domains >= 0, "node(s) didn't match pod topology spread constraints (missing required label)")
            )
            selector = _selector(constraint, pod)
            eligible = self._eligible(view, pod, constraint) & (domains >= 0)
            counts = np.where(eligible, view.matching(frozenset((pod.namespace,)), selector), 0)
            rows, totals = view.per_domain(constraint.topology_key, counts)
            present = np.unique(domains[eligible])
            least = int(totals[present].min()) if len(present) else 0
            if constraint.min_domains is not None and len(present) < constraint.min_domains:
                least = 0
            own = 1 if selector.matches(pod.labels) else 0
            verdicts.append(
                (rows + own - least <= constraint.max_skew, "node(s) didn't match pod topology spread constraints")
            )
        return verdicts

    @staticmethod
    def _eligible(view: Snapshot, pod: PodInfo, constraint: core_v1.TopologySpreadConstraint) -> Bools:
        """The nodes whose pods count, as the inclusion policies say."""
        eligible = view.alive.copy()
        spec = pod.pod.spec
        if constraint.node_affinity_policy != "Ignore" and (
            spec.node_selector or (spec.affinity and spec.affinity.node_affinity)
        ):
            eligible &= np.fromiter(
                (n is not None and matches_node(spec, n) for n in view.nodes), np.bool_, len(view.nodes)
            )
        if constraint.node_taints_policy == "Honor":
            for at, node in enumerate(view.nodes):
                if node is not None and any(
                    t.effect in ("NoSchedule", "NoExecute") and not tolerated(t, spec.tolerations)
                    for t in node.spec.taints
                ):
                    eligible[at] = False
        return eligible

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        soft = [c for c in pod.pod.spec.topology_spread_constraints if c.when_unsatisfiable == "ScheduleAnyway"]
        if not soft:
            return None
        raw = np.zeros(len(view.names))
        for constraint in soft:
            counts: Ints = np.where(
                view.alive, view.matching(frozenset((pod.namespace,)), _selector(constraint, pod)), 0
            )
            rows, totals = view.per_domain(constraint.topology_key, counts)
            raw += rows * np.log(len(totals) + 2) + (constraint.max_skew - 1)
        seen = raw[feasible]
        if not len(seen):
            return None
        highest, lowest = seen.max(), seen.min()
        if highest == 0:
            return None
        return np.clip(100.0 * (highest + lowest - raw) / highest, 0, 100)
