"""Types of metrics.k8s.io/v1beta1: what nodes and pods use now."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Quantity, Struct, Time, always, always_dict, always_list
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class ContainerMetrics(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    usage: Annotated[dict[str, Quantity], F(2, req=True)] = always_dict()


class NodeMetrics(Object):
    api_version: str = always("metrics.k8s.io/v1beta1")
    kind: str = always("NodeMetrics")
    timestamp: Annotated[Time | None, F(2, req=True)] = None
    window: Annotated[str, F(3, req=True)] = always("")
    usage: Annotated[dict[str, Quantity], F(4, req=True)] = always_dict()


class NodeMetricsList(TypeMeta):
    api_version: str = always("metrics.k8s.io/v1beta1")
    kind: str = always("NodeMetricsList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[NodeMetrics], F(2, req=True)] = always_list()


class PodMetrics(Object):
    api_version: str = always("metrics.k8s.io/v1beta1")
    kind: str = always("PodMetrics")
    timestamp: Annotated[Time | None, F(2, req=True)] = None
    window: Annotated[str, F(3, req=True)] = always("")
    containers: Annotated[list[ContainerMetrics], F(4, req=True)] = always_list()


class PodMetricsList(TypeMeta):
    api_version: str = always("metrics.k8s.io/v1beta1")
    kind: str = always("PodMetricsList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PodMetrics], F(2, req=True)] = always_list()
