"""The NodeClaim, as karpenter.sh publishes it: one node, from the wish to its end."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from tiphys.addons.karpenter.names import GROUP, NODE_POOL
from tiphys.addons.karpenter.types.parts import (
    ExpireAfter,
    NodeClassReference,
    Requirements,
    ResourceRequests,
    StartupTaints,
    Taints,
    TerminationGracePeriod,
)
from tiphys.api.base import F, Quantity, Struct, Time, always, named
from tiphys.api.meta_v1 import Condition, Object
from tiphys.machinery import conditions
from tiphys.operator import Column, Rule, custom_resource


class NodeClaimSpec(Struct):
    """What the node must be."""

    node_class_ref: Annotated[NodeClassReference, F(1, req=True)] = field(
        default_factory=NodeClassReference
    )
    requirements: Requirements = field(default_factory=list)
    resources: ResourceRequests = field(default_factory=ResourceRequests)
    taints: Taints = field(default_factory=list)
    startup_taints: StartupTaints = field(default_factory=list)
    expire_after: ExpireAfter = "720h"
    termination_grace_period: TerminationGracePeriod = ""
    rules: ClassVar[tuple[Rule, ...]] = (Rule("self == oldSelf", message="spec is immutable"),)


class NodeClaimStatus(Struct):
    conditions: Annotated[list[Condition], F(1, list="map", keys=("type",))] = field(
        default_factory=list
    )
    allocatable: Annotated[dict[str, Quantity], Meta(description="What the node has for pods.")] = (
        field(default_factory=dict)
    )
    capacity: Annotated[dict[str, Quantity], Meta(description="What the node has.")] = field(
        default_factory=dict
    )
    image_id: Annotated[str, Meta(description="What the machine was started from.")] = named(
        "imageID", ""
    )
    last_pod_event_time: Annotated[
        Time | None, Meta(description="When a pod came to the node or left it.")
    ] = None
    node_name: Annotated[str, Meta(description="The Node.")] = ""
    provider_id: Annotated[str, Meta(description="The machine.")] = named("providerID", "")


@custom_resource(
    GROUP,
    namespaced=False,
    categories=("karpenter",),
    columns=(
        Column("Type", r".metadata.labels.node\.kubernetes\.io/instance-type"),
        Column("Capacity", r".metadata.labels.karpenter\.sh/capacity-type"),
        Column("Zone", r".metadata.labels.topology\.kubernetes\.io/zone"),
        Column("Node", ".status.nodeName"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("ImageID", ".status.imageID", priority=1),
        Column("ID", ".status.providerID", priority=1),
        Column("NodePool", r".metadata.labels.karpenter\.sh/nodepool", priority=1),
        Column("NodeClass", ".spec.nodeClassRef.name", priority=1),
        Column("Drifted", '.status.conditions[?(@.type=="Drifted")].status', priority=1),
    ),
)
class NodeClaim(Object):
    """One node."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("NodeClaim")
    spec: Annotated[NodeClaimSpec, F(2, req=True)] = field(default_factory=NodeClaimSpec)
    status: NodeClaimStatus = field(default_factory=NodeClaimStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def pool(self) -> str:
        """The name of its NodePool, "" for a claim that somebody made by hand."""
        return self.metadata.labels.get(NODE_POOL, "")

    def is_(self, condition: str) -> bool:
        return conditions.is_true(self.status.conditions, condition)
