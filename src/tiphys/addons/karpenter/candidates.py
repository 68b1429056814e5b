"""Which nodes could be disrupted, and what speaks against the others. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.podstates import asks_for_peace, blocking_budget, eviction_cost
from tiphys.addons.karpenter.state import StateNode, World
from tiphys.addons.karpenter.types import NEVER, NodeClaim, NodePool
from tiphys.api import core_v1

_BASE_COST = 1.0
"""What it costs to disrupt a node without pods (upstream's `PerNodeBaseDisruptionCost`)."""


@dataclass(frozen=True)
class Note:
    """A message about a node: becomes events of it and of its claim."""

    node: str
    reason: str
    message: str


@dataclass
class Candidate:
    """A node that may be disrupted. `price` in dollars an hour, None where it is not known."""

    state: StateNode
    claim: NodeClaim
    pool: NodePool
    pods: list[core_v1.Pod]
    price: float | None
    cost: float

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def is_empty(self) -> bool:
        return self.cost <= _BASE_COST

    @property
    def type(self) -> str:
        return self.state.labels.get(names.INSTANCE_TYPE, "")

    @property
    def capacity_type(self) -> str:
        return self.state.labels.get(names.CAPACITY_TYPE, "")

    @property
    def worth(self) -> float:
        """What is saved for what it costs to disrupt: the higher, the sooner."""
        return (self.price or 0.0) / self.cost


@dataclass
class Candidates:
    """`notes` say why others are none."""

    nodes: list[Candidate] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def candidates(world: World, *, eventually: bool = False) -> Candidates:
    """Nodes that may be disrupted gracefully; with `eventually` also those whose pods do not let
    themselves be evicted, but whose grace ends (`terminationGracePeriod`)."""
    result = Candidates()
    for state in world.nodes:
        if state.claim is None:
            continue
        against = _against(state, world)
        if not against:
            against = _pods_against(state, world)
            if against and eventually and state.claim.spec.termination_grace_period:
                against = ""
        if against:
            result.notes.append(Note(state.name, "DisruptionBlocked", _sentence(against)))
            continue
        pods = state.reschedulable
        cost = _BASE_COST + sum(max(eviction_cost(pod), 0.0) for pod in pods)
        pool = world.pools[state.pool]
        price = world.price(state)
        result.nodes.append(Candidate(state, state.claim, pool, pods, price, cost))
    return result


def _against(state: StateNode, world: World) -> str:
    """Upstream's `ValidateNodeDisruptable`."""
    if state.node is None:
        return "nodeclaim does not have an associated node"
    if not state.is_initialized:
        return "node isn't initialized"
    if state.is_deleting:
        return "node is deleting or marked for deletion"
    if state.nominated:
        return "node is nominated for a pending pod"
    if state.annotations.get(names.DO_NOT_DISRUPT) == "true":
        return f'disruption is blocked through the "{names.DO_NOT_DISRUPT}" annotation'
    if not state.pool:
        return f"node doesn't have required label (label={names.NODE_POOL})"
    if state.pool not in world.pools:
        return f"NodePool not found (NodePool={state.pool})"
    return ""


def _pods_against(state: StateNode, world: World) -> str:
    for pod in state.pods:
        if asks_for_peace(pod):
            key = f"{pod.metadata.namespace}/{pod.metadata.name}"
            return f'pod has "{names.DO_NOT_DISRUPT}" annotation (Pod={key})'
    return blocking_budget(state.pods, world.budgets)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def consolidatable(result: Candidates, *, empty: bool) -> Iterator[Candidate]:
    """Those that emptiness (`empty`) or consolidation may take; what speaks against others is added
    to the notes."""
    for candidate in result.nodes:
        if candidate.pool.is_static or candidate.is_empty != empty:
            continue
        against = "" if empty else _unpriced(candidate)
        if candidate.pool.spec.disruption.consolidate_after == NEVER:
            against = f'NodePool "{candidate.pool.name}" has consolidation disabled'
        elif not empty and candidate.pool.spec.disruption.consolidation_policy == "WhenEmpty":
            against = (
                f'NodePool "{candidate.pool.name}" has consolidation policy WhenEmpty, '
                "but node is not empty"
            )
        if against:
            result.notes.append(Note(candidate.name, "Unconsolidatable", against))
        elif candidate.claim.is_(names.CONSOLIDATABLE):
            yield candidate


def _unpriced(candidate: Candidate) -> str:
    labels = candidate.state.labels
    for label in (names.CAPACITY_TYPE, names.ZONE):
        if label not in labels:
            return f'Node does not have label "{label}"'
    return "" if candidate.price is not None else f'Instance Type "{candidate.type}" not found'
