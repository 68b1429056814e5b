"""The NodePool, as karpenter.sh publishes it: which nodes there may be, how many, and when they may
be replaced."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from tiphys.addons.karpenter.names import GROUP
from tiphys.addons.karpenter.types.parts import (
    LABEL_VALUE,
    LIFETIME,
    ExpireAfter,
    PoolNodeClassReference,
    PoolRequirements,
    StartupTaints,
    Taints,
    TerminationGracePeriod,
    schema,
)
from tiphys.api.base import F, Quantity, Struct, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, Rule, Scale, custom_resource

_CRON = (
    r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))"
    r"|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
)
_REASON = schema(enum=["Underutilized", "Empty", "Drifted"])


class Budget(Struct):
    """How many nodes may be disrupted at once, always or in a window of time (UTC)."""

    nodes: Annotated[
        str,
        F(1, req=True),
        Meta(description="A number, or a share of the pool's nodes, rounded up."),
        schema(pattern="^((100|[0-9]{1,2})%|[0-9]+)$", default="10%"),
    ] = "10%"
    reasons: Annotated[
        list[Annotated[str, _REASON]] | None,
        F(2, list="set"),
        Meta(description="The reasons it is for; all when nothing is said."),
        schema(max_items=50),
    ] = None
    schedule: Annotated[
        str | None, Meta(description="When the window opens, as cron."), schema(pattern=_CRON)
    ] = None
    duration: Annotated[
        str | None,
        Meta(description="How long the window is open."),
        schema(pattern="^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"),
    ] = None


class Disruption(Struct):
    """When nodes may be removed or replaced."""

    budgets: Annotated[
        list[Budget],
        F(1, list="atomic"),
        Meta(description="The strictest of those that are active holds."),
        schema(max_items=50, default=[{"nodes": "10%"}]),
        Rule(
            "self.all(x, has(x.schedule) == has(x.duration))",
            message="'schedule' must be set with 'duration'",
        ),
    ] = field(default_factory=list)
    consolidate_after: Annotated[
        str,
        Meta(description="How long a node's pods must be left alone before it is consolidated."),
        schema(pattern=LIFETIME),
    ] = "0s"
    consolidation_policy: Annotated[
        str,
        Meta(description="Which nodes are consolidated."),
        schema(enum=["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]),
    ] = "WhenEmptyOrUnderutilized"


class TemplateMetadata(Struct):
    """Labels and annotations of the pool's nodes."""

    annotations: Annotated[dict[str, str], schema(x_kubernetes_map_type="granular")] = field(
        default_factory=dict
    )
    labels: Annotated[
        dict[str, Annotated[str, schema(max_length=63, pattern=LABEL_VALUE)]],
        F(2, atomic=True),
        schema(max_properties=100),
        Rule(
            'self.all(x, x in ["karpenter.sh/capacity-type", "karpenter.sh/nodepool"] || '
            '!x.find("^([^/]+)").endsWith("karpenter.sh"))',
            message='label domain "karpenter.sh" is restricted',
        ),
        Rule(
            'self.all(x, x != "karpenter.sh/nodepool")',
            message='label "karpenter.sh/nodepool" is restricted',
        ),
        Rule(
            'self.all(x, x != "kubernetes.io/hostname")',
            message='label "kubernetes.io/hostname" is restricted',
        ),
    ] = field(default_factory=dict)


class TemplateSpec(Struct):
    """What the pool's NodeClaims say."""

    node_class_ref: Annotated[PoolNodeClassReference, F(1, req=True)] = field(
        default_factory=PoolNodeClassReference
    )
    requirements: PoolRequirements = field(default_factory=list)
    taints: Taints = field(default_factory=list)
    startup_taints: StartupTaints = field(default_factory=list)
    expire_after: ExpireAfter = "720h"
    termination_grace_period: TerminationGracePeriod = ""


class NodeClaimTemplate(Struct):
    """What the pool's NodeClaims are made from."""

    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    spec: Annotated[TemplateSpec, F(2, req=True)] = field(default_factory=TemplateSpec)


class NodePoolSpec(Struct):
    """Which nodes there may be."""

    template: Annotated[NodeClaimTemplate, F(1, req=True)] = field(
        default_factory=NodeClaimTemplate
    )
    disruption: Annotated[Disruption, schema(default={"consolidateAfter": "0s"})] = field(
        default_factory=Disruption
    )
    limits: Annotated[
        dict[str, Quantity], Meta(description="No node is made above these sums.")
    ] = field(default_factory=dict)
    weight: Annotated[
        int | None,
        Meta(description="Pools with more are tried first."),
        schema(minimum=1, maximum=100, format="int32"),
    ] = None
    replicas: Annotated[
        int | None,
        Meta(description="How many nodes there always are, whatever pods need."),
        schema(minimum=0),
    ] = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.replicas) == has(oldSelf.replicas)",
            message="Cannot transition NodePool between static (replicas set) and dynamic "
            "(replicas unset) provisioning modes",
        ),
        Rule(
            "!has(self.replicas) || (!has(self.limits) || size(self.limits) == 0 || "
            "(size(self.limits) == 1 && 'nodes' in self.limits))",
            message="only 'limits.nodes' is supported on static NodePools",
        ),
        Rule(
            "!has(self.replicas) || !has(self.weight)",
            message="'weight' is not supported on static NodePools",
        ),
    )


class NodePoolStatus(Struct):
    conditions: Annotated[list[Condition], F(1, list="map", keys=("type",))] = field(
        default_factory=list
    )
    resources: Annotated[
        dict[str, Quantity], Meta(description="What the pool's nodes have together.")
    ] = field(default_factory=dict)
    nodes: Annotated[int, Meta(description="How many nodes the pool has."), schema(default=0)] = 0
    node_class_observed_generation: int = 0


@custom_resource(
    GROUP,
    namespaced=False,
    categories=("karpenter",),
    scale=Scale(".spec.replicas", ".status.nodes"),
    columns=(
        Column("NodeClass", ".spec.template.spec.nodeClassRef.name"),
        Column("Nodes", ".status.nodes"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Weight", ".spec.weight", "integer", priority=1),
        Column("CPU", ".status.resources.cpu", priority=1),
        Column("Memory", ".status.resources.memory", priority=1),
    ),
)
class NodePool(Object):
    """Nodes that are made and removed as pods need them."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("NodePool")
    spec: Annotated[NodePoolSpec, F(2, req=True)] = field(default_factory=NodePoolSpec)
    status: NodePoolStatus = field(default_factory=NodePoolStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def is_static(self) -> bool:
        return self.spec.replicas is not None
