"""Which nodes pending pods need: the scheduler's own plugins, run on nodes that are not there
yet (`Ground`). Pure.

What is assigned to a new node is counted here, over all sizes that remain (`Draft`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons.karpenter.ground import Class, Ground, Standing
from tiphys.addons.karpenter.mentions import mentions, places
from tiphys.addons.karpenter.names import HOSTNAME
from tiphys.addons.karpenter.offers import NODES, Left, Offer, Option
from tiphys.addons.karpenter.preferences import variants
from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.api.meta_v1 import ObjectMeta
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
    choices:  labels of which pods on it leave a choice, with the values that do
    requests: of its pods and daemons, by resource
    least:    how many values of a label its pool wants to choose from (`minValues`); fewer where
              that is dropped
    """

    offer: Offer
    options: list[Option]
    pinned: dict[str, str]
    requests: dict[str, int]
    pods: list[PodInfo]
    least: dict[str, int] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)

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
    """A node that is being planned: its pods so far, and the rows of the table that still do.
    `charged` is what was taken off the limits for it, by resource; `variants` are the pods with
    those of their wishes that were kept."""

    def __init__(self, row: int, class_: Class, rows: Ints, total: Ints, charged: Left) -> None:
        self.row = row
        self.class_ = class_
        self.rows = rows
        self.total = total
        self.charged = charged
        self.pods: list[PodInfo] = []
        self.variants: list[PodInfo] = []

    def with_pod(self, pod: PodInfo, variant: PodInfo, rows: Ints, total: Ints) -> Draft:
        """What it would be with another pod."""
        draft = Draft(self.row, self.class_, rows, total, self.charged)
        draft.pods = [*self.pods, pod]
        draft.variants = [*self.variants, variant]
        return draft


class Planner:
    def __init__(
        self, pods: list[PodInfo], ground: Ground, left: Mapping[str, Left], relaxes: bool
    ) -> None:
        self._pods = sorted(pods, key=_largest_first)
        self._social = [pod for pod in self._pods if _is_social(pod)]
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
        self._volumes = ground.standing.listers.volumes
        self._suitable: dict[tuple[bytes, int], bool] = {}  # by what it requires, and class

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Takes back at the end what was placed: another plan may start on the same ground."""
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
        return self._put_in_draft(pod, variant, rows, needed) or self._draft(
            pod, variant, rows, needed
        )

    def _put_in_draft(self, pod: PodInfo, variant: PodInfo, rows: Bools, needed: Ints) -> bool:
        """Into the emptiest new node that takes it."""
        feasible = [draft for draft in self._drafts if rows[draft.row]]
        for draft in sorted(feasible, key=lambda draft: len(draft.pods)):
            total = draft.total + needed
            options = draft.rows[self._fits(draft.rows, total)]
            if len(options) and self._keeps_choice(draft.with_pod(pod, variant, options, total)):
                draft.rows = options
                draft.total = total
                self._assign(pod, variant, draft)
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
            charged = self._charge(owner, options)
            draft = Draft(row, class_, options, class_.overhead + needed, charged)
            self._drafts.append(draft)
            self._assign(pod, variant, draft)
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
        ranked: list[tuple[tuple[int, float], int, Ints]] = []
        for index, class_ in enumerate(self._classes[owner]):
            if not rows[class_.spares[0]]:
                continue
            options = class_.rows[self._fits(class_.rows, class_.overhead + needed)]
            options = self._within_limits(owner, options)
            draft = Draft(class_.spares[0], class_, options, class_.overhead + needed, None)
            if len(options) and self._keeps_choice(draft.with_pod(pod, pod, options, draft.total)):
                price = float(self._table.prices[options].min())
                crowd = self._crowd(pod, class_.spares[0])
                ranked.append(((crowd, price), index, options))
        if not ranked:
            return None
        _, index, options = min(ranked, key=lambda one: one[:2])
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
        if left is not None and left.get(NODES, 1) < 1:
            return options[:0]
        return self._no_larger(options, left)

    def _no_larger(self, options: Ints, than: Left) -> Ints:
        for name, amount in (than or {}).items():
            line = self._table.resources.get(name)
            if line is not None:
                options = options[self._table.capacity[options, line] <= amount]
        return options

    def _charge(self, owner: int, options: Ints) -> Left:
        """Takes the largest machine that it may become off what the limits leave, and returns it;
        None where there are no limits."""
        left = self._left[owner]
        if left is None:
            return None
        charged = {}
        for name in left:
            line = self._table.resources.get(name)
            if line is not None:
                charged[name] = int(self._table.capacity[options, line].max())
                left[name] -= charged[name]
        if NODES in left:
            left[NODES] -= 1
        return charged

    def _keeps_choice(self, draft: Draft) -> bool:
        """Whether as many values are left to choose from as the pool wants (`minValues`)."""
        least = self._table.offers[draft.class_.owner].least
        if self._relaxes or not least:
            return True
        rows = self._alike(draft, self._fixed(draft))
        return self._choice(map(int, rows), least) == least

    def _choice(self, options: Iterable[int], least: Mapping[str, int]) -> dict[str, int]:
        """How many values of each label the types of machines have, up to as many as are wanted:
        also those that the pool does not allow (upstream)."""
        types = {type_.name: type_ for type_, _ in (self._table.options[row] for row in options)}
        region = self._ground.standing.region
        values = {
            key: {value for each in types.values() for value in each.values_of(key, region)}
            for key in least
        }
        return {key: min(wanted, len(values[key])) for key, wanted in least.items()}

    def _assign(self, pod: PodInfo, variant: PodInfo, draft: Draft) -> None:
        draft.pods.append(pod)
        draft.variants.append(variant)
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
                rejections = self._framework.rejection_reasons(pod, class_.spares[0])
            except PluginError as error:
                rejections = [str(error)]
            reasons.update(dict.fromkeys(rejections))
        return ", ".join(reasons) or "minValues requirement is not met"

    def _finished(self, draft: Draft) -> NewNode:
        class_ = draft.class_
        offer = self._table.offers[class_.owner]
        fixed = self._fixed(draft)
        rows = self._alike(draft, fixed)
        ordered = rows[np.argsort(self._table.prices[rows], kind="stable")]
        names: dict[str, None] = {}
        for row in ordered:
            names[self._table.options[row][0].name] = None
        kept = set(list(names)[:_MOST_TYPES])
        rows_kept = [int(row) for row in ordered if self._table.options[row][0].name in kept]
        pinned, choices = self._settled_labels(draft, rows_kept, fixed)
        lines = self._table.resources.items()
        return NewNode(
            offer,
            [self._table.options[row] for row in rows_kept],
            pinned,
            {name: int(draft.total[line]) for name, line in lines if draft.total[line]},
            draft.pods,
            self._choice(rows_kept, offer.least) if self._relaxes else dict(offer.least),
            choices,
        )

    def _fixed(self, draft: Draft) -> set[str]:
        """The labels that can have one value alone: those by which pods of the draft, or others of
        their namespaces, are near to others or apart, and those that a pool gives its nodes."""
        constrained_keys = self._table.constrained_keys[draft.class_.owner]
        return places(self._concerned(draft), self._volumes) | constrained_keys

    def _concerned(self, draft: Draft) -> list[PodInfo]:
        spaces = {pod.namespace for pod in draft.pods}
        social = [pod for pod in self._social if pod.namespace in spaces]
        return [*draft.pods, *social]

    def _settled_labels(
        self, draft: Draft, rows: Sequence[int], fixed: Collection[str]
    ) -> tuple[dict[str, str], dict[str, list[str]]]:
        """The labels that pods depend on: those with one value, and those with several."""
        pinned: dict[str, str] = {}
        choices: dict[str, list[str]] = {}
        for key in {*mentions(self._concerned(draft), self._volumes), *fixed} - {HOSTNAME}:
            values = {self._table.labels[row].get(key) for row in rows} - {None}
            if len(values) == 1:
                pinned[key] = str(*values)
            elif values:
                choices[key] = sorted(map(str, values))
        own = self._table.offers[draft.class_.owner].labels
        return {k: v for k, v in pinned.items() if k not in own}, choices

    def _alike(self, draft: Draft, fixed: Collection[str]) -> Ints:
        """The draft's own rows, and those of other classes that would do for all of its pods."""
        own = draft.class_
        rows = [draft.rows]
        for class_ in self._classes[own.owner]:
            if class_ is own or (class_.overhead != own.overhead).any():
                continue
            is_same = all(class_.labels.get(key) == own.labels.get(key) for key in fixed)
            if is_same and all(self._suits(pod, class_) for pod in draft.variants):
                fitting = class_.rows[self._fits(class_.rows, draft.total)]
                rows.append(self._no_larger(fitting, draft.charged))
        return np.concatenate(rows)

    def _suits(self, pod: PodInfo, class_: Class) -> bool:
        """Whether the pod may be on nodes of a class for all that their labels say."""
        spec = pod.spec
        if not spec.node_selector and (spec.affinity is None or not spec.affinity.node_affinity):
            return True
        key = (encode((spec.node_selector, spec.affinity)), id(class_))
        known = self._suitable.get(key)
        if known is None:
            node = core_v1.Node(metadata=ObjectMeta(labels=class_.labels))
            known = self._suitable[key] = nodes.matches_node(spec, node)
        return known


def _copied(left: Left) -> Left:
    return None if left is None else dict(left)


def _is_social(pod: PodInfo) -> bool:
    rules = pod.rules
    return bool(rules.spread_constraints or rules.required_affinity or rules.required_anti_affinity)


def _largest_first(pod: PodInfo) -> tuple[int, int, str, str]:
    requests = pod.requests
    created = pod.pod.metadata.creation_timestamp or ""
    return -requests.get("cpu", 0), -requests.get("memory", 0), created, pod.uid
