"""Types of apidiscovery.k8s.io/v2: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Struct, always, always_list
from tiphys.api.meta_v1 import GroupVersionKind, ListMeta, Object, TypeMeta


class APIGroupDiscovery(Object):
    api_version: str = always("apidiscovery.k8s.io/v2")
    kind: str = always("APIGroupDiscovery")
    versions: Annotated[list[APIVersionDiscovery], F(2)] = []


class APIGroupDiscoveryList(TypeMeta):
    api_version: str = always("apidiscovery.k8s.io/v2")
    kind: str = always("APIGroupDiscoveryList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[APIGroupDiscovery], F(2)] = always_list()


class APIResourceDiscovery(Struct):
    resource: Annotated[str, F(1)] = always("")
    response_kind: Annotated[GroupVersionKind | None, F(2)] = None
    scope: Annotated[str, F(3)] = always("")
    singular_resource: Annotated[str, F(4)] = always("")
    verbs: Annotated[list[str], F(5)] = always_list()
    short_names: Annotated[list[str], F(6)] = []
    categories: Annotated[list[str], F(7)] = []
    subresources: Annotated[list[APISubresourceDiscovery], F(8)] = []


class APISubresourceDiscovery(Struct):
    subresource: Annotated[str, F(1)] = always("")
    response_kind: Annotated[GroupVersionKind | None, F(2)] = None
    accepted_types: Annotated[list[GroupVersionKind], F(3)] = []
    verbs: Annotated[list[str], F(4)] = always_list()


class APIVersionDiscovery(Struct):
    version: Annotated[str, F(1)] = always("")
    resources: Annotated[list[APIResourceDiscovery], F(2)] = []
    freshness: Annotated[str, F(3)] = ""
