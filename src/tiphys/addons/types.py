"""The object that stands for an enabled add-on."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.api.base import JSON, F, Struct, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, custom_resource

GROUP = "addons.tiphys.dev"
VERSION = "v1alpha1"


class AddonSpec(Struct):
    """Which settings an add-on runs with."""

    settings: Annotated[JSON, Meta(description="The add-on's own settings.")] = None
    paused: Annotated[bool, Meta(description="Whether it is installed and does not run.")] = False


class AddonStatus(Struct):
    """How the add-on is."""

    observed_generation: int = 0
    restarts: Annotated[int, Meta(description="How often it has failed and was started again.")] = 0
    conditions: Annotated[list[Condition], F(3, list="map", keys=("type",))] = []


@custom_resource(
    GROUP,
    VERSION,
    namespaced=False,
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Restarts", ".status.restarts", "integer", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class Addon(Object):
    """An add-on that is enabled in this cluster. Its name is the add-on's."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("Addon")
    spec: AddonSpec = field(default_factory=AddonSpec)
    status: AddonStatus = field(default_factory=AddonStatus)
