"""Types of autoscaling/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Quantity, Struct, Time, always, always_list, named
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, TypeMeta


class ContainerResourceMetricSource(Struct):
    name: Annotated[str, F(1)] = always("")
    target_average_utilization: Annotated[Int32 | None, F(2)] = None
    target_average_value: Annotated[Quantity | None, F(3)] = None
    container: Annotated[str, F(5)] = always("")


class ContainerResourceMetricStatus(Struct):
    name: Annotated[str, F(1)] = always("")
    current_average_utilization: Annotated[Int32 | None, F(2)] = None
    current_average_value: Annotated[Quantity, F(3)] = always(Quantity("0"))
    container: Annotated[str, F(4)] = always("")


class CrossVersionObjectReference(Struct):
    kind: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")
    api_version: Annotated[str, F(3)] = ""


class ExternalMetricSource(Struct):
    metric_name: Annotated[str, F(1)] = always("")
    metric_selector: Annotated[LabelSelector | None, F(2)] = None
    target_value: Annotated[Quantity | None, F(3)] = None
    target_average_value: Annotated[Quantity | None, F(4)] = None


class ExternalMetricStatus(Struct):
    metric_name: Annotated[str, F(1)] = always("")
    metric_selector: Annotated[LabelSelector | None, F(2)] = None
    current_value: Annotated[Quantity, F(3)] = always(Quantity("0"))
    current_average_value: Annotated[Quantity | None, F(4)] = None


class HorizontalPodAutoscalerSpec(Struct):
    scale_target_ref: Annotated[CrossVersionObjectReference, F(1, atomic=True, req=True)] = field(
        default_factory=CrossVersionObjectReference
    )
    min_replicas: Annotated[Int32 | None, F(2)] = None
    max_replicas: Annotated[Int32, F(3, req=True)] = always(0)
    target_cpu_utilization_percentage: Annotated[Int32 | None, F(4)] = named(
        "targetCPUUtilizationPercentage", None
    )


class HorizontalPodAutoscalerStatus(Struct):
    observed_generation: Annotated[Int64 | None, F(1)] = None
    last_scale_time: Annotated[Time | None, F(2)] = None
    current_replicas: Annotated[Int32, F(3, req=True)] = always(0)
    desired_replicas: Annotated[Int32, F(4, req=True)] = always(0)
    current_cpu_utilization_percentage: Annotated[Int32 | None, F(5)] = named(
        "currentCPUUtilizationPercentage", None
    )


class HorizontalPodAutoscaler(Object):
    api_version: str = always("autoscaling/v1")
    kind: str = always("HorizontalPodAutoscaler")
    spec: Annotated[HorizontalPodAutoscalerSpec, F(2, req=True)] = field(
        default_factory=HorizontalPodAutoscalerSpec
    )
    status: Annotated[HorizontalPodAutoscalerStatus, F(3)] = field(
        default_factory=HorizontalPodAutoscalerStatus
    )


class HorizontalPodAutoscalerCondition(Struct):
    type: Annotated[str, F(1)] = always("")
    status: Annotated[str, F(2)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class HorizontalPodAutoscalerList(TypeMeta):
    api_version: str = always("autoscaling/v1")
    kind: str = always("HorizontalPodAutoscalerList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[HorizontalPodAutoscaler], F(2, req=True)] = always_list()


class MetricSpec(Struct):
    type: Annotated[str, F(1)] = always("")
    object: Annotated[ObjectMetricSource | None, F(2)] = None
    pods: Annotated[PodsMetricSource | None, F(3)] = None
    resource: Annotated[ResourceMetricSource | None, F(4)] = None
    container_resource: Annotated[ContainerResourceMetricSource | None, F(7)] = None
    external: Annotated[ExternalMetricSource | None, F(5)] = None


class MetricStatus(Struct):
    type: Annotated[str, F(1)] = always("")
    object: Annotated[ObjectMetricStatus | None, F(2)] = None
    pods: Annotated[PodsMetricStatus | None, F(3)] = None
    resource: Annotated[ResourceMetricStatus | None, F(4)] = None
    container_resource: Annotated[ContainerResourceMetricStatus | None, F(7)] = None
    external: Annotated[ExternalMetricStatus | None, F(5)] = None


class ObjectMetricSource(Struct):
    target: Annotated[CrossVersionObjectReference, F(1)] = field(
        default_factory=CrossVersionObjectReference
    )
    metric_name: Annotated[str, F(2)] = always("")
    target_value: Annotated[Quantity, F(3)] = always(Quantity("0"))
    selector: Annotated[LabelSelector | None, F(4)] = None
    average_value: Annotated[Quantity | None, F(5)] = None


class ObjectMetricStatus(Struct):
    target: Annotated[CrossVersionObjectReference, F(1)] = field(
        default_factory=CrossVersionObjectReference
    )
    metric_name: Annotated[str, F(2)] = always("")
    current_value: Annotated[Quantity, F(3)] = always(Quantity("0"))
    selector: Annotated[LabelSelector | None, F(4)] = None
    average_value: Annotated[Quantity | None, F(5)] = None


class PodsMetricSource(Struct):
    metric_name: Annotated[str, F(1)] = always("")
    target_average_value: Annotated[Quantity, F(2)] = always(Quantity("0"))
    selector: Annotated[LabelSelector | None, F(3)] = None


class PodsMetricStatus(Struct):
    metric_name: Annotated[str, F(1)] = always("")
    current_average_value: Annotated[Quantity, F(2)] = always(Quantity("0"))
    selector: Annotated[LabelSelector | None, F(3)] = None


class ResourceMetricSource(Struct):
    name: Annotated[str, F(1)] = always("")
    target_average_utilization: Annotated[Int32 | None, F(2)] = None
    target_average_value: Annotated[Quantity | None, F(3)] = None


class ResourceMetricStatus(Struct):
    name: Annotated[str, F(1)] = always("")
    current_average_utilization: Annotated[Int32 | None, F(2)] = None
    current_average_value: Annotated[Quantity, F(3)] = always(Quantity("0"))


class ScaleSpec(Struct):
    replicas: Annotated[Int32, F(1)] = 0


class ScaleStatus(Struct):
    replicas: Annotated[Int32, F(1, req=True)] = always(0)
    selector: Annotated[str, F(2)] = ""


class Scale(Object):
    api_version: str = always("autoscaling/v1")
    kind: str = always("Scale")
    spec: Annotated[ScaleSpec, F(2)] = field(default_factory=ScaleSpec)
    status: Annotated[ScaleStatus, F(3)] = field(default_factory=ScaleStatus)
