"""The NodeClass of this cluster's own machines, and the report of a run of disruptions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from tiphys.addons.karpenter.names import OWN_GROUP
from tiphys.addons.karpenter.types.parts import schema
from tiphys.api.base import F, Struct, Time, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, custom_resource


class TiphysNodeClassSpec(Struct):
    """How machines are made."""

    image: Annotated[
        str,
        Meta(
            description="The image, as NAME@VERSION. NAME@latest is the newest version of the "
            "catalog. Nodes of another version have drifted."
        ),
        schema(min_length=1, max_length=200, pattern="^[a-z0-9][-a-z0-9.]*@[-A-Za-z0-9._]+$"),
    ] = "base@latest"
    zones: Annotated[
        list[str], F(2, list="set"), Meta(description="Zones of the catalog; all if there are none")
    ] = field(default_factory=list)
    instance_families: Annotated[
        list[str],
        F(3, list="set"),
        Meta(description="Families of the catalog; all if there are none."),
    ] = field(default_factory=list)
    unavailable: Annotated[
        list[str],
        F(4, list="set"),
        Meta(
            description="What cannot be had now, as TYPE/ZONE/CAPACITY-TYPE with * for any: to try "
            "out what happens then."
        ),
    ] = field(default_factory=list)
    runtime: Annotated[
        Literal["hollow", "containerd"],
        F(5),
        Meta(
            description="What machines are: hollow ones pretend to run pods; those of containerd "
            "are sandboxes of the cluster's machine, of the types that it is large enough for."
        ),
    ] = "hollow"


class TiphysNodeClassStatus(Struct):
    conditions: Annotated[list[Condition], F(1, list="map", keys=("type",))] = field(
        default_factory=list
    )
    image: Annotated[str, Meta(description="The image that new nodes get.")] = ""
    observed_generation: int = 0


@custom_resource(
    OWN_GROUP,
    "v1alpha1",
    namespaced=False,
    plural="tiphysnodeclasses",
    categories=("karpenter",),
    columns=(
        Column("Image", ".status.image"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class TiphysNodeClass(Object):
    """Machines of the catalog that comes with the add-on."""

    api_version: str = always(f"{OWN_GROUP}/v1alpha1")
    kind: str = always("TiphysNodeClass")
    spec: TiphysNodeClassSpec = field(default_factory=TiphysNodeClassSpec)
    status: TiphysNodeClassStatus = field(default_factory=TiphysNodeClassStatus)


class Replaced(Struct):
    """A node that was disrupted."""

    node: Annotated[str, Meta(description="The node.")] = ""
    node_claim: str = ""
    reason: Annotated[str, Meta(description="Empty, Drifted, Underutilized, Expired, ...")] = ""
    image: str = ""
    replacements: Annotated[
        list[str], F(5, list="atomic"), Meta(description="NodeClaims that were ready before.")
    ] = field(default_factory=list)
    pods: Annotated[int, Meta(description="Pods that had to move.")] = 0
    began_at: Annotated[Time | None, Meta(description="When the node was tainted.")] = None
    drained_at: Annotated[Time | None, Meta(description="When its last pod had gone.")] = None
    ended_at: Annotated[Time | None, Meta(description="When the machine was gone.")] = None
    in_progress: Annotated[
        int, Meta(description="Nodes of the pool under disruption then, itself included.")
    ] = 0
    allowed: Annotated[
        int, Meta(description="How many its budgets allowed then; -1: budgets do not count.")
    ] = 0


class Held(Struct):
    """What kept nodes from being disrupted."""

    by: Annotated[str, Meta(description="The budget, the pod or the PodDisruptionBudget.")] = ""
    reason: Annotated[str, Meta(description="For which reason nodes were to be disrupted.")] = ""
    times: Annotated[int, Meta(description="How many looks it was in the way at.")] = 0
    first_at: Time | None = None
    last_at: Time | None = None


class DisruptionReportSpec(Struct):
    """Of what."""

    node_pool: Annotated[str, Meta(description="The pool that is reported on.")] = ""


class DisruptionReportStatus(Struct):
    """What has happened."""

    began_at: Time | None = None
    nodes: Annotated[int, Meta(description="Nodes that were disrupted.")] = 0
    most_at_once: Annotated[int, Meta(description="The most at the same time.")] = 0
    replaced: Annotated[list[Replaced], F(4, list="atomic")] = field(default_factory=list)
    held: Annotated[list[Held], F(5, list="atomic")] = field(default_factory=list)


@custom_resource(
    OWN_GROUP,
    "v1alpha1",
    namespaced=False,
    categories=("karpenter",),
    columns=(
        Column("NodePool", ".spec.nodePool"),
        Column("Nodes", ".status.nodes", "integer"),
        Column("MostAtOnce", ".status.mostAtOnce", "integer"),
        Column("Since", ".status.beganAt", "date"),
    ),
)
class DisruptionReport(Object):
    """Who was disrupted when, why, and what held it: kept for every pool under its name."""

    api_version: str = always(f"{OWN_GROUP}/v1alpha1")
    kind: str = always("DisruptionReport")
    spec: DisruptionReportSpec = field(default_factory=DisruptionReportSpec)
    status: DisruptionReportStatus = field(default_factory=DisruptionReportStatus)
