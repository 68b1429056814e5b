"""Types of autoscaling/v2: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Quantity, Struct, Time, always, always_list
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, TypeMeta


class MetricTarget(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[Quantity | None, F(2)] = None
    average_value: Annotated[Quantity | None, F(3)] = None
    average_utilization: Annotated[Int32 | None, F(4)] = None


class ContainerResourceMetricSource(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    target: Annotated[MetricTarget, F(2, req=True)] = field(default_factory=MetricTarget)
    container: Annotated[str, F(3, req=True)] = always("")


class MetricValueStatus(Struct):
    value: Annotated[Quantity | None, F(1)] = None
    average_value: Annotated[Quantity | None, F(2)] = None
    average_utilization: Annotated[Int32 | None, F(3)] = None


class ContainerResourceMetricStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    current: Annotated[MetricValueStatus, F(2, req=True)] = field(default_factory=MetricValueStatus)
    container: Annotated[str, F(3, req=True)] = always("")


class CrossVersionObjectReference(Struct):
    kind: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")
    api_version: Annotated[str, F(3)] = ""


class MetricIdentifier(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    selector: Annotated[LabelSelector | None, F(2, atomic=True)] = None


class ExternalMetricSource(Struct):
    metric: Annotated[MetricIdentifier, F(1, req=True)] = field(default_factory=MetricIdentifier)
    target: Annotated[MetricTarget, F(2, req=True)] = field(default_factory=MetricTarget)


class ExternalMetricStatus(Struct):
    metric: Annotated[MetricIdentifier, F(1, req=True)] = field(default_factory=MetricIdentifier)
    current: Annotated[MetricValueStatus, F(2, req=True)] = field(default_factory=MetricValueStatus)


class HPAScalingPolicy(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[Int32, F(2, req=True)] = always(0)
    period_seconds: Annotated[Int32, F(3, req=True)] = always(0)


class HPAScalingRules(Struct):
    stabilization_window_seconds: Annotated[Int32 | None, F(3)] = None
    select_policy: Annotated[str | None, F(1)] = None
    policies: Annotated[list[HPAScalingPolicy], F(2, list="atomic")] = []
    tolerance: Annotated[Quantity | None, F(4)] = None


class HorizontalPodAutoscalerSpec(Struct):
    scale_target_ref: Annotated[CrossVersionObjectReference, F(1, req=True)] = field(
        default_factory=CrossVersionObjectReference
    )
    min_replicas: Annotated[Int32 | None, F(2)] = None
    max_replicas: Annotated[Int32, F(3, req=True)] = always(0)
    metrics: Annotated[list[MetricSpec], F(4, list="atomic")] = []
    behavior: Annotated[HorizontalPodAutoscalerBehavior | None, F(5)] = None


class HorizontalPodAutoscalerStatus(Struct):
    observed_generation: Annotated[Int64 | None, F(1)] = None
    last_scale_time: Annotated[Time | None, F(2)] = None
    current_replicas: Annotated[Int32, F(3)] = 0
    desired_replicas: Annotated[Int32, F(4, req=True)] = always(0)
    current_metrics: Annotated[list[MetricStatus], F(5, list="atomic")] = always_list()
    conditions: Annotated[
        list[HorizontalPodAutoscalerCondition],
        F(6, patch="merge", key="type", list="map", keys=("type",)),
    ] = []


class HorizontalPodAutoscaler(Object):
    api_version: str = always("autoscaling/v2")
    kind: str = always("HorizontalPodAutoscaler")
    spec: Annotated[HorizontalPodAutoscalerSpec, F(2, req=True)] = field(
        default_factory=HorizontalPodAutoscalerSpec
    )
    status: Annotated[HorizontalPodAutoscalerStatus, F(3)] = field(
        default_factory=HorizontalPodAutoscalerStatus
    )


class HorizontalPodAutoscalerBehavior(Struct):
    scale_up: Annotated[HPAScalingRules | None, F(1)] = None
    scale_down: Annotated[HPAScalingRules | None, F(2)] = None


class HorizontalPodAutoscalerCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class HorizontalPodAutoscalerList(TypeMeta):
    api_version: str = always("autoscaling/v2")
    kind: str = always("HorizontalPodAutoscalerList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[HorizontalPodAutoscaler], F(2, req=True)] = always_list()


class MetricSpec(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    object: Annotated[ObjectMetricSource | None, F(2)] = None
    pods: Annotated[PodsMetricSource | None, F(3)] = None
    resource: Annotated[ResourceMetricSource | None, F(4)] = None
    container_resource: Annotated[ContainerResourceMetricSource | None, F(7)] = None
    external: Annotated[ExternalMetricSource | None, F(5)] = None


class MetricStatus(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    object: Annotated[ObjectMetricStatus | None, F(2)] = None
    pods: Annotated[PodsMetricStatus | None, F(3)] = None
    resource: Annotated[ResourceMetricStatus | None, F(4)] = None
    container_resource: Annotated[ContainerResourceMetricStatus | None, F(7)] = None
    external: Annotated[ExternalMetricStatus | None, F(5)] = None


class ObjectMetricSource(Struct):
    described_object: Annotated[CrossVersionObjectReference, F(1, req=True)] = field(
        default_factory=CrossVersionObjectReference
    )
    target: Annotated[MetricTarget, F(2, req=True)] = field(default_factory=MetricTarget)
    metric: Annotated[MetricIdentifier, F(3, req=True)] = field(default_factory=MetricIdentifier)


class ObjectMetricStatus(Struct):
    metric: Annotated[MetricIdentifier, F(1, req=True)] = field(default_factory=MetricIdentifier)
    current: Annotated[MetricValueStatus, F(2, req=True)] = field(default_factory=MetricValueStatus)
    described_object: Annotated[CrossVersionObjectReference, F(3, req=True)] = field(
        default_factory=CrossVersionObjectReference
    )


class PodsMetricSource(Struct):
    metric: Annotated[MetricIdentifier, F(1, req=True)] = field(default_factory=MetricIdentifier)
    target: Annotated[MetricTarget, F(2, req=True)] = field(default_factory=MetricTarget)


class PodsMetricStatus(Struct):
    metric: Annotated[MetricIdentifier, F(1, req=True)] = field(default_factory=MetricIdentifier)
    current: Annotated[MetricValueStatus, F(2, req=True)] = field(default_factory=MetricValueStatus)


class ResourceMetricSource(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    target: Annotated[MetricTarget, F(2, req=True)] = field(default_factory=MetricTarget)


class ResourceMetricStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    current: Annotated[MetricValueStatus, F(2, req=True)] = field(default_factory=MetricValueStatus)
