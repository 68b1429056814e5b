"""The NodeOverlay, as karpenter.sh publishes it: what machines cost or have besides, for decisions
alone."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from tiphys.addons.karpenter.names import GROUP
from tiphys.addons.karpenter.types.parts import COMPARES, IN, LabelRequirement, schema
from tiphys.api.base import F, Quantity, Struct, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, Rule, custom_resource

_NUMBER = (
    "requirements operator 'Gt', 'Lt', 'Gte' or 'Lte' must have a single positive integer value"
)
_NOT_IN = "requirements with operator 'NotIn' must have a value defined"
_ADJUSTMENT = r"^(([+-]{1}(\d*\.?\d+))|(\+{1}\d*\.?\d+%)|(^(-\d{1,2}(\.\d+)?%)$)|(-100%))$"


class NodeOverlaySpec(Struct):
    """Of which machines something else is assumed, and what."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.price) || !has(self.priceAdjustment)",
            message="cannot set both 'price' and 'priceAdjustment'",
        ),
    )

    requirements: Annotated[
        list[LabelRequirement],
        F(1, list="atomic", req=True),
        Meta(description="What the labels of the machines are, those of their pool included."),
        schema(max_items=100),
        Rule("self.all(x, x.operator == 'NotIn' ? x.values.size() != 0 : true)", message=_NOT_IN),
        Rule("self.all(x, x.operator == 'In' ? x.values.size() != 0 : true)", message=IN),
        Rule(
            f"self.all(x, ({COMPARES}) ? (x.values.size() == 1 && int(x.values[0]) >= 0) : true)",
            message=_NUMBER,
        ),
    ] = field(default_factory=list)
    price_adjustment: Annotated[
        str | None,
        Meta(description="What comes to the price: an amount, or a share as ``-15%``."),
        schema(pattern=_ADJUSTMENT),
    ] = None
    price: Annotated[
        str | None, Meta(description="The price instead."), schema(pattern=r"^\d+(\.\d+)?$")
    ] = None
    capacity: Annotated[
        dict[str, Quantity],
        Meta(description="Extended resources that the machines have besides."),
        Rule(
            "self.all(x, !(x in ['cpu', 'memory', 'ephemeral-storage', 'pods']))",
            message="invalid resource restricted",
        ),
    ] = field(default_factory=dict)
    weight: Annotated[
        int | None,
        Meta(description="The heaviest overlay wins; without a weight it is 0."),
        schema(minimum=1, maximum=10000, format="int32"),
    ] = None


class NodeOverlayStatus(Struct):
    conditions: Annotated[list[Condition], F(1, list="map", keys=("type",))] = field(
        default_factory=list
    )


@custom_resource(
    GROUP,
    "v1alpha1",
    namespaced=False,
    short_names=("overlays",),
    categories=("karpenter",),
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Weight", ".spec.weight", "integer", priority=1),
    ),
)
class NodeOverlay(Object):
    """What is assumed of machines while nodes are planned and consolidated."""

    api_version: str = always(f"{GROUP}/v1alpha1")
    kind: str = always("NodeOverlay")
    spec: Annotated[NodeOverlaySpec, F(2, req=True)] = field(default_factory=NodeOverlaySpec)
    status: NodeOverlayStatus = field(default_factory=NodeOverlayStatus)
