"""What several kinds of Gateway API have in common: names, references, headers, statuses."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from tiphys.api.base import F, Struct, always_list
from tiphys.api.meta_v1 import Condition
from tiphys.operator import Rule

Group = Annotated[
    str,
    Meta(
        max_length=253,
        pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
CoreGroup = Annotated[
    str,
    Meta(
        max_length=253,
        pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        extra_json_schema={"default": ""},
    ),
]
Kind = Annotated[
    str, Meta(min_length=1, max_length=63, pattern="^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
]
Name = Annotated[str, Meta(min_length=1, max_length=253)]
Namespace = Annotated[
    str, Meta(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
SectionName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
Hostname = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535, extra_json_schema={"format": "int32"})]
HeaderName = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")
]
HeaderValue = Annotated[str, Meta(min_length=1, max_length=4096)]
ControllerName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
    ),
]
Duration = Annotated[str, Meta(pattern="^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class LocalObjectReference(Struct):
    """An object in the same namespace."""

    group: Group
    kind: Kind
    name: Name


class ParentReference(Struct):
    """What a route attaches to: a Gateway, one of its listeners, or its port."""

    name: Name
    group: Group = "gateway.networking.k8s.io"
    kind: Kind = "Gateway"
    namespace: Namespace | None = None
    port: Port | None = None
    section_name: SectionName | None = None


class HTTPHeader(Struct):
    """A header and its value."""

    name: HeaderName
    value: HeaderValue


class HTTPHeaderFilter(Struct):
    """Headers that are set, added and removed."""

    add: Annotated[list[HTTPHeader], Meta(max_length=16), F(0, list="map", keys=("name",))] = []
    remove: Annotated[list[str], Meta(max_length=16), F(0, list="set")] = []
    set: Annotated[list[HTTPHeader], Meta(max_length=16), F(0, list="map", keys=("name",))] = []


class BackendObjectReference(Struct):
    """A Service and its port, by default."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            message="Must have port for Service reference",
        ),
    )
    name: Name
    group: CoreGroup = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: Port | None = None


class Fraction(Struct):
    """A share: the numerator of the denominator."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.numerator <= self.denominator",
            message="numerator must be less than or equal to denominator",
        ),
    )
    numerator: Annotated[int, Meta(ge=0, extra_json_schema={"format": "int32"})]
    denominator: Annotated[int, Meta(ge=1, extra_json_schema={"format": "int32"})] = 100


class RequestMirrorFilter(Struct):
    """Where copies of requests go, and of how many."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.percent) && has(self.fraction))",
            message="Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
        ),
    )
    backend_ref: BackendObjectReference
    fraction: Fraction | None = None
    percent: Annotated[int, Meta(ge=0, le=100, extra_json_schema={"format": "int32"})] | None = None


class HeaderMatch(Struct):
    """A header that a request must have."""

    name: HeaderName
    value: HeaderValue
    type: Literal["Exact", "RegularExpression"] = "Exact"


class RouteParentStatus(Struct):
    """What one controller has to say of a route for one parent."""

    conditions: Annotated[
        list[Condition], Meta(min_length=1, max_length=8), F(0, list="map", keys=("type",))
    ]
    controller_name: ControllerName
    parent_ref: ParentReference


class RouteStatus(Struct):
    parents: Annotated[
        list[RouteParentStatus], Meta(max_length=32), F(0, list="atomic", req=True)
    ] = always_list()


class BackendRef(Struct):
    """A backend and its share."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            message="Must have port for Service reference",
        ),
    )
    name: Name
    group: CoreGroup = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: Port | None = None
    weight: Annotated[int, Meta(ge=0, le=1000000, extra_json_schema={"format": "int32"})] = 1
