"""Pools, nodes and pods for tests of what is pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.addons._cloud.catalog import Catalog, builtin
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.offers import offer_of
from tiphys.addons.karpenter.planning import Plan
from tiphys.addons.karpenter.provisioning import plan_for
from tiphys.addons.karpenter.state import StateNode, World, used
from tiphys.addons.karpenter.types import (
    Budget,
    NodeClaim,
    NodePool,
    Requirement,
    Taint,
)
from tiphys.api import core_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import Condition, LabelSelector, ObjectMeta, OwnerReference
from tiphys.scheduler.podinfo import PodInfo

CATALOG: Catalog = builtin()
NOW = 1_800_000_000.0


def pool(name: str = "default", *requirements: tuple[str, ...], **spec: Any) -> NodePool:
    """Requirements as (key, operator, values...); `taints` as keys."""
    made = NodePool(metadata=ObjectMeta(name=name, uid=f"pool-{name}"))
    template = made.spec.template
    template.spec.requirements = [
        Requirement(key=k, operator=op, values=list(v)) for k, op, *v in requirements
    ]
    template.spec.taints = [Taint(key=key, effect="NoSchedule") for key in spec.pop("taints", ())]
    template.metadata.labels = spec.pop("labels", {})
    made.spec.disruption.budgets = [Budget(nodes=spec.pop("nodes", "100%"))]
    made.spec.disruption.consolidation_policy = spec.pop("policy", "WhenEmptyOrUnderutilized")
    for key, value in spec.items():
        setattr(made.spec, key, value)
    return made


ON_DEMAND = (names.CAPACITY_TYPE, "In", "on-demand")


def pod(name: str, cpu: str = "1", node: str = "", **spec: Any) -> core_v1.Pod:
    """`annotations` and `labels` are the pod's own; the rest its spec's. `spread` is a key."""
    labels = spec.pop("labels", {"app": name.split("-")[0]})
    meta = ObjectMeta(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        labels=labels,
        annotations=spec.pop("annotations", {}),
    )
    made = core_v1.Pod(metadata=meta)
    requests = {"cpu": canonical_quantity(cpu)} | spec.pop("requests", {})
    made.spec.containers = [
        core_v1.Container(name="c", resources=core_v1.ResourceRequirements(requests=requests))
    ]
    made.spec.node_name = node
    if key := spec.pop("spread", ""):
        made.spec.topology_spread_constraints = [
            core_v1.TopologySpreadConstraint(
                max_skew=1,
                topology_key=key,
                when_unsatisfiable="DoNotSchedule",
                label_selector=LabelSelector(match_labels=labels),
            )
        ]
    for key, value in spec.items():
        setattr(made.spec, key, value)
    made.status.phase = "Running" if node else "Pending"
    return made


def daemon(name: str, cpu: str, **spec: Any) -> PodInfo:
    made = pod(name, cpu, **spec)
    made.metadata.owner_references = [
        OwnerReference(kind="DaemonSet", name=name, uid=f"set-{name}", controller=True)
    ]
    return PodInfo(made)


def state(name: str, type_name: str, pods: Sequence[core_v1.Pod] = (), **facts: Any) -> StateNode:
    """A node of a machine that is up: `pool`, `zone`, `kind` (capacity type), `conditions` that are
    true besides, `grace` (terminationGracePeriod), `ready`, `annotations`."""
    type_ = CATALOG.by_name[type_name]
    zone, kind = facts.get("zone", "tiphys-1a"), facts.get("kind", "on-demand")
    labels = {
        **type_.labels,
        names.ZONE: zone,
        names.CAPACITY_TYPE: kind,
        names.NODE_POOL: facts.get("pool", "default"),
        names.HOSTNAME: name,
    }
    claim = NodeClaim(metadata=ObjectMeta(name=name, uid=f"claim-{name}", labels=labels))
    claim.spec.termination_grace_period = facts.get("grace", "")
    claim.status.provider_id = f"tiphys:///{name}"
    claim.status.capacity = {n: quantity(n, a) for n, a in type_.capacity.items()}
    claim.status.allocatable = {n: quantity(n, a) for n, a in type_.allocatable.items()}
    true = (
        names.LAUNCHED,
        names.REGISTERED_CONDITION,
        names.INITIALIZED_CONDITION,
        *facts.get("conditions", (names.CONSOLIDATABLE,)),
    )
    claim.status.conditions = [
        Condition(type=t, status="True", reason=t, last_transition_time=facts.get("since"))
        for t in true
    ]
    node = core_v1.Node(
        metadata=ObjectMeta(name=name, labels=labels, annotations=facts.get("annotations", {}))
    )
    node.spec.provider_id = claim.status.provider_id
    node.status.capacity, node.status.allocatable = (
        dict(claim.status.capacity),
        dict(claim.status.allocatable),
    )
    node.status.conditions = [
        core_v1.NodeCondition(type="Ready", status="True" if facts.get("ready", True) else "False")
    ]
    for one in pods:
        one.spec.node_name = name
    return StateNode(node, claim, list(pods))


def cluster(
    pools: Sequence[NodePool],
    nodes: Sequence[StateNode] = (),
    pending: Sequence[core_v1.Pod] = (),
    **facts: Any,
) -> World:
    sums = used(nodes)
    offers = [offer_of(p, CATALOG.types, CATALOG.region, sums.get(p.name, {})) for p in pools]
    return World(
        NOW, CATALOG, list(nodes), {p.name: p for p in pools}, offers, list(pending), **facts
    )


def planned(world: World) -> Plan:
    return plan_for(world, world.pending)
