"""Types of apiregistration.k8s.io/v1: names, tags, keys and defaults from the published API of
release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Struct, Time, always, always_list, named
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class APIServiceSpec(Struct):
    service: Annotated[ServiceReference | None, F(1)] = None
    group: Annotated[str, F(2)] = ""
    version: Annotated[str, F(3)] = ""
    insecure_skip_tls_verify: Annotated[bool, F(4)] = named("insecureSkipTLSVerify", False)
    ca_bundle: Annotated[bytes, F(5, list="atomic")] = b""
    group_priority_minimum: Annotated[Int32, F(7, req=True)] = always(0)
    version_priority: Annotated[Int32, F(8, req=True)] = always(0)


class APIServiceStatus(Struct):
    conditions: Annotated[
        list[APIServiceCondition], F(1, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class APIService(Object):
    api_version: str = always("apiregistration.k8s.io/v1")
    kind: str = always("APIService")
    spec: Annotated[APIServiceSpec, F(2)] = field(default_factory=APIServiceSpec)
    status: Annotated[APIServiceStatus, F(3)] = field(default_factory=APIServiceStatus)


class APIServiceCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class APIServiceList(TypeMeta):
    api_version: str = always("apiregistration.k8s.io/v1")
    kind: str = always("APIServiceList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[APIService], F(2, req=True)] = always_list()


class ServiceReference(Struct):
    namespace: Annotated[str, F(1)] = ""
    name: Annotated[str, F(2)] = ""
    port: Annotated[Int32 | None, F(3)] = None
