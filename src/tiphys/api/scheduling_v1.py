"""Types of scheduling.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, always, always_list
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class PriorityClass(Object):
    api_version: str = always("scheduling.k8s.io/v1")
    kind: str = always("PriorityClass")
    value: Annotated[Int32, F(2)] = always(0)
    global_default: Annotated[bool, F(3)] = False
    description: Annotated[str, F(4)] = ""
    preemption_policy: Annotated[str | None, F(5)] = None


class PriorityClassList(TypeMeta):
    api_version: str = always("scheduling.k8s.io/v1")
    kind: str = always("PriorityClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PriorityClass], F(2, req=True)] = always_list()
