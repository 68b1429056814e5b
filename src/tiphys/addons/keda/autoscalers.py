"""The HorizontalPodAutoscaler of a ScaledObject. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from tiphys.addons.keda import facts
from tiphys.addons.keda.scaler import AVERAGE, UTILIZATION, external
from tiphys.addons.keda.types import ScaledObject, TargetResource
from tiphys.api.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
    MetricSpec,
)
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta

KEDA = "2.20.1"
"""The release of KEDA whose behaviour this is."""
_LONGEST_LABEL = 63


def metric_names(specs: Sequence[MetricSpec], owner: str) -> tuple[list[str], list[str]]:
    """(external, resource) names. Raises SpecError for one that comes twice."""
    names: list[str] = []
    resources = []
    for spec in specs:
        if spec.resource is not None:
            resources.append(spec.resource.name)
        if spec.external is not None:
            name = spec.external.metric.name
            if name in names:
                raise facts.SpecError(
                    f"metricName {name} defined multiple times in ScaledObject {owner}"
                )
            names.append(name)
    return names, resources


def autoscaler(
    obj: ScaledObject, specs: Sequence[MetricSpec], target: TargetResource
) -> HorizontalPodAutoscaler:
    """Raises SpecError for metrics that cannot stand together."""
    name = facts.autoscaler_name(obj)
    hpa = HorizontalPodAutoscaler(
        metadata=ObjectMeta(
            name=name,
            namespace=obj.metadata.namespace,
            labels=_labels(obj, name),
            annotations=dict(obj.metadata.annotations),
        )
    )
    hpa.spec.min_replicas = facts.least(obj.spec)
    hpa.spec.max_replicas = facts.most(obj.spec)
    hpa.spec.metrics = _metrics(obj, specs)
    hpa.spec.behavior = _behavior(obj)
    version = f"{target.group}/{target.version}" if target.group else target.version
    hpa.spec.scale_target_ref = CrossVersionObjectReference(
        kind=target.kind, name=obj.spec.scale_target_ref.name, api_version=version
    )
    return hpa


def _labels(obj: ScaledObject, name: str) -> dict[str, str]:
    short = name[:_LONGEST_LABEL]
    while short and not short[-1].isalnum():
        short = short[:-1]
    excluded = obj.metadata.annotations.get(facts.EXCLUDED_LABELS, "").split(",")
    return {
        "app.kubernetes.io/name": short,
        "app.kubernetes.io/version": KEDA,
        "app.kubernetes.io/part-of": obj.metadata.name,
        "app.kubernetes.io/managed-by": "keda-operator",
        facts.OWNER: obj.metadata.name,
        **{key: value for key, value in obj.metadata.labels.items() if key not in excluded},
    }


def _metrics(obj: ScaledObject, specs: Sequence[MetricSpec]) -> list[MetricSpec]:
    """By their type, so that the same triggers make the same autoscaler."""
    metric_specs = [copy.deepcopy(spec) for spec in specs]
    modifiers = facts.modifiers(obj.spec)
    if modifiers is not None:
        kind = modifiers.metric_type or AVERAGE
        if kind == UTILIZATION:
            raise facts.SpecError(
                "error metric target type is Utilization, but it needs to be AverageValue or "
                "Value for external metrics"
            )
        target = facts.target_number(modifiers)
        kept = [spec for spec in metric_specs if spec.resource is not None]
        metric_specs = [*kept, external(facts.COMPOSITE, kind, target)]
    for spec in metric_specs:
        if spec.external is not None:
            spec.external.metric.selector = LabelSelector(
                match_labels={facts.OWNER: obj.metadata.name}
            )
    return sorted(metric_specs, key=lambda spec: spec.type)


def _behavior(obj: ScaledObject) -> HorizontalPodAutoscalerBehavior | None:
    """As the object specifies, with the direction disabled that is paused."""
    behavior = copy.deepcopy(facts.autoscaler_config(obj.spec).behavior)
    if facts.flag(obj, facts.PAUSED_SCALE_IN):
        behavior = behavior or HorizontalPodAutoscalerBehavior()
        behavior.scale_down = behavior.scale_down or HPAScalingRules()
        behavior.scale_down.select_policy = "Disabled"
    if facts.flag(obj, facts.PAUSED_SCALE_OUT):
        behavior = behavior or HorizontalPodAutoscalerBehavior()
        behavior.scale_up = behavior.scale_up or HPAScalingRules()
        behavior.scale_up.select_policy = "Disabled"
    return behavior
