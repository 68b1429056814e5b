"""Types of coordination.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, MicroTime, Struct, always, always_list
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class LeaseSpec(Struct):
    holder_identity: Annotated[str | None, F(1)] = None
    lease_duration_seconds: Annotated[Int32 | None, F(2)] = None
    acquire_time: Annotated[MicroTime | None, F(3)] = None
    renew_time: Annotated[MicroTime | None, F(4)] = None
    lease_transitions: Annotated[Int32 | None, F(5)] = None
    strategy: Annotated[str | None, F(6)] = None
    preferred_holder: Annotated[str | None, F(7)] = None


class Lease(Object):
    api_version: str = always("coordination.k8s.io/v1")
    kind: str = always("Lease")
    spec: Annotated[LeaseSpec, F(2)] = field(default_factory=LeaseSpec)


class LeaseList(TypeMeta):
    api_version: str = always("coordination.k8s.io/v1")
    kind: str = always("LeaseList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Lease], F(2, req=True)] = always_list()
