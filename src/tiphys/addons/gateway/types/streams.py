"""TCPRoute and TLSRoute."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.addons.gateway import GROUP, VERSION
from tiphys.addons.gateway.types.shared import (
    BackendRef,
    Hostname,
    ParentReference,
    RouteStatus,
    SectionName,
)
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, Rule, custom_resource


class ConnectionRule(Struct):
    """Connections go to the backends."""

    backend_refs: Annotated[
        list[BackendRef], Meta(min_length=1, max_length=16), F(0, list="atomic")
    ]
    name: SectionName | None = None


class TCPRouteSpec(Struct):
    rules: Annotated[list[ConnectionRule], Meta(min_length=1, max_length=1), F(0, list="atomic")]
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


@custom_resource(
    GROUP,
    plural="tcproutes",
    categories=("gateway-api",),
    columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
)
class TCPRoute(Object):
    """Where the connections of a port go."""

    api_version: str = always(VERSION)
    kind: str = always("TCPRoute")
    spec: Annotated[TCPRouteSpec, F(0, req=True)] = field(
        default_factory=lambda: TCPRouteSpec(rules=[])
    )
    status: RouteStatus = field(default_factory=RouteStatus)


class TLSRouteSpec(Struct):
    hostnames: Annotated[
        list[Hostname],
        Meta(min_length=1, max_length=1024),
        F(0, list="atomic"),
        Rule("self.all(h, !isIP(h))", message="Hostnames cannot contain an IP"),
        Rule(
            r"self.all(h, !h.contains('*') ? h.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$') : true)",
            message="Hostnames must be valid based on RFC-1123",
        ),
        Rule(
            r"self.all(h, h.contains('*') ? (h.startsWith('*.') && h.substring(2).matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$')) : true)",
            message="Wildcards on hostnames must be the first label, and the rest of hostname must be valid based on RFC-1123",
        ),
    ]
    rules: Annotated[list[ConnectionRule], Meta(min_length=1, max_length=1), F(0, list="atomic")]
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


@custom_resource(
    GROUP,
    plural="tlsroutes",
    categories=("gateway-api",),
    columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
)
class TLSRoute(Object):
    """Where TLS connections go, by the name that the client asks for."""

    api_version: str = always(VERSION)
    kind: str = always("TLSRoute")
    spec: Annotated[TLSRouteSpec, F(0, req=True)] = field(
        default_factory=lambda: TLSRouteSpec(rules=[], hostnames=[])
    )
    status: RouteStatus = field(default_factory=RouteStatus)
