"""How many servers a model has, by what is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tiphys.addons.inference.types.fields import NotNegative, Zero, limits
from tiphys.api.base import Int32, Struct

_WORKSPACE = (
    r"^https:\/\/aps-workspaces\.[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*\.amazonaws\.com"
    r"\/workspaces\/ws-[a-zA-Z0-9-]+$|^$"
)
MetricType = Literal["Value", "Average"]


class Dimension(Struct):
    name: str
    value: str


class CloudWatchTrigger(Struct):
    activation_target_value: Zero | None = None
    dimensions: list[Dimension] = []
    metric_collection_period: Int32 = 300
    metric_collection_start_time: Int32 = 300
    metric_name: str = ""
    metric_stat: str = "Average"
    metric_type: MetricType = "Average"
    min_value: Zero | None = None
    name: str = ""
    namespace: str = ""
    target_value: float | None = None
    use_cached_metrics: bool = True


class PrometheusTrigger(Struct):
    activation_target_value: Zero | None = None
    custom_headers: str = ""
    metric_type: MetricType = "Average"
    name: str = ""
    namespace: str = ""
    query: str = ""
    server_address: Annotated[str, Meta(pattern=_WORKSPACE)] = ""
    target_value: float | None = None
    use_cached_metrics: bool = True


class AutoScaling(Struct):
    cloud_watch_trigger: CloudWatchTrigger | None = None
    cooldown_period: NotNegative = 300
    initial_cooldown_period: NotNegative = 300
    max_replica_count: NotNegative = 5
    min_replica_count: NotNegative = 1
    polling_interval: NotNegative = 30
    prometheus_trigger: PrometheusTrigger | None = None
    scale_down_stabilization_time: NotNegative = 300
    scale_up_stabilization_time: Annotated[int, limits(0, None, 0)] | None = None


class AutoScalingV1(AutoScaling):
    cloud_watch_trigger_list: Annotated[list[CloudWatchTrigger], Meta(max_length=100)] = []
    prometheus_trigger_list: Annotated[list[PrometheusTrigger], Meta(max_length=100)] = []
