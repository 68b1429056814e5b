"""The EC2NodeClass of AWS, as far as it must be for manifests that name one to be accepted."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, custom_resource


class EC2NodeClassStatus(Struct):
    conditions: Annotated[list[Condition], F(1, list="map", keys=("type",))] = field(
        default_factory=list
    )


@custom_resource(
    "karpenter.k8s.aws",
    namespaced=False,
    plural="ec2nodeclasses",
    short_names=("ec2nc", "ec2ncs"),
    categories=("karpenter",),
    columns=(Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),),
)
class EC2NodeClass(Object):
    """How machines of AWS are made. Here it is never ready, and says so."""

    api_version: str = always("karpenter.k8s.aws/v1")
    kind: str = always("EC2NodeClass")
    spec: Annotated[Any, Meta(description="Whatever AWS wants to know.")] = None
    status: EC2NodeClassStatus = field(default_factory=EC2NodeClassStatus)
