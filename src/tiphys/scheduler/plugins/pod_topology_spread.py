"""PodTopologySpread: pods of one kind in like numbers over zones, hosts, or the values of any other
label of nodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.nodes import matches_node
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools, DomainCounts, Ints
from tiphys.scheduler.plugins.base import MAX_NODE_SCORE, Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.plugins.taint_toleration import tolerates_taints
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.podrules import SpreadConstraint
from tiphys.scheduler.snapshot import Snapshot

_HOSTNAME = "kubernetes.io/hostname"
_ZONE = "topology.kubernetes.io/zone"
# Upstream's systemDefaultConstraints, for pods of services and sets that have no constraints of
# their own.
_SYSTEM_DEFAULTS = [
    {"maxSkew": 3, "topologyKey": _HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway"},
    {"maxSkew": 5, "topologyKey": _ZONE, "whenUnsatisfiable": "ScheduleAnyway"},
]
_UNEVEN = "node(s) didn't match pod topology spread constraints"
_NO_LABEL = f"{_UNEVEN} (missing required label)"
_REMEMBERED_ROWS = 256

Constraints = Sequence[SpreadConstraint]


class _CountedRows(NamedTuple):
    """The nodes whose pods count for a constraint; None: all that have its label. Valid for one
    state of the nodes."""

    generation: int
    size: int
    rows: Bools | None


def _no_default_selector(pod: core_v1.Pod) -> Selector | None:
    return None


class PodTopologySpread(Plugin):
    """`arguments`: defaultConstraints and defaultingType (System or List).

    `default_selector` says which pods a pod without constraints is spread with, None if there is no
    such group.
    """

    name = "PodTopologySpread"
    events = frozenset(
        (
            EventKind.NODE_ADDED,
            EventKind.NODE_DELETED,
            EventKind.NODE_LABELS,
            EventKind.NODE_TAINTS,
            EventKind.POD_ASSIGNED,
            EventKind.POD_DELETED,
            EventKind.POD_LABELS,
        )
    )

    def __init__(
        self,
        weight: int = 0,
        arguments: Mapping[str, Any] | None = None,
        default_selector: Callable[[core_v1.Pod], Selector | None] = _no_default_selector,
    ) -> None:
        super().__init__(weight)
        arguments = arguments or {}
        self._system_defaults = _uses_system_defaults(arguments)
        defaults = _SYSTEM_DEFAULTS
        if not self._system_defaults:
            defaults = arguments.get("defaultConstraints") or []
        self._defaults = [
            from_builtins(constraint, core_v1.TopologySpreadConstraint) for constraint in defaults
        ]
        self._default_selector = default_selector
        self._counted_rows: OrderedDict[Hashable, _CountedRows] = OrderedDict()

    def _constraints(self, pod: PodInfo, when_unsatisfiable: str) -> list[SpreadConstraint]:
        if pod.spec.topology_spread_constraints:
            return [
                own
                for own in pod.rules.spread_constraints
                if own.constraint.when_unsatisfiable == when_unsatisfiable
            ]
        defaults = [c for c in self._defaults if c.when_unsatisfiable == when_unsatisfiable]
        if not defaults or not pod.labels:
            return []
        selector = self._default_selector(pod.pod)
        if selector is None:
            return []
        return [SpreadConstraint(constraint, selector) for constraint in defaults]

    # --- filter ---

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts = []
        hard = self._constraints(pod, "DoNotSchedule")
        for spread in hard:
            counts = self._domain_counts(snapshot, pod, spread, hard)
            verdicts.append(Verdict(counts.domains.labelled, _NO_LABEL, unresolvable=True))
            own = 1 if spread.selector.matches(pod.labels) else 0
            highest = spread.constraint.max_skew + _global_minimum(spread, counts) - own
            fits = counts.totals <= highest
            verdicts.append(Verdict(fits[counts.domains.rows], _UNEVEN))
        return verdicts

    def _domain_counts(
        self, snapshot: Snapshot, pod: PodInfo, spread: SpreadConstraint, together: Constraints
    ) -> DomainCounts:
        """The pods of each domain that a constraint counts, on nodes that have the labels of all of
        `together`."""
        constraint, selector = spread
        rows, key = self._rows_that_count(snapshot, pod, constraint, together)
        pods = snapshot.counts_of(frozenset((pod.namespace,)), selector)
        domains = snapshot.domains(constraint.topology_key)
        if rows is None:
            return pods.by_domain(domains)
        return pods.by_domain(domains, rows, key)

    def _rows_that_count(
        self,
        snapshot: Snapshot,
        pod: PodInfo,
        constraint: core_v1.TopologySpreadConstraint,
        together: Constraints,
    ) -> tuple[Bools | None, Hashable]:
        """(the rows; None: all with the constraint's label, what they depend on)."""
        topology_keys = tuple(other.constraint.topology_key for other in together)
        policies = (constraint.node_affinity_policy, constraint.node_taints_policy)
        key = (policies, topology_keys, pod.static_key)
        cached = self._counted_rows.get(key)
        if (
            cached is None
            or cached.generation != snapshot.generation
            or cached.size != len(snapshot)
        ):
            rows = _eligible_rows(snapshot, pod, constraint) & _labelled_rows(snapshot, together)
            labelled = snapshot.alive & snapshot.domains(constraint.topology_key).labelled
            all_count = np.array_equal(rows, labelled)
            cached = _CountedRows(snapshot.generation, len(snapshot), None if all_count else rows)
            self._counted_rows[key] = cached
            if len(self._counted_rows) > _REMEMBERED_ROWS:
                self._counted_rows.popitem(last=False)
        return cached.rows, key

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        hard = self._constraints(pod, "DoNotSchedule")
        if event.kind in (EventKind.POD_ASSIGNED, EventKind.POD_DELETED, EventKind.POD_LABELS):
            return _counts_pod_of(event, pod, hard)
        if event.kind == EventKind.NODE_TAINTS:
            return any(spread.constraint.node_taints_policy == "Honor" for spread in hard)
        assert event.node is not None
        labels = event.node.metadata.labels
        topology_keys = [spread.constraint.topology_key for spread in hard]
        if event.old_node is None:  # it was added or deleted
            return all(key in labels for key in topology_keys)
        if _selects_nodes(pod):  # which nodes count depends on other labels as well
            return True
        old_labels = event.old_node.metadata.labels
        return any(labels.get(key) != old_labels.get(key) for key in topology_keys)

    # --- score ---

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        soft = self._constraints(pod, "ScheduleAnyway")
        if not soft:
            return None
        # Nodes that lack a label count for nothing and score nothing, unless the labels are only
        # those of the system's defaults, which no pod asks for (upstream's
        # requireAllTopologies).
        requires_labels = bool(pod.spec.topology_spread_constraints) or not self._system_defaults
        candidates = feasible & snapshot.alive
        if requires_labels:
            candidates = candidates & _labelled_rows(snapshot, soft)
        if not candidates.any():
            return None
        together = soft if requires_labels else []
        raw = np.zeros(len(snapshot))
        for spread in soft:
            raw += self._raw_score(snapshot, pod, spread, together, candidates)
        return _normalized(np.floor(raw + 0.5), candidates)

    def _raw_score(
        self,
        snapshot: Snapshot,
        pod: PodInfo,
        spread: SpreadConstraint,
        together: Constraints,
        candidates: Bools,
    ) -> Floats:
        """How many pods the domain of each row has, weighted by the number of domains: fewer are
        better."""
        constraint, selector = spread
        domains = snapshot.domains(constraint.topology_key)
        pods_by_row: Ints
        if constraint.topology_key == _HOSTNAME:
            # Each node is a domain of its own.
            pods_by_row = snapshot.counts_of(frozenset((pod.namespace,)), selector).by_row
            domain_count = np.count_nonzero(candidates)
        else:
            pods_by_row = self._domain_counts(snapshot, pod, spread, together).by_row()
            # Missing labels (-1) count as one more domain.
            nodes_by_domain = np.bincount(domains.rows[candidates] + 1)
            domain_count = np.count_nonzero(nodes_by_domain)
        # Upstream's topologyNormalizingWeight and scoreForCount.
        weight = np.log(domain_count + 2)
        score = pods_by_row * weight + (constraint.max_skew - 1)
        return np.where(domains.labelled, score, 0)


def _uses_system_defaults(arguments: Mapping[str, Any]) -> bool:
    """Raises ConfigurationError."""
    defaulting_type = arguments.get("defaultingType", "System")
    constraints = arguments.get("defaultConstraints") or []
    if defaulting_type not in ("System", "List"):
        raise ConfigurationError(
            f'defaultingType: Unsupported value: "{defaulting_type}": '
            'supported values: "List", "System"'
        )
    if defaulting_type == "System" and constraints:
        raise ConfigurationError(
            f"defaultConstraints: Invalid value: {constraints}: when .defaultingType is System"
        )
    if any(constraint.get("labelSelector") for constraint in constraints):
        raise ConfigurationError(
            "defaultConstraints: labelSelector: Forbidden: constraint must not define a selector"
        )
    return bool(defaulting_type == "System")


def _global_minimum(spread: SpreadConstraint, counts: DomainCounts) -> int:
    """The pods of the domain that has fewest; 0 while there are fewer domains than minDomains."""
    min_domains = spread.constraint.min_domains
    if min_domains is not None and len(counts.present) < min_domains:
        return 0
    return counts.minimum()


def _counts_pod_of(event: ClusterEvent, pod: PodInfo, constraints: Constraints) -> bool:
    """Whether some constraint of the pod counts the pod of an event, as it is or as it was."""
    for other in (event.pod, event.old_pod):
        if other is None or other.namespace != pod.namespace:
            continue
        if any(spread.selector.matches(other.labels) for spread in constraints):
            return True
    return False


def _selects_nodes(pod: PodInfo) -> bool:
    affinity = pod.spec.affinity
    return bool(pod.spec.node_selector or (affinity is not None and affinity.node_affinity))


def _eligible_rows(
    snapshot: Snapshot, pod: PodInfo, constraint: core_v1.TopologySpreadConstraint
) -> Bools:
    """The nodes whose pods count by the constraint's inclusion policies."""
    honors_affinity = constraint.node_affinity_policy != "Ignore" and _selects_nodes(pod)
    honors_taints = constraint.node_taints_policy == "Honor"
    eligible = snapshot.alive.copy()
    if not honors_affinity and not honors_taints:
        return eligible
    for row, node in snapshot.live_nodes():
        if honors_affinity and not matches_node(pod.spec, node):
            eligible[row] = False
        if honors_taints and not tolerates_taints(pod, node):
            eligible[row] = False
    return eligible


def _labelled_rows(snapshot: Snapshot, constraints: Constraints) -> Bools:
    """The nodes that have the labels of all constraints."""
    rows = snapshot.alive.copy()
    for spread in constraints:
        rows &= snapshot.domains(spread.constraint.topology_key).labelled
    return rows


def _normalized(raw: Floats, candidates: Bools) -> Floats:
    """Scores as they compare with those of the candidates; others get none."""
    highest = raw[candidates].max()
    lowest = raw[candidates].min()
    if highest:
        scores = np.floor(MAX_NODE_SCORE * (highest + lowest - raw) / highest)
    else:
        scores = np.full(len(raw), MAX_NODE_SCORE)
    return np.where(candidates, scores, 0.0)
