"""The cluster as it is when something is decided: nodes with their claims and pods. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tiphys.addons._cloud.catalog import Catalog
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import Count
from tiphys.addons.karpenter.ground import Standing, would_run
from tiphys.addons.karpenter.offers import NODES, Offer
from tiphys.addons.karpenter.podstates import is_reschedulable
from tiphys.addons.karpenter.types import NodeClaim, NodePool
from tiphys.api import core_v1, policy_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.footprint import units
from tiphys.machinery.nodes import is_ready
from tiphys.scheduler.plugins.registry import Listers
from tiphys.scheduler.podinfo import PodInfo


@dataclass
class StateNode:
    """A node, a claim, or both. `nominated`: pods are expected on it; `marked`: it is being
    disrupted, though its claim may not be deleted yet."""

    node: core_v1.Node | None = None
    claim: NodeClaim | None = None
    pods: list[core_v1.Pod] = field(default_factory=list)
    nominated: bool = False
    marked: bool = False

    @property
    def name(self) -> str:
        obj = self.node if self.node is not None else self.claim
        assert obj is not None
        return obj.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        own = self.node.metadata.labels if self.node is not None else {}
        return own if self.is_initialized or self.claim is None else {**own, **self.claim_labels}

    @property
    def claim_labels(self) -> Mapping[str, str]:
        return self.claim.metadata.labels if self.claim is not None else {}

    @property
    def annotations(self) -> Mapping[str, str]:
        own = self.node.metadata.annotations if self.node is not None else {}
        claims = self.claim.metadata.annotations if self.claim is not None else {}
        return {**claims, **own}

    @property
    def pool(self) -> str:
        return self.labels.get(names.NODE_POOL, "")

    @property
    def is_managed(self) -> bool:
        return self.claim is not None

    @property
    def is_initialized(self) -> bool:
        return self.claim is not None and self.claim.is_(names.INITIALIZED_CONDITION)

    @property
    def is_deleting(self) -> bool:
        """It is going away, for whichever reason."""
        claim_goes = self.claim is not None and bool(self.claim.metadata.deletion_timestamp)
        node_goes = self.node is not None and bool(self.node.metadata.deletion_timestamp)
        return claim_goes or (node_goes and self.is_managed) or self.marked

    @property
    def is_at_its_end(self) -> bool:
        return self.claim is not None and self.claim.is_(names.INSTANCE_TERMINATING)

    @property
    def is_ready(self) -> bool:
        return self.node is not None and is_ready(self.node)

    @property
    def reschedulable(self) -> list[core_v1.Pod]:
        return [pod for pod in self.pods if is_reschedulable(pod)]

    def as_planned(self) -> core_v1.Node:
        """The node as pods will find it: one that is on its way as its claim describes it, without
        what it has only while it starts."""
        if self.claim is None or self.is_initialized:
            assert self.node is not None
            return self.node
        claim = self.claim
        labels = {**self.labels, names.HOSTNAME: self.name}
        planned = core_v1.Node(metadata=ObjectMeta(name=self.name, labels=labels))
        planned.spec.taints = [
            core_v1.Taint(key=t.key, value=t.value, effect=t.effect) for t in claim.spec.taints
        ]
        planned.status.allocatable = dict(claim.status.allocatable)
        return planned


@dataclass
class World:
    """Everything that decisions are based on. `pools` are those that may make nodes, by name;
    `pending` are pods that need a node; `catalogs` are those of pools with overlays; `relaxes`:
    what pools want to choose from (`minValues`) is dropped where nothing else is left."""

    now: float
    catalog: Catalog
    nodes: list[StateNode] = field(default_factory=list)
    pools: dict[str, NodePool] = field(default_factory=dict)
    offers: list[Offer] = field(default_factory=list)
    pending: list[core_v1.Pod] = field(default_factory=list)
    daemons: list[PodInfo] = field(default_factory=list)
    budgets: Sequence[policy_v1.PodDisruptionBudget] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    listers: Listers = field(default_factory=Listers)
    relaxes: bool = False
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    _infos: dict[int, PodInfo] = field(default_factory=dict, init=False, repr=False)

    def info(self, pod: core_v1.Pod) -> PodInfo:
        """A pod that stands, whose derived facts are worked out once for all that is tried: that is
        a third of what each trial costs."""
        cached = self._infos.get(id(pod))
        if cached is None or cached.pod is not pod:
            cached = self._infos[id(pod)] = PodInfo(pod)
        return cached

    def signature(self) -> int:
        """Two worlds in which the same is to be found have the same, as far as pods, nodes, pools
        and PodDisruptionBudgets go. Heartbeats do not count."""
        return hash(
            (
                tuple(_looks_of(each) for each in self.nodes),
                tuple(sorted(pod.metadata.uid for pod in self.pending)),
                tuple(
                    (o.name, len(o.options), *sorted((o.left or {}).items())) for o in self.offers
                ),
                tuple((name, id(catalog)) for name, catalog in self.catalogs.items()),
                tuple((p.metadata.uid, p.metadata.generation) for p in self.pools.values()),
                tuple((b.metadata.uid, b.status.disruptions_allowed) for b in self.budgets),
                len(self.daemons),
            )
        )

    def standing(self, without: Iterable[str] = ()) -> Standing:
        """What pods could use, but for nodes of these names and those that are going."""
        gone = set(without)
        kept = [n for n in self.nodes if n.name not in gone and not n.is_deleting]
        kept = [n for n in kept if n.is_initialized or n.claim is None or _is_launched(n.claim)]
        kept.sort(key=lambda n: (not (n.is_initialized or n.claim is None), n.name))
        pods = [self.info(pod) for n in kept for pod in n.pods if not pod_finished(pod)]
        return Standing(
            nodes=[self._with_daemons(each) for each in kept],
            pods=pods,
            daemons=self.daemons,
            namespaces=self.namespaces,
            listers=self.listers,
            region=self.catalog.region,
        )

    def _with_daemons(self, state: StateNode) -> core_v1.Node:
        """Room for daemons that have not come yet is kept."""
        node = state.as_planned()
        if state.claim is None or not self.daemons:
            return node
        have = {o.uid for p in state.pods for o in p.metadata.owner_references if o.controller}
        missing = [
            d
            for d in self.daemons
            if d.pod.metadata.owner_references[0].uid not in have and would_run(d.pod, node)
        ]
        if not missing:
            return node
        reduced = copy.deepcopy(node)
        for daemon in missing:
            for name, amount in {**daemon.requests, "pods": 1}.items():
                if name in reduced.status.allocatable:
                    left = units(name, reduced.status.allocatable[name]) - amount
                    reduced.status.allocatable[name] = quantity(name, max(left, 0))
        return reduced

    def moving(self) -> list[core_v1.Pod]:
        """Pods on nodes that are going: they will need room."""
        return [pod for n in self.nodes if n.is_deleting for pod in n.reschedulable]

    def counts(self) -> dict[str, Count]:
        """What budgets are shares of, by pool."""
        return counts_of(self.nodes)

    def price(self, state: StateNode) -> float | None:
        """Dollars an hour; None for a machine of which the cloud knows no price."""
        labels = state.labels
        catalog = self.catalogs.get(labels.get(names.NODE_POOL, ""), self.catalog)
        return catalog.price(
            labels.get(names.INSTANCE_TYPE, ""),
            labels.get(names.ZONE, ""),
            labels.get(names.CAPACITY_TYPE, ""),
        )


def unbound(pod: core_v1.Pod) -> core_v1.Pod:
    """The pod as if it were on no node."""
    copied = copy.copy(pod)
    copied.spec = copy.copy(pod.spec)
    copied.spec.node_name = ""
    return copied


def _looks_of(state: StateNode) -> tuple[object, ...]:
    spec = state.node.spec if state.node is not None else core_v1.NodeSpec()
    room = state.node.status.allocatable if state.node is not None else {}
    return (
        state.name,
        state.is_deleting,
        state.is_ready,
        state.nominated,
        bool(spec.unschedulable),
        tuple((taint.key, taint.value, taint.effect) for taint in spec.taints),
        tuple(sorted(state.labels.items())),
        tuple(sorted(state.annotations.items())),
        tuple(sorted(room.items())),
        tuple((c.type, c.status) for c in state.claim.status.conditions) if state.claim else (),
        tuple(sorted((p.metadata.uid, p.metadata.resource_version) for p in state.pods)),
    )


def _is_launched(claim: NodeClaim) -> bool:
    return bool(claim.status.provider_id)


def join(
    nodes: Iterable[core_v1.Node], claims: Iterable[NodeClaim], pods: Iterable[core_v1.Pod]
) -> list[StateNode]:
    """Nodes with their claims, which name the same machine, and their pods."""
    states: list[StateNode] = []
    by_machine: dict[str, StateNode] = {}
    by_name: dict[str, StateNode] = {}
    for node in nodes:
        state = StateNode(node)
        states.append(state)
        by_name[node.metadata.name] = state
        if node.spec.provider_id:
            by_machine[node.spec.provider_id] = state
    for claim in claims:
        known = by_machine.get(claim.status.provider_id) if claim.status.provider_id else None
        if known is None:
            states.append(StateNode(None, claim))
        else:
            known.claim = claim
    for pod in pods:
        where = by_name.get(pod.spec.node_name)
        if where is not None:
            where.pods.append(pod)
    return states


def staying(states: Iterable[StateNode]) -> Iterator[tuple[NodeClaim, core_v1.Node]]:
    """Of claims whose nodes are there, those that are not being removed."""
    for state in states:
        if state.claim is not None and state.node is not None and not state.is_deleting:
            yield state.claim, state.node


def counts_of(nodes: Iterable[StateNode]) -> dict[str, Count]:
    """By pool, of nodes that are managed, initialised and not at their end."""
    counts: dict[str, Count] = {}
    for state in nodes:
        if not state.is_managed or not state.is_initialized or state.is_at_its_end:
            continue
        before = counts.get(state.pool, Count())
        going = state.is_deleting or not state.is_ready
        counts[state.pool] = Count(before.total + 1, before.disrupted + going)
    return counts


def used(nodes: Iterable[StateNode]) -> dict[str, dict[str, int]]:
    """What the nodes of each pool have together: limits count it."""
    usage: dict[str, dict[str, int]] = {}
    for state in nodes:
        if state.claim is None:
            continue
        sums = usage.setdefault(state.pool, {NODES: 0})
        sums[NODES] += 1
        capacity = state.claim.status.capacity
        if state.node is not None and state.is_initialized:
            capacity = state.node.status.capacity
        for name, amount in capacity.items():
            sums[name] = sums.get(name, 0) + units(name, amount)
    return usage
