"""Horizontal pod autoscalers, in the form of autoscaling/v2."""

from __future__ import annotations

from typing import Any

from tiphys.api import autoscaling_v2 as v2
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import NATURAL, label_selector, one_of, required, segment
from tiphys.apiserver.resources.columns import AGE, NAME, Column
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
_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800  # seconds


def _reference_column(autoscaler: Any) -> str:
    target = autoscaler.spec.scale_target_ref
    return f"{target.kind}/{target.name}"


def _targets(autoscaler: Any) -> str:
    """What each metric is, and is to be: ``cpu: 40%/80%``."""
    if not hasattr(autoscaler.spec, "metrics"):
        return _cpu_target(autoscaler)
    current = {
        metric.resource.name: metric.resource.current
        for metric in autoscaler.status.current_metrics or []
        if metric.resource is not None
    }
    return _join_targets(autoscaler.spec.metrics, current) or "<none>"


def _join_targets(metrics: list[v2.MetricSpec], current: dict[str, v2.MetricValueStatus]) -> str:
    targets = []
    for metric in metrics:
        if metric.resource is None:
            targets.append(f"<unknown>/{metric.type}")
            continue
        name = metric.resource.name
        targets.append(f"{name}: {_target_text(metric.resource.target, current.get(name))}")
    return ", ".join(targets)


def _target_text(target: v2.MetricTarget, value: v2.MetricValueStatus | None) -> str:
    if target.average_utilization is None:
        amount = value.average_value if value is not None else "<unknown>"
        return f"{amount}/{target.average_value}"
    utilization = value.average_utilization if value is not None else None
    shown = "<unknown>" if utilization is None else f"{utilization}%"
    return f"{shown}/{target.average_utilization}%"


def _cpu_target(autoscaler: Any) -> str:
    """Of autoscaling/v1, which knows no other metric."""
    target = autoscaler.spec.target_cpu_utilization_percentage
    if target is None:
        return "<none>"
    utilization = autoscaler.status.current_cpu_utilization_percentage
    shown = "<unknown>" if utilization is None else f"{utilization}%"
    return f"cpu: {shown}/{target}%"


def _least(autoscaler: Any) -> str:
    least = autoscaler.spec.min_replicas
    return "<unset>" if least is None else str(least)


class HorizontalPodAutoscalerStrategy(Strategy[v2.HorizontalPodAutoscaler]):
    columns = (
        NAME,
        Column("Reference", _reference_column),
        Column("Targets", _targets),
        Column("MinPods", _least),
        Column("MaxPods", lambda o: o.spec.max_replicas),
        Column("Replicas", lambda o: o.status.current_replicas),
        AGE,
    )

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
        return self._violations(obj, check_group=True)

    def validate_change(
        self, new: v2.HorizontalPodAutoscaler, old: v2.HorizontalPodAutoscaler
    ) -> list[FieldError]:
        """A target of before these rules may stay."""
        target = new.spec.scale_target_ref
        before = old.spec.scale_target_ref
        is_other = (target.api_version, target.kind) != (before.api_version, before.kind)
        return self._violations(new, check_group=is_other)

    def _violations(self, obj: v2.HorizontalPodAutoscaler, check_group: bool) -> list[FieldError]:
        violations: list[FieldError] = []
        spec = obj.spec
        if spec.min_replicas is not None and spec.min_replicas < 1:
            detail = "must be greater than or equal to 1"
            violations.append(errors.invalid_value("spec.minReplicas", spec.min_replicas, detail))
        if not spec.max_replicas:
            detail = "must be set and greater than 0"
            violations.append(errors.required("spec.maxReplicas", detail))
        elif spec.max_replicas < 0:
            detail = "must be greater than or equal to 1"
            violations.append(errors.invalid_value("spec.maxReplicas", spec.max_replicas, detail))
        if spec.min_replicas is not None and spec.max_replicas < spec.min_replicas:
            detail = "must be greater than or equal to `minReplicas`"
            violations.append(errors.invalid_value("spec.maxReplicas", spec.max_replicas, detail))
        violations += _target_errors(spec.scale_target_ref, "spec.scaleTargetRef", check_group)
        for index, metric in enumerate(spec.metrics):
            violations += _metric(metric, f"spec.metrics[{index}]")
        if spec.behavior is not None:
            violations += _scaling(spec.behavior.scale_up, "spec.behavior.scaleUp")
            violations += _scaling(spec.behavior.scale_down, "spec.behavior.scaleDown")
        return violations


def _policy(kind: str, value: int) -> v2.HPAScalingPolicy:
    return v2.HPAScalingPolicy(type=kind, value=value, period_seconds=15)


def _rules(
    configured: v2.HPAScalingRules | None, window: int | None, policies: list[v2.HPAScalingPolicy]
) -> v2.HPAScalingRules:
    """What the user configured for one direction, and defaults for the rest."""
    rules = configured or v2.HPAScalingRules()
    if rules.stabilization_window_seconds is None:
        rules.stabilization_window_seconds = window
    rules.select_policy = rules.select_policy or "Max"
    rules.policies = rules.policies or policies
    return rules


def _reference(target: v2.CrossVersionObjectReference, path: str) -> list[FieldError]:
    violations = segment(target.kind, f"{path}.kind") + segment(target.name, f"{path}.name")
    if target.api_version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {target.api_version}"
        violations.append(errors.invalid_value(f"{path}.apiVersion", target.api_version, detail))
    return violations


def _target_errors(
    target: v2.CrossVersionObjectReference, path: str, check_group: bool
) -> list[FieldError]:
    """Of what is scaled; of core's kinds only one can be."""
    violations = _reference(target, path)
    is_grouped = "/" in target.api_version or target.kind == "ReplicationController"
    if check_group and not is_grouped:
        detail = "apiVersion must specify API group"
        violations.append(errors.invalid_value(f"{path}.apiVersion", target.api_version, detail))
    return violations


def _metric(metric: v2.MetricSpec, path: str) -> list[FieldError]:
    violations = required(metric.type, f"{path}.type", "must specify a metric source type")
    violations += one_of(metric.type, tuple(_SOURCES), f"{path}.type")
    present = {kind: getattr(metric, attribute) for kind, (_, attribute) in _SOURCES.items()}
    for kind, source in present.items():
        name = _SOURCES[kind][0]
        if source is None:
            if kind == metric.type:
                detail = "must populate information for the given metric source"
                violations.append(errors.required(f"{path}.{name}", detail))
        elif kind != metric.type:
            if metric.type in _SOURCES:
                violations.append(
                    errors.forbidden_field(
                        f"{path}.{name}", "must populate the given metric source only"
                    )
                )
        else:
            violations += _source(source, kind, f"{path}.{name}")
    return violations


def _source(source: Any, kind: str, path: str) -> list[FieldError]:
    target = source.target
    violations: list[FieldError] = []
    if kind in ("Resource", "ContainerResource"):
        violations += required(source.name, f"{path}.name", "must specify a resource name")
        if kind == "ContainerResource":
            violations += required(
                source.container, f"{path}.container", "must specify a container"
            )
    else:
        violations += segment(source.metric.name, f"{path}.metric.name")
        violations += label_selector(source.metric.selector, f"{path}.metric.selector")
    if kind == "Object":
        violations += _reference(source.described_object, f"{path}.describedObject")
    violations += _target(target, f"{path}.target")
    utilization = target.average_utilization
    value = target.value
    average = target.average_value
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and average is None:
            detail = "must set either a target raw value or a target utilization"
            violations.append(errors.required(f"{path}.target.averageUtilization", detail))
        elif utilization is not None and average is not None:
            detail = "may not set both a target raw value and a target utilization"
            violations.append(errors.forbidden_field(f"{path}.target.averageValue", detail))
    elif kind == "Pods" and average is None:
        violations.append(
            errors.required(
                f"{path}.target.averageValue", "must specify a positive target averageValue"
            )
        )
    elif kind in ("Object", "External") and value is None and average is None:
        detail = "must set either a target value or averageValue"
        if kind == "External":
            detail = "must set either a target value for metric or a per-pod target"
        violations.append(
            errors.required(
                f"{path}.target.{'averageValue' if kind == 'Object' else 'value'}", detail
            )
        )
    if kind == "External" and value is not None and average is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        violations.append(errors.forbidden_field(f"{path}.target.value", detail))
    return violations


def _target(target: v2.MetricTarget, path: str) -> list[FieldError]:
    violations = required(target.type, f"{path}.type", "must specify a metric target type")
    if target.type not in ("", "AverageValue", "Utilization", "Value"):
        detail = "must be either Utilization, Value, or AverageValue"
        violations.append(errors.invalid_value(f"{path}.type", target.type, detail))
    for name, amount in (("value", target.value), ("averageValue", target.average_value)):
        if amount is not None and quantity.nano(amount) <= 0:
            violations.append(errors.invalid_value(f"{path}.{name}", amount, "must be positive"))
    if target.average_utilization is not None and target.average_utilization < 1:
        detail = "must be greater than 0"
        violations.append(
            errors.invalid_value(f"{path}.averageUtilization", target.average_utilization, detail)
        )
    return violations


def _scaling(rules: v2.HPAScalingRules | None, path: str) -> list[FieldError]:
    if rules is None:
        return []
    violations: list[FieldError] = []
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        detail = "must be greater than or equal to zero"
        violations.append(
            errors.invalid_value(f"{path}.stabilizationWindowSeconds", window, detail)
        )
    elif window is not None and window > _LONGEST_WINDOW:
        detail = f"must be less than or equal to {_LONGEST_WINDOW}"
        violations.append(
            errors.invalid_value(f"{path}.stabilizationWindowSeconds", window, detail)
        )
    violations += one_of(rules.select_policy, ("Disabled", "Max", "Min"), f"{path}.selectPolicy")
    for index, policy in enumerate(rules.policies):
        field = f"{path}.policies[{index}]"
        if policy.type not in ("Percent", "Pods"):
            violations.append(
                errors.not_supported(f"{field}.type", policy.type, ("Percent", "Pods"))
            )
        if policy.value <= 0:
            violations.append(errors.invalid_value(f"{field}.value", policy.value, _POSITIVE))
        if policy.period_seconds <= 0:
            violations.append(
                errors.invalid_value(f"{field}.periodSeconds", policy.period_seconds, _POSITIVE)
            )
        elif policy.period_seconds > _LONGEST_PERIOD:
            detail = f"must be less than or equal to {_LONGEST_PERIOD}"
            violations.append(
                errors.invalid_value(f"{field}.periodSeconds", policy.period_seconds, detail)
            )
    if rules.tolerance is not None and quantity.nano(rules.tolerance) < 0:
        violations.append(errors.invalid_value(f"{path}.tolerance", rules.tolerance, NATURAL))
    return violations
