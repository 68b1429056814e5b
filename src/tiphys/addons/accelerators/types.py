"""The custom resource of the accelerators add-on."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from tiphys.addons.accelerators import GROUP
from tiphys.api.base import F, Quantity, Struct, always, always_list
from tiphys.api.meta_v1 import Condition, LabelSelector, Object
from tiphys.operator import Column, custom_resource

_MOST = 2**31 - 1
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Name = Annotated[str, Meta(min_length=1, max_length=40, pattern=_LABEL)]
Index = Annotated[int, Meta(ge=0, le=9999)]
Seconds = Annotated[int, Meta(ge=0, le=_MOST)]


class Pool(Struct):
    """Nodes that are alike. They go to the zones in turn, those of one domain together."""

    name: Annotated[Name, F(0, req=True)] = always("")
    nodes: Annotated[int, Meta(ge=1, le=5000, description="How many nodes it has.")] = 1
    gpus: Annotated[int, Meta(ge=1, le=128, description="How many GPUs each node has.")] = 8
    product: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=63)] = always("")
    architecture: Annotated[str, Meta(max_length=63)] = "Hopper"
    memory: Annotated[Quantity, Meta(description="Of one GPU.")] = Quantity("80Gi")
    instance_type: Annotated[str, Meta(max_length=63)] = ""
    zones: Annotated[list[Name], Meta(min_length=1, max_length=16), F(0, list="atomic")] = field(
        default_factory=lambda: ["zone-a"]
    )
    domain: Annotated[
        int, Meta(ge=0, le=5000, description="Nodes that share an NVLink domain; 0: no NVLink.")
    ] = 1
    capacity_type: Literal["on-demand", "spot"] = "on-demand"


class Failure(Struct):
    """A GPU that breaks, and may come back. Seconds count from the fleet's creation, or the
    failure."""

    pool: Annotated[Name, F(0, req=True)] = always("")
    node: Index = 0
    device: Index = 0
    after: Seconds = 0
    repaired_after: Seconds | None = None
    reason: Annotated[str, Meta(max_length=63)] = "XID-79"


class Interruption(Struct):
    """A node that is taken away, after a notice, and may come back."""

    pool: Annotated[Name, F(0, req=True)] = always("")
    node: Index = 0
    after: Seconds = 0
    notice: Seconds = 120
    returns_after: Seconds | None = None


class FleetSpec(Struct):
    """Which nodes have which accelerators, and what happens to them."""

    node_selector: Annotated[LabelSelector | None, F(0, atomic=True)] = None
    pools: Annotated[
        list[Pool], F(0, list="map", keys=("name",), req=True), Meta(min_length=1, max_length=64)
    ] = always_list()
    failures: Annotated[list[Failure], F(0, list="atomic"), Meta(max_length=1000)] = []
    interruptions: Annotated[list[Interruption], F(0, list="atomic"), Meta(max_length=1000)] = []


class FleetStatus(Struct):
    observed_generation: int = 0
    nodes: int = always(0)
    gpus: int = always(0)
    healthy: Annotated[int, Meta(description="GPUs that can be used now.")] = always(0)
    interrupted: Annotated[list[str], F(0, list="atomic")] = []
    conditions: Annotated[list[Condition], F(3, list="map", keys=("type",))] = []


@custom_resource(
    GROUP,
    "v1alpha1",
    namespaced=False,
    columns=(
        Column("Nodes", ".status.nodes", "integer"),
        Column("GPUs", ".status.gpus", "integer"),
        Column("Healthy", ".status.healthy", "integer"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    ),
)
class Fleet(Object):
    """Accelerators on nodes that have none."""

    api_version: str = always(f"{GROUP}/v1alpha1")
    kind: str = always("Fleet")
    spec: FleetSpec = field(default_factory=FleetSpec)
    status: FleetStatus = field(default_factory=FleetStatus)
