"""Types of node.k8s.io/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Quantity, Struct, always, always_list
from tiphys.api.core_v1 import Toleration
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class Overhead(Struct):
    pod_fixed: Annotated[dict[str, Quantity], F(1)] = {}


class RuntimeClass(Object):
    api_version: str = always("node.k8s.io/v1")
    kind: str = always("RuntimeClass")
    handler: Annotated[str, F(2, req=True)] = always("")
    overhead: Annotated[Overhead | None, F(3)] = None
    scheduling: Annotated[Scheduling | None, F(4)] = None


class RuntimeClassList(TypeMeta):
    api_version: str = always("node.k8s.io/v1")
    kind: str = always("RuntimeClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[RuntimeClass], F(2, req=True)] = always_list()


class Scheduling(Struct):
    node_selector: Annotated[dict[str, str], F(1, atomic=True)] = {}
    tolerations: Annotated[list[Toleration], F(2, list="atomic")] = []
