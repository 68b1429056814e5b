"""KEDA's configuration for an endpoint: its autoscaling as a ScaledObject (pure).

The endpoint itself is what is scaled, by its scale subresource: so no other controller writes the
number of its replicas. Of one with halves the Deployment of each is, whose number the operator
leaves alone then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiphys.addons.inference.types.scaling import (
    AutoScaling,
    AutoScalingV1,
    CloudWatchTrigger,
    PrometheusTrigger,
)

VERSION = "keda.sh/v1alpha1"
Plain = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is scaled: the endpoint, or the Deployment of one half of it."""

    api_version: str
    kind: str
    name: str
    labels: dict[str, str]


def scaled_object(owner: Plain, target: Target, scaling: AutoScaling, prometheus: str) -> Plain:
    """`owner` is the endpoint as an owner reference. `prometheus` is used where a trigger names no
    server."""
    behavior = {
        "scaleDown": {"stabilizationWindowSeconds": scaling.scale_down_stabilization_time},
        "scaleUp": {"stabilizationWindowSeconds": scaling.scale_up_stabilization_time or 0},
    }
    return {
        "apiVersion": VERSION,
        "kind": "ScaledObject",
        "metadata": {
            "name": target.name,
            "labels": dict(target.labels),
            "ownerReferences": [owner],
        },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": target.api_version,
                "kind": target.kind,
                "name": target.name,
            },
            "pollingInterval": scaling.polling_interval,
            "cooldownPeriod": scaling.cooldown_period,
            "initialCooldownPeriod": scaling.initial_cooldown_period,
            "minReplicaCount": scaling.min_replica_count,
            "maxReplicaCount": scaling.max_replica_count,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": triggers_of(scaling, prometheus),
        },
    }


def triggers_of(scaling: AutoScaling, prometheus: str) -> list[Plain]:
    """In the order of the spec: the single ones, then those of the lists."""
    watched = [scaling.cloud_watch_trigger] if scaling.cloud_watch_trigger else []
    asked = [scaling.prometheus_trigger] if scaling.prometheus_trigger else []
    if isinstance(scaling, AutoScalingV1):
        watched += scaling.cloud_watch_trigger_list
        asked += scaling.prometheus_trigger_list
    return [
        *(_cloud_watch(one) for one in watched),
        *(_prometheus(one, prometheus) for one in asked),
    ]


def _trigger(kind: str, trigger: CloudWatchTrigger | PrometheusTrigger, metadata: Plain) -> Plain:
    """KEDA takes every value as text, and leaves out what is empty."""
    metric_type = "AverageValue" if trigger.metric_type == "Average" else "Value"
    scaler = {
        "type": kind,
        "metricType": metric_type,
        "useCachedMetrics": trigger.use_cached_metrics,
        "metadata": {name: _text(value) for name, value in metadata.items() if value != ""},
    }
    return {"name": trigger.name, **scaler} if trigger.name else scaler


def _cloud_watch(trigger: CloudWatchTrigger) -> Plain:
    metadata = {
        "namespace": trigger.namespace,
        "metricName": trigger.metric_name,
        "dimensionName": ";".join(dimension.name for dimension in trigger.dimensions),
        "dimensionValue": ";".join(dimension.value for dimension in trigger.dimensions),
        "metricStat": trigger.metric_stat,
        "metricStatPeriod": trigger.metric_collection_period,
        "metricCollectionTime": trigger.metric_collection_start_time,
        "minMetricValue": trigger.min_value or 0,
        "targetMetricValue": trigger.target_value or 0,
        "activationTargetMetricValue": trigger.activation_target_value or 0,
    }
    return _trigger("aws-cloudwatch", trigger, metadata)


def _prometheus(trigger: PrometheusTrigger, prometheus: str) -> Plain:
    metadata = {
        "serverAddress": trigger.server_address or prometheus,
        "query": trigger.query,
        "namespace": trigger.namespace,
        "customHeaders": trigger.custom_headers,
        "threshold": trigger.target_value or 0,
        "activationThreshold": trigger.activation_target_value or 0,
    }
    return _trigger("prometheus", trigger, metadata)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
