"""Horizontal pod autoscalers, in the form of autoscaling/v2."""

from __future__ import annotations

from typing import Any

from tiphys.api import autoscaling_v2 as v2
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import NATURAL, given, label_selector, one_of, segment
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError

_SOURCES = {
    "ContainerResource": ("containerResource", "container_resource"),
    "External": ("external", "external"),
    "Object": ("object", "object"),
    "Pods": ("pods", "pods"),
    "Resource": ("resource", "resource"),
}
_POSITIVE = "must be greater than zero"
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800  # seconds


def _policy(kind: str, value: int) -> v2.HPAScalingPolicy:
    return v2.HPAScalingPolicy(type=kind, value=value, period_seconds=15)


def _rules(
    given: v2.HPAScalingRules | None, window: int | None, policies: list[v2.HPAScalingPolicy]
) -> v2.HPAScalingRules:
    """What the user said of one direction, and for the rest what holds without a word."""
    rules = given or v2.HPAScalingRules()
    if rules.stabilization_window_seconds is None:
        rules.stabilization_window_seconds = window
    rules.select_policy = rules.select_policy or "Max"
    rules.policies = rules.policies or policies
    return rules


class AutoscalerStrategy(Strategy):
    generation = False

    def default(self, obj: v2.HorizontalPodAutoscaler) -> None:
        spec = obj.spec
        if spec.min_replicas is None:
            spec.min_replicas = 1
        if not spec.metrics:
            target = v2.MetricTarget(type="Utilization", average_utilization=80)
            spec.metrics = [
                v2.MetricSpec(
                    type="Resource", resource=v2.ResourceMetricSource(name="cpu", target=target)
                )
            ]
        if spec.behavior is not None:
            spec.behavior.scale_up = _rules(
                spec.behavior.scale_up, 0, [_policy("Pods", 4), _policy("Percent", 100)]
            )
            spec.behavior.scale_down = _rules(
                spec.behavior.scale_down, None, [_policy("Percent", 100)]
            )

    def validate(self, obj: v2.HorizontalPodAutoscaler) -> list[FieldError]:
        found, spec = list[FieldError](), obj.spec
        if spec.min_replicas is not None and spec.min_replicas < 1:
            why = "must be greater than or equal to 1"
            found.append(errors.invalid_value("spec.minReplicas", spec.min_replicas, why))
        if spec.max_replicas < 1:
            found.append(
                errors.invalid_value(
                    "spec.maxReplicas", spec.max_replicas, "must be greater than 0"
                )
            )
        if spec.min_replicas is not None and spec.max_replicas < spec.min_replicas:
            why = "must be greater than or equal to `minReplicas`"
            found.append(errors.invalid_value("spec.maxReplicas", spec.max_replicas, why))
        found += _reference(spec.scale_target_ref, "spec.scaleTargetRef")
        for index, metric in enumerate(spec.metrics):
            found += _metric(metric, f"spec.metrics[{index}]")
        if spec.behavior is not None:
            found += _scaling(spec.behavior.scale_up, "spec.behavior.scaleUp")
            found += _scaling(spec.behavior.scale_down, "spec.behavior.scaleDown")
        return found


def _reference(target: v2.CrossVersionObjectReference, at: str) -> list[FieldError]:
    found = segment(target.kind, f"{at}.kind") + segment(target.name, f"{at}.name")
    if target.api_version.count("/") > 1:
        why = f"unexpected GroupVersion string: {target.api_version}"
        found.append(errors.invalid_value(f"{at}.apiVersion", target.api_version, why))
    return found


def _metric(metric: v2.MetricSpec, at: str) -> list[FieldError]:
    found = given(metric.type, f"{at}.type", "must specify a metric source type")
    found += one_of(metric.type, tuple(_SOURCES), f"{at}.type")
    present = {kind: getattr(metric, attribute) for kind, (_, attribute) in _SOURCES.items()}
    for kind, source in present.items():
        name = _SOURCES[kind][0]
        if source is None:
            if kind == metric.type:
                why = "must populate information for the given metric source"
                found.append(errors.required(f"{at}.{name}", why))
        elif kind != metric.type:
            if metric.type in _SOURCES:
                found.append(
                    errors.forbidden_field(
                        f"{at}.{name}", "must populate the given metric source only"
                    )
                )
        else:
            found += _source(source, kind, f"{at}.{name}")
    return found


def _source(source: Any, kind: str, at: str) -> list[FieldError]:
    target, found = source.target, list[FieldError]()
    if kind in ("Resource", "ContainerResource"):
        found += given(source.name, f"{at}.name", "must specify a resource name")
        if kind == "ContainerResource":
            found += given(source.container, f"{at}.container", "must specify a container")
    else:
        found += segment(source.metric.name, f"{at}.metric.name")
        found += label_selector(source.metric.selector, f"{at}.metric.selector")
    if kind == "Object":
        found += _reference(source.described_object, f"{at}.describedObject")
    found += _target(target, f"{at}.target")
    utilization, value, average = target.average_utilization, target.value, target.average_value
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and average is None:
            why = "must set either a target raw value or a target utilization"
            found.append(errors.required(f"{at}.target.averageUtilization", why))
        elif utilization is not None and average is not None:
            why = "may not set both a target raw value and a target utilization"
            found.append(errors.forbidden_field(f"{at}.target.averageValue", why))
    elif kind == "Pods" and average is None:
        found.append(
            errors.required(
                f"{at}.target.averageValue", "must specify a positive target averageValue"
            )
        )
    elif kind in ("Object", "External") and value is None and average is None:
        why = "must set either a target value or averageValue"
        if kind == "External":
            why = "must set either a target value for metric or a per-pod target"
        found.append(
            errors.required(f"{at}.target.{'averageValue' if kind == 'Object' else 'value'}", why)
        )
    if kind == "External" and value is not None and average is not None:
        why = "may not set both a target value for metric and a per-pod target"
        found.append(errors.forbidden_field(f"{at}.target.value", why))
    return found


def _target(target: v2.MetricTarget, at: str) -> list[FieldError]:
    found = given(target.type, f"{at}.type", "must specify a metric target type")
    if target.type not in ("", "AverageValue", "Utilization", "Value"):
        why = "must be either Utilization, Value, or AverageValue"
        found.append(errors.invalid_value(f"{at}.type", target.type, why))
    for name, amount in (("value", target.value), ("averageValue", target.average_value)):
        if amount is not None and quantity.nano(amount) <= 0:
            found.append(errors.invalid_value(f"{at}.{name}", amount, "must be positive"))
    if target.average_utilization is not None and target.average_utilization < 1:
        why = "must be greater than 0"
        found.append(
            errors.invalid_value(f"{at}.averageUtilization", target.average_utilization, why)
        )
    return found


def _scaling(rules: v2.HPAScalingRules | None, at: str) -> list[FieldError]:
    if rules is None:
        return []
    found, window = list[FieldError](), rules.stabilization_window_seconds
    if window is not None and window < 0:
        why = "must be greater than or equal to zero"
        found.append(errors.invalid_value(f"{at}.stabilizationWindowSeconds", window, why))
    elif window is not None and window > _LONGEST_WINDOW:
        why = f"must be less than or equal to {_LONGEST_WINDOW}"
        found.append(errors.invalid_value(f"{at}.stabilizationWindowSeconds", window, why))
    found += one_of(rules.select_policy, ("Disabled", "Max", "Min"), f"{at}.selectPolicy")
    if not rules.policies:
        found.append(errors.required(f"{at}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(rules.policies):
        where = f"{at}.policies[{index}]"
        if policy.type not in ("Percent", "Pods"):
            found.append(errors.not_supported(f"{where}.type", policy.type, ("Percent", "Pods")))
        if policy.value <= 0:
            found.append(errors.invalid_value(f"{where}.value", policy.value, _POSITIVE))
        if policy.period_seconds <= 0:
            found.append(
                errors.invalid_value(f"{where}.periodSeconds", policy.period_seconds, _POSITIVE)
            )
        elif policy.period_seconds > _LONGEST_PERIOD:
            why = f"must be less than or equal to {_LONGEST_PERIOD}"
            found.append(errors.invalid_value(f"{where}.periodSeconds", policy.period_seconds, why))
    if rules.tolerance is not None and quantity.nano(rules.tolerance) < 0:
        found.append(errors.invalid_value(f"{at}.tolerance", rules.tolerance, NATURAL))
    return found
