"""Topology spread: pods of one kind in like numbers over zones, hosts, or any other label of nodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.nodes import matches_node, tolerated
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.changes import (
    NODE_ADDED,
    NODE_GONE,
    NODE_LABELS,
    NODE_TAINTS,
    POD_GONE,
    POD_LABELS,
    POD_PLACED,
    Change,
)
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools, Tally
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_HOSTNAME = "kubernetes.io/hostname"
# What pods of a service or a set are spread by when they say nothing of it themselves, as upstream does.
_SYSTEM = [
    {"maxSkew": 3, "topologyKey": _HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway"},
    {
        "maxSkew": 5,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
    },
]
_UNEVEN = "node(s) didn't match pod topology spread constraints"
Constraints = list[core_v1.TopologySpreadConstraint]
Selected = list[
    tuple[core_v1.TopologySpreadConstraint, Selector]
]  # each with the pods that it is about
_REMEMBERED = 256  # ways in which nodes count


class PodTopologySpread(Plugin):
    """`arguments`: defaultConstraints and defaultingType (System, List). `alike` says which pods belong together with
    one that has no constraints: those that its services and its owner select; None: there is nobody."""

    name = "PodTopologySpread"
    hints = frozenset(
        (NODE_ADDED, NODE_GONE, NODE_LABELS, NODE_TAINTS, POD_GONE, POD_LABELS, POD_PLACED)
    )

    def __init__(
        self,
        weight: int = 0,
        arguments: Mapping[str, Any] | None = None,
        alike: Callable[[core_v1.Pod], Selector | None] = lambda pod: None,
    ) -> None:
        super().__init__(weight)
        said = arguments or {}
        kind, listed = said.get("defaultingType", "System"), said.get("defaultConstraints") or []
        if kind not in ("System", "List"):
            raise ConfigurationError(
                f'defaultingType: Unsupported value: "{kind}": supported values: "List", "System"'
            )
        if kind == "System" and listed:
            raise ConfigurationError(
                f"defaultConstraints: Invalid value: {listed}: when .defaultingType is System"
            )
        if any(row.get("labelSelector") for row in listed):
            raise ConfigurationError(
                "defaultConstraints: labelSelector: Forbidden: constraint must not define a selector"
            )
        self._system = kind == "System"
        rows = _SYSTEM if self._system else listed
        self._defaults: Constraints = [
            from_builtins(row, core_v1.TopologySpreadConstraint) for row in rows
        ]
        self._alike = alike
        # Which rows count, by what that depends on: (generation, number of rows, rows; None: all with the label).
        self._counting: OrderedDict[Hashable, tuple[int, int, Bools | None]] = OrderedDict()

    def _constraints(self, pod: PodInfo, when: str) -> Selected:
        own = pod.pod.spec.topology_spread_constraints
        if own:
            return [rule for rule in pod.rules.spread if rule[0].when_unsatisfiable == when]
        wanted = [c for c in self._defaults if c.when_unsatisfiable == when]
        if not wanted or not pod.labels or (selector := self._alike(pod.pod)) is None:
            return []
        return [(c, selector) for c in wanted]

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts: Verdicts = []
        hard = self._constraints(pod, "DoNotSchedule")
        for constraint, selector in hard:
            tally = self._tally(view, pod, constraint, selector, hard)
            verdicts.append(
                Verdict(tally.domains.labelled, f"{_UNEVEN} (missing required label)", True)
            )
            few = constraint.min_domains is not None and len(tally.present) < constraint.min_domains
            least = 0 if few else tally.least()
            own = 1 if selector.matches(pod.labels) else 0
            even = tally.totals <= constraint.max_skew + least - own
            verdicts.append(Verdict(even[tally.domains.rows], _UNEVEN))
        return verdicts

    def _tally(
        self,
        view: Snapshot,
        pod: PodInfo,
        constraint: core_v1.TopologySpreadConstraint,
        selector: Selector,
        together: Selected,
    ) -> Tally:
        """How many pods that a constraint is about the domains have, of the nodes that count."""
        keys = tuple(other.topology_key for other, _ in together)
        key = (constraint.node_affinity_policy, constraint.node_taints_policy, keys, pod.static_key)
        found = self._counting.get(key)
        if found is None or found[0] != view.generation or found[1] != len(view.names):
            counting = self._eligible(view, pod, constraint) & _keyed(view, together)
            everybody = np.array_equal(
                counting, view.alive & view.domains(constraint.topology_key).labelled
            )
            found = self._counting[key] = (
                view.generation,
                len(view.names),
                None if everybody else counting,
            )
            if len(self._counting) > _REMEMBERED:
                self._counting.popitem(last=False)
        rows = found[2]
        matching = view.matching(frozenset((pod.namespace,)), selector)
        return matching.tally(
            view.domains(constraint.topology_key), rows, None if rows is None else key
        )

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        hard = self._constraints(pod, "DoNotSchedule")
        if change.kind in (POD_GONE, POD_LABELS, POD_PLACED):
            others = [
                p
                for p in (change.pod, change.old_pod)
                if p is not None and p.namespace == pod.namespace
            ]
            return any(selector.matches(other.labels) for other in others for _, selector in hard)
        if change.kind == NODE_TAINTS:
            return any(constraint.node_taints_policy == "Honor" for constraint, _ in hard)
        assert change.node is not None
        labels, keys = (
            change.node.metadata.labels,
            [constraint.topology_key for constraint, _ in hard],
        )
        if change.old_node is None:  # it came or went
            return all(key in labels for key in keys)
        before, spec = change.old_node.metadata.labels, pod.pod.spec
        picky = bool(
            spec.node_selector or (spec.affinity and spec.affinity.node_affinity)
        )  # its domains depend on labels
        return picky or any(labels.get(key) != before.get(key) for key in keys)

    @staticmethod
    def _eligible(
        view: Snapshot, pod: PodInfo, constraint: core_v1.TopologySpreadConstraint
    ) -> Bools:
        """The nodes whose pods count, as the inclusion policies say."""
        eligible = view.alive.copy()
        spec = pod.pod.spec
        if constraint.node_affinity_policy != "Ignore" and (
            spec.node_selector or (spec.affinity and spec.affinity.node_affinity)
        ):
            eligible &= np.fromiter(
                (n is not None and matches_node(spec, n) for n in view.nodes),
                np.bool_,
                len(view.nodes),
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
        soft = self._constraints(pod, "ScheduleAnyway")
        if not soft:
            return None
        # Nodes without all labels count for nothing and get nothing, unless nobody has asked for these labels.
        asked = bool(pod.pod.spec.topology_spread_constraints) or not self._system
        keyed = _keyed(view, soft) if asked else view.alive
        candidates = feasible & keyed
        if not candidates.any():
            return None
        raw = np.zeros(len(view.names))
        for constraint, selector in soft:
            domains = view.domains(constraint.topology_key)
            if constraint.topology_key == _HOSTNAME:
                counts = view.matching(frozenset((pod.namespace,)), selector).rows
                size = int(np.count_nonzero(candidates))
            else:
                counts = self._tally(
                    view, pod, constraint, selector, soft if asked else []
                ).by_row()
                size = int(np.count_nonzero(np.bincount(domains.rows[candidates] + 1)))
            raw += np.where(
                domains.labelled, counts * np.log(size + 2) + (constraint.max_skew - 1), 0
            )
        raw = np.floor(raw + 0.5)
        highest, lowest = raw[candidates].max(), raw[candidates].min()
        points = (
            np.floor(100.0 * (highest + lowest - raw) / highest)
            if highest
            else np.full(len(raw), 100.0)
        )
        return np.where(candidates, points, 0.0)


def _keyed(view: Snapshot, constraints: Selected) -> Bools:
    """The rows that have the labels of all constraints."""
    rows = view.alive.copy()
    for constraint, _ in constraints:
        rows &= view.domains(constraint.topology_key).labelled
    return rows
