"""GRPCRoute."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.gateway import GROUP, VERSION
from tiphys.addons.gateway.types.shared import (
    CoreGroup,
    HeaderMatch,
    Hostname,
    HTTPHeaderFilter,
    Kind,
    LocalObjectReference,
    Name,
    Namespace,
    ParentReference,
    Port,
    RequestMirrorFilter,
    RouteStatus,
    SectionName,
)
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, Rule, custom_resource


class GRPCRouteFilter(Struct):
    """Something that is done to calls."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.requestHeaderModifier) && self.type != 'RequestHeaderModifier')",
            message="filter.requestHeaderModifier must be nil if the filter.type is not RequestHeaderModifier",
        ),
        Rule(
            "!(!has(self.requestHeaderModifier) && self.type == 'RequestHeaderModifier')",
            message="filter.requestHeaderModifier must be specified for RequestHeaderModifier filter.type",
        ),
        Rule(
            "!(has(self.responseHeaderModifier) && self.type != 'ResponseHeaderModifier')",
            message="filter.responseHeaderModifier must be nil if the filter.type is not ResponseHeaderModifier",
        ),
        Rule(
            "!(!has(self.responseHeaderModifier) && self.type == 'ResponseHeaderModifier')",
            message="filter.responseHeaderModifier must be specified for ResponseHeaderModifier filter.type",
        ),
        Rule(
            "!(has(self.requestMirror) && self.type != 'RequestMirror')",
            message="filter.requestMirror must be nil if the filter.type is not RequestMirror",
        ),
        Rule(
            "!(!has(self.requestMirror) && self.type == 'RequestMirror')",
            message="filter.requestMirror must be specified for RequestMirror filter.type",
        ),
        Rule(
            "!(has(self.extensionRef) && self.type != 'ExtensionRef')",
            message="filter.extensionRef must be nil if the filter.type is not ExtensionRef",
        ),
        Rule(
            "!(!has(self.extensionRef) && self.type == 'ExtensionRef')",
            message="filter.extensionRef must be specified for ExtensionRef filter.type",
        ),
    )
    type: Literal[
        "ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef"
    ]
    extension_ref: LocalObjectReference | None = None
    request_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: RequestMirrorFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None


class GRPCBackendRef(Struct):
    """A backend, its share, and what is done to calls on their way to it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            message="Must have port for Service reference",
        ),
    )
    name: Name
    filters: Annotated[
        list[GRPCRouteFilter],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            message="RequestHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            message="ResponseHeaderModifier filter cannot be repeated",
        ),
    ] = []
    group: CoreGroup = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: Port | None = None
    weight: Annotated[int, Meta(ge=0, le=1000000, extra_json_schema={"format": "int32"})] = 1


class GRPCMethodMatch(Struct):
    """The service and the method that are called."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.type) ? has(self.service) || has(self.method) : true",
            message="One or both of 'service' or 'method' must be specified",
        ),
        Rule(
            '(!has(self.type) || self.type == \'Exact\') && has(self.service) ? self.service.matches(r"""^(?i)\\.?[a-z_][a-z_0-9]*(\\.[a-z_][a-z_0-9]*)*$"""): true',
            message="service must only contain valid characters (matching ^(?i)\\.?[a-z_][a-z_0-9]*(\\.[a-z_][a-z_0-9]*)*$)",
        ),
        Rule(
            '(!has(self.type) || self.type == \'Exact\') && has(self.method) ? self.method.matches(r"""^[A-Za-z_][A-Za-z_0-9]*$"""): true',
            message="method must only contain valid characters (matching ^[A-Za-z_][A-Za-z_0-9]*$)",
        ),
    )
    method: Annotated[str, Meta(max_length=1024)] | None = None
    service: Annotated[str, Meta(max_length=1024)] | None = None
    type: Literal["Exact", "RegularExpression"] = "Exact"


class GRPCRouteMatch(Struct):
    """What must all hold of a call."""

    headers: Annotated[
        list[HeaderMatch], Meta(max_length=16), F(0, list="map", keys=("name",))
    ] = []
    method: GRPCMethodMatch | None = None


class GRPCRouteRule(Struct):
    """Calls that match any of the matches go to the backends."""

    backend_refs: Annotated[list[GRPCBackendRef], Meta(max_length=16), F(0, list="atomic")] = []
    filters: Annotated[
        list[GRPCRouteFilter],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            message="RequestHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            message="ResponseHeaderModifier filter cannot be repeated",
        ),
    ] = []
    matches: Annotated[list[GRPCRouteMatch], Meta(max_length=64), F(0, list="atomic")] = []
    name: SectionName | None = None


class GRPCRouteSpec(Struct):
    hostnames: Annotated[list[Hostname], Meta(max_length=16), F(0, list="atomic")] = []
    parent_refs: Annotated[
        list[ParentReference],
        Meta(max_length=32),
        F(0, list="atomic"),
        Rule(
            "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '')) : true))",
            message="sectionName must be specified when parentRefs includes 2 or more references to the same parent",
        ),
        Rule(
            "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || (has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))",
            message="sectionName must be unique when parentRefs includes 2 or more references to the same parent",
        ),
    ] = []
    rules: Annotated[
        list[GRPCRouteRule],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "(self.size() > 0 ? (has(self[0].matches) ? self[0].matches.size() : 0) : 0) + (self.size() > 1 ? (has(self[1].matches) ? self[1].matches.size() : 0) : 0) + (self.size() > 2 ? (has(self[2].matches) ? self[2].matches.size() : 0) : 0) + (self.size() > 3 ? (has(self[3].matches) ? self[3].matches.size() : 0) : 0) + (self.size() > 4 ? (has(self[4].matches) ? self[4].matches.size() : 0) : 0) + (self.size() > 5 ? (has(self[5].matches) ? self[5].matches.size() : 0) : 0) + (self.size() > 6 ? (has(self[6].matches) ? self[6].matches.size() : 0) : 0) + (self.size() > 7 ? (has(self[7].matches) ? self[7].matches.size() : 0) : 0) + (self.size() > 8 ? (has(self[8].matches) ? self[8].matches.size() : 0) : 0) + (self.size() > 9 ? (has(self[9].matches) ? self[9].matches.size() : 0) : 0) + (self.size() > 10 ? (has(self[10].matches) ? self[10].matches.size() : 0) : 0) + (self.size() > 11 ? (has(self[11].matches) ? self[11].matches.size() : 0) : 0) + (self.size() > 12 ? (has(self[12].matches) ? self[12].matches.size() : 0) : 0) + (self.size() > 13 ? (has(self[13].matches) ? self[13].matches.size() : 0) : 0) + (self.size() > 14 ? (has(self[14].matches) ? self[14].matches.size() : 0) : 0) + (self.size() > 15 ? (has(self[15].matches) ? self[15].matches.size() : 0) : 0) <= 128",
            message="While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must be less than 128",
        ),
    ] = []


@custom_resource(
    GROUP,
    plural="grpcroutes",
    categories=("gateway-api",),
    columns=(
        Column("Hostnames", ".spec.hostnames"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class GRPCRoute(Object):
    """Which gRPC calls go where."""

    api_version: str = always(VERSION)
    kind: str = always("GRPCRoute")
    spec: Annotated[GRPCRouteSpec, F(0, req=True)] = field(default_factory=lambda: GRPCRouteSpec())
    status: RouteStatus = field(default_factory=RouteStatus)
