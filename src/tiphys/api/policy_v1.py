"""Types of policy/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, IntOrString, Struct, Time, always, always_list
from tiphys.api.meta_v1 import Condition, DeleteOptions, LabelSelector, ListMeta, Object, TypeMeta


class Eviction(Object):
    api_version: str = always("policy/v1")
    kind: str = always("Eviction")
    delete_options: Annotated[DeleteOptions | None, F(2)] = None


class PodDisruptionBudgetSpec(Struct):
    min_available: Annotated[IntOrString | None, F(1)] = None
    selector: Annotated[LabelSelector | None, F(2, patch="replace", atomic=True)] = None
    max_unavailable: Annotated[IntOrString | None, F(3)] = None
    unhealthy_pod_eviction_policy: Annotated[str | None, F(4)] = None


class PodDisruptionBudgetStatus(Struct):
    observed_generation: Annotated[Int64, F(1)] = 0
    disrupted_pods: Annotated[dict[str, Time], F(2)] = {}
    disruptions_allowed: Annotated[Int32, F(3)] = always(0)
    current_healthy: Annotated[Int32, F(4)] = always(0)
    desired_healthy: Annotated[Int32, F(5)] = always(0)
    expected_pods: Annotated[Int32, F(6)] = always(0)
    conditions: Annotated[
        list[Condition], F(7, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class PodDisruptionBudget(Object):
    api_version: str = always("policy/v1")
    kind: str = always("PodDisruptionBudget")
    spec: Annotated[PodDisruptionBudgetSpec, F(2)] = field(default_factory=PodDisruptionBudgetSpec)
    status: Annotated[PodDisruptionBudgetStatus, F(3)] = field(
        default_factory=PodDisruptionBudgetStatus
    )


class PodDisruptionBudgetList(TypeMeta):
    api_version: str = always("policy/v1")
    kind: str = always("PodDisruptionBudgetList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PodDisruptionBudget], F(2, req=True)] = always_list()
