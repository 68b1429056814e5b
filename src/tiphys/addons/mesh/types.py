"""The custom resources of the mesh: how a namespace is spoken to, and where requests for a service
go.

The words of ServiceRoute are those of Gateway API's HTTPRoute for services (GAMMA, with the
experimental `retry`), for one service and one rule.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from tiphys.addons.mesh import GROUP
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, Rule, custom_resource

VERSION = "v1alpha1"
Name = Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Duration = Annotated[str, Meta(pattern="^([0-9]{1,5}(h|m|s|ms)){1,4}$")]
"""As in Gateway API: ``1m30s``, ``250ms``."""


class MeshPolicySpec(Struct):
    mode: Annotated[
        Literal["Strict", "Permissive"],
        Meta(description="Whether pods of the namespace take only who proves his identity."),
    ] = "Permissive"


class MeshStatus(Struct):
    """What the mesh makes of an object."""

    observed_generation: int = 0
    conditions: Annotated[list[Condition], F(3, list="map", keys=("type",))] = []


@custom_resource(
    GROUP,
    VERSION,
    columns=(
        Column("Mode", ".spec.mode"),
        Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
    ),
    rules=(Rule("self.metadata.name == 'default'", message="a namespace has one, named default"),),
)
class MeshPolicy(Object):
    """How the pods of a namespace are spoken to."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("MeshPolicy")
    spec: MeshPolicySpec = field(default_factory=MeshPolicySpec)
    status: MeshStatus = field(default_factory=MeshStatus)


class RouteBackend(Struct):
    """A Service of the same namespace, and its share of the requests."""

    name: Name
    port: Port
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class RouteTimeouts(Struct):
    """`request` is for the whole of it, `backendRequest` for each attempt. 0s is no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None


class RouteRetry(Struct):
    """When a request is sent again: when it fails without an answer, and on these statuses."""

    codes: Annotated[
        list[Annotated[int, Meta(ge=400, le=599)]], Meta(max_length=32), F(0, list="set")
    ] = []
    attempts: Annotated[int, Meta(ge=1, le=10, description="How often after the first.")] = 1
    backoff: Duration | None = None


class ServiceRouteSpec(Struct):
    service: Annotated[Name, Meta(description="Whose requests these are.")]
    port: Annotated[Port, Meta(description="Of the service; all by default.")] | None = None
    backend_refs: Annotated[list[RouteBackend], Meta(max_length=16), F(0, list="atomic")] = []
    timeouts: RouteTimeouts | None = None
    retry: RouteRetry | None = None


@custom_resource(
    GROUP,
    VERSION,
    columns=(
        Column("Service", ".spec.service"),
        Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
        Column("Resolved", '.status.conditions[?(@.type=="ResolvedRefs")].status'),
    ),
)
class ServiceRoute(Object):
    """Where requests of sidecars for a service go, and how they are sent."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("ServiceRoute")
    spec: ServiceRouteSpec = field(default_factory=lambda: ServiceRouteSpec(service=""))
    status: MeshStatus = field(default_factory=MeshStatus)
