"""Types of discovery.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Struct, always, always_list
from tiphys.api.core_v1 import ObjectReference
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class EndpointConditions(Struct):
    ready: Annotated[bool | None, F(1)] = None
    serving: Annotated[bool | None, F(2)] = None
    terminating: Annotated[bool | None, F(3)] = None


class Endpoint(Struct):
    addresses: Annotated[list[str], F(1, list="set", req=True)] = always_list()
    conditions: Annotated[EndpointConditions, F(2)] = field(default_factory=EndpointConditions)
    hostname: Annotated[str | None, F(3)] = None
    target_ref: Annotated[ObjectReference | None, F(4, atomic=True)] = None
    deprecated_topology: Annotated[dict[str, str], F(5)] = {}
    node_name: Annotated[str | None, F(6)] = None
    zone: Annotated[str | None, F(7)] = None
    hints: Annotated[EndpointHints | None, F(8)] = None


class EndpointHints(Struct):
    for_zones: Annotated[list[ForZone], F(1, list="atomic")] = []
    for_nodes: Annotated[list[ForNode], F(2, list="atomic")] = []


class EndpointPort(Struct):
    name: Annotated[str | None, F(1)] = None
    protocol: Annotated[str | None, F(2)] = None
    port: Annotated[Int32 | None, F(3)] = None
    app_protocol: Annotated[str | None, F(4)] = None


class EndpointSlice(Object):
    api_version: str = always("discovery.k8s.io/v1")
    kind: str = always("EndpointSlice")
    address_type: Annotated[str, F(4, req=True)] = always("")
    endpoints: Annotated[list[Endpoint], F(2, list="atomic")] = always_list()
    ports: Annotated[list[EndpointPort], F(3, list="atomic")] = always_list()


class EndpointSliceList(TypeMeta):
    api_version: str = always("discovery.k8s.io/v1")
    kind: str = always("EndpointSliceList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[EndpointSlice], F(2, req=True)] = always_list()


class ForNode(Struct):
    name: Annotated[str, F(1, req=True)] = always("")


class ForZone(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
