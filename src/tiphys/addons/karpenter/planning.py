"""Which nodes pending pods need: the scheduler's own plugins, asked about nodes that are not there
yet. Pure.

Machines that no pending pod can tell apart but for their size are one class: the labels that pods
mention have one value in it. Each class stands in the scheduler's snapshot as empty nodes, so that
taints, affinity, topology spread, ports and volumes are judged by the plugins that will judge them
later. What a new node is given is counted here, over all sizes that remain (`Draft`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons._cloud.machines import quantity
from tiphys.addons.karpenter.mentions import mentions
from tiphys.addons.karpenter.names import CAPACITY_TYPE, HOSTNAME, INSTANCE_TYPE, ZONE
from tiphys.addons.karpenter.offers import NODES, Offer, Option, Table
from tiphys.addons.karpenter.preferences import variants
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import nodes
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.counting import Bools, Ints
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.plugins.base import PluginError
from tiphys.scheduler.plugins.registry import Listers, plugins_of
from tiphys.scheduler.podinfo import PODS, PodInfo
from tiphys.scheduler.snapshot import Snapshot

_MOST_TYPES = 60  # of one claim, the cheapest: more make no difference and long objects


@dataclass
class Standing:
    """What is there, as pods could use it.

    nodes:   nodes that may take pods, in the order in which they are tried; of machines that are
             on their way, as they will be
    pods:    the pods on them
    daemons: of each daemon set, a pod
    """

    nodes: Sequence[core_v1.Node] = ()
    pods: Sequence[PodInfo] = ()
    daemons: Sequence[PodInfo] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    listers: Listers = field(default_factory=Listers)
    region: str = ""


@dataclass
class NewNode:
    """A node that is to be made.

    options:  machines that will do, the cheapest first
    pinned:   labels that pods on it depend on
    requests: of its pods and daemons, by resource
    """

    offer: Offer
    options: list[Option]
    pinned: dict[str, str]
    requests: dict[str, int]
    pods: list[PodInfo]

    @property
    def price(self) -> float:
        """Of the machine that it would be now."""
        return self.options[0][1].price


@dataclass
class Plan:
    """`placed`: names of nodes that are there, with the pods for them; `errors`: why a pod fits
    nowhere, by its key."""

    new: list[NewNode] = field(default_factory=list)
    placed: dict[str, list[PodInfo]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def plan(pods: Iterable[PodInfo], offers: Sequence[Offer], standing: Standing) -> Plan:
    """Where pods go, and what must be made for those that go nowhere."""
    return Planner(list(pods), offers, standing).run()


class Draft:
    """A node that is being planned: its pods so far, and the rows of the table that still do."""

    def __init__(self, row: int, class_: _Class, rows: Ints, total: Ints) -> None:
        self.row = row
        self.class_ = class_
        self.rows = rows
        self.total = total
        self.pods: list[PodInfo] = []


@dataclass
class _Class:
    """Rows of the table that pods cannot tell apart. `spares` are empty rows of the snapshot."""

    owner: int
    rows: Ints
    labels: dict[str, str]
    overhead: Ints
    spares: list[int] = field(default_factory=list)
    made: int = 0


class Planner:
    def __init__(self, pods: list[PodInfo], offers: Sequence[Offer], standing: Standing) -> None:
        self._pods = sorted(pods, key=_largest_first)
        self._standing = standing
        self._snapshot = Snapshot()
        self._snapshot.namespaces.update({k: dict(v) for k, v in standing.namespaces.items()})
        self._framework = Framework(self._snapshot, plugins_of(Profile(), standing.listers))
        mentioned = mentions([*pods, *standing.daemons], standing.listers.volumes)
        ordered = sorted(offers, key=lambda o: (-(o.pool.spec.weight or 0), o.name))
        self._table = Table(ordered, standing.region, mentioned)
        self._left = [None if o.left is None else dict(o.left) for o in ordered]
        self._keys = sorted({ZONE, *mentioned} - {HOSTNAME})
        self._drafts: list[Draft] = []
        self._draft_at: dict[int, Draft] = {}
        self._existing = self._add_existing()
        self._classes = self._add_classes()
        self._plan = Plan()
        self._hopeless: dict[tuple[bytes, int, int], bool] = {}

    def run(self) -> Plan:
        for pod in self._pods:
            error = self._place(pod)
            if error:
                self._plan.errors[pod.key] = error
        self._plan.new = [self._finished(draft) for draft in self._drafts]
        return self._plan

    # --- what there is ---

    def _add_existing(self) -> Ints:
        for node in self._standing.nodes:
            self._snapshot.put_node(node)
        for pod in self._standing.pods:
            self._snapshot.put_pod(pod, pod.spec.node_name)
        rows = [self._snapshot.row_of[node.metadata.name] for node in self._standing.nodes]
        return np.array(rows, np.int64)

    def _add_classes(self) -> list[list[_Class]]:
        """By pool, in the order in which pools are tried."""
        found: list[list[_Class]] = [[] for _ in self._table.offers]
        nothing = self._table.vector({})
        assert nothing is not None
        for key, rows in self._table.classes(self._keys).items():
            first = rows[0]
            made = _Class(self._table.owner[first], np.array(rows), {}, nothing)
            made.labels = self._shared_labels(rows)
            made.overhead = self._overhead(made, key)
            found[made.owner].append(made)
            self._add_spares(made)
        return found

    def _shared_labels(self, rows: list[int]) -> dict[str, str]:
        """What all rows of a class say."""
        first, *others = (self._table.labels[row] for row in rows)
        return {
            name: value
            for name, value in first.items()
            if name in self._keys or all(other.get(name) == value for other in others)
        }

    def _overhead(self, class_: _Class, key: object) -> Ints:
        """What daemons take of every node of a class."""
        node = self._node("", class_)
        total = self._table.vector({})
        assert total is not None
        for daemon in self._standing.daemons:
            if would_run(daemon.pod, node):
                amounts = self._table.vector({**daemon.requests, PODS: 1})
                if amounts is not None:
                    total = total + amounts
        return total

    def _node(self, name: str, class_: _Class) -> core_v1.Node:
        offer = self._table.offers[class_.owner]
        node = core_v1.Node(
            metadata=ObjectMeta(name=name, labels={**class_.labels, HOSTNAME: name})
        )
        node.spec.taints = offer.taints
        most = self._table.allocatable[class_.rows].max(axis=0) - class_.overhead
        node.status.allocatable = {
            resource: quantity(resource, max(int(most[line]), 0))
            for resource, line in self._table.resources.items()
        }
        return node

    def _add_spares(self, class_: _Class) -> None:
        """More each time: every new row makes the framework look at all nodes anew."""
        for _ in range(max(class_.made, 1)):
            class_.made += 1
            name = f"~{class_.owner}/{id(class_)}/{class_.made}"
            self._snapshot.put_node(self._node(name, class_))
            class_.spares.append(self._snapshot.row_of[name])

    # --- one pod ---

    def _place(self, pod: PodInfo) -> str:
        """Why it fits nowhere; "" if it does."""
        needed = self._table.vector({**pod.requests, PODS: 1})
        for variant in variants(pod):
            try:
                rows = self._framework.feasible(variant)
            except PluginError as error:
                return str(error)
            if rows is not None and self._put(pod, variant, rows, needed):
                return ""
        return self._explain(pod, needed)

    def _put(self, pod: PodInfo, variant: PodInfo, rows: Bools, needed: Ints | None) -> bool:
        existing = self._existing[rows[self._existing]]
        if len(existing):
            name = self._snapshot.names[int(existing[0])]
            self._snapshot.put_pod(pod, name)
            self._plan.placed.setdefault(name, []).append(pod)
            return True
        if needed is None:
            return False
        return self._put_in_draft(pod, rows, needed) or self._draft(pod, variant, rows, needed)

    def _put_in_draft(self, pod: PodInfo, rows: Bools, needed: Ints) -> bool:
        """Into the emptiest new node that takes it."""
        feasible = [draft for draft in self._drafts if rows[draft.row]]
        for draft in sorted(feasible, key=lambda draft: len(draft.pods)):
            total = draft.total + needed
            options = draft.rows[self._fits(draft.rows, total)]
            if len(options) and self._keeps_choice(draft.class_.owner, options):
                draft.rows = options
                draft.total = total
                self._assign(pod, draft)
                return True
        return False

    def _fits(self, rows: Ints, total: Ints) -> Bools:
        fits: Bools = np.all(self._table.allocatable[rows] >= total, axis=1)
        return fits

    def _draft(self, pod: PodInfo, variant: PodInfo, rows: Bools, needed: Ints) -> bool:
        """A new node of the first pool that can make one."""
        for owner in self._pools_for(pod):
            best = self._best_class(owner, variant, rows, needed)
            if best is None:
                continue
            class_, options = best
            row = class_.spares.pop(0)
            draft = Draft(row, class_, options, class_.overhead + needed)
            self._drafts.append(draft)
            self._draft_at[row] = draft
            self._assign(pod, draft)
            self._charge(owner, options)
            if not class_.spares:
                self._add_spares(class_)
            return True
        return False

    def _pools_for(self, pod: PodInfo) -> list[int]:
        """In their order; pools whose nodes would rather not have the pod come last."""
        tolerations = pod.spec.tolerations

        def rather_not(owner: int) -> bool:
            return any(
                taint.effect == "PreferNoSchedule" and not nodes.tolerated(taint, tolerations)
                for taint in self._table.offers[owner].taints
            )

        return sorted(range(len(self._table.offers)), key=rather_not)

    def _best_class(
        self, owner: int, pod: PodInfo, rows: Bools, needed: Ints
    ) -> tuple[_Class, Ints] | None:
        """Where the domains that the pod is spread over are emptiest, then where it is cheapest."""
        found: list[tuple[tuple[int, float], int, Ints]] = []
        for index, class_ in enumerate(self._classes[owner]):
            if not rows[class_.spares[0]]:
                continue
            options = class_.rows[self._fits(class_.rows, class_.overhead + needed)]
            options = self._within_limits(owner, options)
            if len(options) and self._keeps_choice(owner, options):
                price = float(self._table.prices[options].min())
                crowd = self._crowd(pod, class_.spares[0])
                found.append(((crowd, price), index, options))
        if not found:
            return None
        _, index, options = min(found, key=lambda one: one[:2])
        return self._classes[owner][index], options

    def _crowd(self, pod: PodInfo, row: int) -> int:
        """How many pods that it is spread with are in the domains of a row."""
        crowd = 0
        for spread in pod.rules.spread_constraints:
            counts = self._snapshot.counts_of(frozenset((pod.namespace,)), spread.selector)
            domains = self._snapshot.domains(spread.constraint.topology_key)
            crowd += int(counts.by_domain(domains).by_row()[row])
        return crowd

    def _within_limits(self, owner: int, options: Ints) -> Ints:
        left = self._left[owner]
        if left is None:
            return options
        if left.get(NODES, 1) < 1:
            return options[:0]
        for name, amount in left.items():
            line = self._table.resources.get(name)
            if line is not None:
                options = options[self._table.capacity[options, line] <= amount]
        return options

    def _charge(self, owner: int, options: Ints) -> None:
        """Takes the largest machine that it may become off what the limits leave."""
        left = self._left[owner]
        if left is None:
            return
        for name in left:
            line = self._table.resources.get(name)
            if line is not None:
                left[name] -= int(self._table.capacity[options, line].max())
        if NODES in left:
            left[NODES] -= 1

    def _keeps_choice(self, owner: int, options: Ints) -> bool:
        """Whether as many values are left to choose from as the pool wants (`minValues`)."""
        for key, least in self._table.offers[owner].least.items():
            if len({self._table.labels[row].get(key) for row in options} - {None}) < least:
                return False
        return True

    def _assign(self, pod: PodInfo, draft: Draft) -> None:
        draft.pods.append(pod)
        self._snapshot.put_pod(pod, self._snapshot.names[draft.row])

    # --- the outcome ---

    def _explain(self, pod: PodInfo, needed: Ints | None) -> str:
        """In one sentence for each pool."""
        reasons = []
        for owner, offer in enumerate(self._table.offers):
            reasons.append(
                f'incompatible with nodepool "{offer.name}", {self._reason(pod, owner, needed)}'
            )
        return "; ".join(reasons) or "no nodepool could make a node for it"

    def _reason(self, pod: PodInfo, owner: int, needed: Ints | None) -> str:
        classes = self._classes[owner]
        if not classes:
            return "no instance type met all requirements"
        if needed is None:
            return "no instance type has the resources that it asks for"
        fitting = [c.rows[self._fits(c.rows, c.overhead + needed)] for c in classes if c.spares]
        fitting = [rows for rows in fitting if len(rows)]
        if not fitting:
            return "no instance type has enough resources"
        if not any(len(self._within_limits(owner, rows)) for rows in fitting):
            return "all available instance types exceed limits for nodepool"
        reasons: dict[str, None] = {}
        for class_ in classes:
            try:
                said = self._framework.rejection_reasons(pod, class_.spares[0])
            except PluginError as error:
                said = [str(error)]
            reasons.update(dict.fromkeys(said))
        return ", ".join(reasons) or "minValues requirement is not met"

    def _finished(self, draft: Draft) -> NewNode:
        class_ = draft.class_
        pinned = self._pinned(draft)
        rows = self._unpinned_rows(draft, pinned)
        ordered = rows[np.argsort(self._table.prices[rows], kind="stable")]
        names: dict[str, None] = {}
        for row in ordered:
            names[self._table.options[row][0].name] = None
        kept = set(list(names)[:_MOST_TYPES])
        options = [self._table.options[row] for row in ordered]
        lines = self._table.resources.items()
        return NewNode(
            self._table.offers[class_.owner],
            [option for option in options if option[0].name in kept],
            pinned,
            {name: int(draft.total[line]) for name, line in lines if draft.total[line]},
            draft.pods,
        )

    def _pinned(self, draft: Draft) -> dict[str, str]:
        """The labels that pods of the draft, or others of their namespaces, depend on."""
        spaces = {pod.namespace for pod in draft.pods}
        concerned = [pod for pod in self._pods if pod.namespace in spaces and _is_social(pod)]
        keys = mentions([*draft.pods, *concerned], self._standing.listers.volumes)
        labels = draft.class_.labels
        custom = self._table.labels[int(draft.rows[0])]
        found = {key: labels[key] for key in keys if key in labels and key != HOSTNAME}
        machine = self._table.options[int(draft.rows[0])][0].labels
        offer = self._table.offers[draft.class_.owner]
        own = {key: v for key, v in custom.items() if key not in machine and not _is_place(key)}
        return {**found, **{key: v for key, v in own.items() if key not in offer.labels}}

    def _unpinned_rows(self, draft: Draft, pinned: Mapping[str, str]) -> Ints:
        """The draft's own rows, and those of other classes that nobody on it would notice."""
        rows = [draft.rows]
        own = draft.class_
        for class_ in self._classes[own.owner]:
            if class_ is own or (class_.overhead != own.overhead).any():
                continue
            if all(class_.labels.get(key) == value for key, value in pinned.items()):
                fitting = class_.rows[self._fits(class_.rows, draft.total)]
                rows.append(self._within_draft(draft, fitting))
        return np.concatenate(rows)

    def _within_draft(self, draft: Draft, rows: Ints) -> Ints:
        """Only types that the draft has: what limits said of them holds."""
        types = {self._table.options[row][0].name for row in draft.rows}
        return np.array([r for r in rows if self._table.options[r][0].name in types], np.int64)


def _is_place(key: str) -> bool:
    return key in (ZONE, CAPACITY_TYPE, INSTANCE_TYPE, "topology.kubernetes.io/region")


def _is_social(pod: PodInfo) -> bool:
    rules = pod.rules
    return bool(rules.spread_constraints or rules.required_affinity or rules.required_anti_affinity)


def would_run(daemon: core_v1.Pod, node: core_v1.Node) -> bool:
    """Whether a daemon set would have a pod on a node."""
    hard = [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
    return nodes.matches_node(daemon.spec, node) and all(
        nodes.tolerated(taint, daemon.spec.tolerations) for taint in hard
    )


def _largest_first(pod: PodInfo) -> tuple[int, int, str, str]:
    requests = pod.requests
    created = pod.pod.metadata.creation_timestamp or ""
    return -requests.get("cpu", 0), -requests.get("memory", 0), created, pod.uid
