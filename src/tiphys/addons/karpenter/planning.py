"""Which nodes pending pods need: the scheduler's own plugins, asked about nodes that are not there
yet (`Ground`). Pure.

What a new node is given is counted here, over all sizes that remain (`Draft`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons.karpenter.ground import Class, Ground, Standing
from tiphys.addons.karpenter.mentions import mentions
from tiphys.addons.karpenter.names import CAPACITY_TYPE, HOSTNAME, INSTANCE_TYPE, ZONE
from tiphys.addons.karpenter.offers import NODES, Left, Offer, Option
from tiphys.addons.karpenter.preferences import variants
from tiphys.machinery import nodes
from tiphys.scheduler.counting import Bools, Ints
from tiphys.scheduler.plugins.base import PluginError
from tiphys.scheduler.podinfo import PODS, PodInfo

_MOST_TYPES = 60  # of one claim, the cheapest: more make no difference and long objects


@dataclass
class NewNode:
    """A node that is to be made.

    options:  machines that will do, the cheapest first
    pinned:   labels that pods on it depend on
    requests: of its pods and daemons, by resource
    least:    how many values of a label its pool wants to choose from (`minValues`); fewer where
              that is given up
    """

    offer: Offer
    options: list[Option]
    pinned: dict[str, str]
    requests: dict[str, int]
    pods: list[PodInfo]
    least: dict[str, int] = field(default_factory=dict)

    @property
    def is_relaxed(self) -> bool:
        """Whether it has less to choose from than its pool wants."""
        return self.least != self.offer.least

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


def plan(
    pods: Iterable[PodInfo], offers: Sequence[Offer], standing: Standing, *, relaxes: bool = False
) -> Plan:
    """Where pods go, and what must be made for those that go nowhere. With `relaxes`, a pool's
    `minValues` are a wish."""
    pods = list(pods)
    mentioned = mentions([*pods, *standing.daemons], standing.listers.volumes)
    ground = Ground(offers, standing, mentioned)
    return Planner(pods, ground, {o.name: o.left for o in offers}, relaxes).run()


def plan_without(
    gone: Collection[str],
    pods: Iterable[PodInfo],
    ground: Ground,
    left: Mapping[str, Left],
    *,
    relaxes: bool = False,
) -> Plan:
    """The same as if nodes of these names were not there. `left` is what limits leave, by pool."""
    with ground.without(gone):
        planner = Planner(list(pods), ground, left, relaxes)
        with planner.undone():
            return planner.run()


class Draft:
    """A node that is being planned: its pods so far, and the rows of the table that still do."""

    def __init__(self, row: int, class_: Class, rows: Ints, total: Ints) -> None:
        self.row = row
        self.class_ = class_
        self.rows = rows
        self.total = total
        self.pods: list[PodInfo] = []


class Planner:
    def __init__(
        self, pods: list[PodInfo], ground: Ground, left: Mapping[str, Left], relaxes: bool
    ) -> None:
        self._pods = sorted(pods, key=_largest_first)
        self._ground = ground
        self._snapshot = ground.snapshot
        self._framework = ground.framework
        self._table = ground.table
        self._classes = ground.classes
        self._existing = ground.existing()
        self._left = [_copied(left[offer.name]) for offer in ground.table.offers]
        self._relaxes = relaxes
        self._drafts: list[Draft] = []
        self._plan = Plan()

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Takes back at the end what was placed: another plan may begin on the same ground."""
        try:
            yield
        finally:
            for draft in self._drafts:
                for pod in draft.pods:
                    self._snapshot.remove_pod(pod.uid)
                draft.class_.spares.insert(0, draft.row)
            for placed in self._plan.placed.values():
                for pod in placed:
                    self._snapshot.remove_pod(pod.uid)

    def run(self) -> Plan:
        for pod in self._pods:
            error = self._place(pod)
            if error:
                self._plan.errors[pod.key] = error
        self._plan.new = [self._finished(draft) for draft in self._drafts]
        return self._plan

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
            row = self._ground.spare(class_)
            draft = Draft(row, class_, options, class_.overhead + needed)
            self._drafts.append(draft)
            self._assign(pod, draft)
            self._charge(owner, options)
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
    ) -> tuple[Class, Ints] | None:
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
        if self._relaxes:
            return True
        least = self._table.offers[owner].least
        return self._choice(options, least) == least

    def _choice(self, options: Iterable[int], least: Mapping[str, int]) -> dict[str, int]:
        """How many values are left of each label, up to as many as are wanted."""
        labels = self._table.labels
        values = {key: {labels[row].get(key) for row in options} - {None} for key in least}
        return {key: min(wanted, len(values[key])) for key, wanted in least.items()}

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
        rows_kept = [int(row) for row in ordered if self._table.options[row][0].name in kept]
        lines = self._table.resources.items()
        offer = self._table.offers[class_.owner]
        return NewNode(
            offer,
            [self._table.options[row] for row in rows_kept],
            pinned,
            {name: int(draft.total[line]) for name, line in lines if draft.total[line]},
            draft.pods,
            self._choice(rows_kept, offer.least) if self._relaxes else dict(offer.least),
        )

    def _pinned(self, draft: Draft) -> dict[str, str]:
        """The labels that pods of the draft, or others of their namespaces, depend on."""
        spaces = {pod.namespace for pod in draft.pods}
        concerned = [pod for pod in self._pods if pod.namespace in spaces and _is_social(pod)]
        keys = mentions([*draft.pods, *concerned], self._ground.standing.listers.volumes)
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


def _copied(left: Left) -> Left:
    return None if left is None else dict(left)


def _is_place(key: str) -> bool:
    return key in (ZONE, CAPACITY_TYPE, INSTANCE_TYPE, "topology.kubernetes.io/region")


def _is_social(pod: PodInfo) -> bool:
    rules = pod.rules
    return bool(rules.spread_constraints or rules.required_affinity or rules.required_anti_affinity)


def _largest_first(pod: PodInfo) -> tuple[int, int, str, str]:
    requests = pod.requests
    created = pod.pod.metadata.creation_timestamp or ""
    return -requests.get("cpu", 0), -requests.get("memory", 0), created, pod.uid
