"""How many replicas metrics call for, and how fast their number may change. Pure."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

from tiphys.api import autoscaling_v2
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HPAScalingPolicy,
    HPAScalingRules,
)
from tiphys.machinery.quantity import nano

TOLERANCE = 0.1
_DOWN_WINDOW = 300


class MetricError(Exception):
    """A metric that cannot be had; `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class PodView:
    """What counts of a pod: its metric (None: missing), its request, whether it is ready enough to be believed."""

    value: int | None
    request: int = 0
    ready: bool = True


@dataclass(frozen=True)
class Tolerance:
    """How far the use may be from the target, below and above, before anything is done."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def tolerance_of(hpa: HorizontalPodAutoscaler) -> Tolerance:
    behaviour = hpa.spec.behavior or autoscaling_v2.HorizontalPodAutoscalerBehavior()
    down, up = (
        nano(rules.tolerance) / 10**9 if rules is not None and rules.tolerance is not None else TOLERANCE
        for rules in (behaviour.scale_down, behaviour.scale_up)
    )
    return Tolerance(down, up)


def ratio_replicas(
    pods: list[PodView], current: int, target: int, utilization: bool, tolerance: Tolerance
) -> tuple[int, int]:
    """(replicas wanted, the metric's present value) of a metric per pod. `target` is in nano units, or in percent of
    the request. Pods without a metric count as if they used nothing when that would mean more, all when less."""
    known = [p for p in pods if p.value is not None and p.ready]
    if not known:
        raise MetricError("FailedGetResourceMetric", "did not receive metrics for targeted pods (pods might be unready)")
    total, requests = sum(p.value or 0 for p in known), sum(p.request for p in known)
    present = total * 100 // requests if utilization and requests else total // len(known)
    ratio = _ratio(total, requests, len(known), target, utilization)
    missing = [p for p in pods if p.value is None]
    unready = [p for p in pods if p.value is not None and not p.ready]
    if not missing and not (unready and ratio > 1.0):
        if tolerance.covers(ratio):
            return current, present
        return math.ceil(ratio * len(known)), present
    if missing:
        fill = 1.0 if ratio < 1.0 else 0.0
        for pod in missing:
            total += int(fill * (pod.request * target // 100 if utilization else target))
            requests += pod.request
    count = len(known) + len(missing)
    if ratio > 1.0:
        requests += sum(p.request for p in unready)
        count += len(unready)
    again = _ratio(total, requests, count, target, utilization)
    if tolerance.covers(again) or (ratio < 1.0 < again) or (ratio > 1.0 > again):
        return current, present
    wanted = math.ceil(again * count)
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current, present
    return wanted, present


def _ratio(total: int, requests: int, count: int, target: int, utilization: bool) -> float:
    if not target:
        return 1.0
    if utilization:
        return (total * 100 / requests) / target if requests else 0.0
    return total / count / target


def value_replicas(value: int, current: int, target: int, tolerance: Tolerance) -> int:
    """Replicas wanted when one number stands for all of them; from none, one that is used begins."""
    ratio = value / target if target else 1.0
    if not current:
        return math.ceil(ratio)
    return current if tolerance.covers(ratio) else math.ceil(ratio * current)


@dataclass
class Record:
    """What one autoscaler recommended and did, with the times."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)


@dataclass
class Bounded:
    """The number of replicas to have, and which bound decided, as the condition ScalingLimited says it."""

    replicas: int
    limited: bool = False
    reason: str = "DesiredWithinRange"
    message: str = "the desired count is within the acceptable range"


def default_rules(hpa: HorizontalPodAutoscaler) -> tuple[HPAScalingRules, HPAScalingRules]:
    """(up, down): what the behaviour says, filled up with the defaults."""
    behaviour = hpa.spec.behavior or autoscaling_v2.HorizontalPodAutoscalerBehavior()
    up, down = (
        copy.deepcopy(behaviour.scale_up) or HPAScalingRules(),
        copy.deepcopy(behaviour.scale_down) or HPAScalingRules(),
    )
    if up.stabilization_window_seconds is None:
        up.stabilization_window_seconds = 0
    if down.stabilization_window_seconds is None:
        down.stabilization_window_seconds = _DOWN_WINDOW
    if not up.policies:
        up.policies = [
            HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
            HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
        ]
    if not down.policies:
        down.policies = [HPAScalingPolicy(type="Percent", value=100, period_seconds=15)]
    return up, down


def bounded(hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float) -> Bounded:
    """What becomes of a proposal: windows first, then how fast it may go, then the bounds."""
    up, down = default_rules(hpa)
    record.recommended.append((now, proposed))
    longest = max(up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0)
    record.recommended = [(t, n) for t, n in record.recommended if t > now - longest - 1 or t == now]
    least, most = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas, hpa.spec.max_replicas
    recent_up = [n for t, n in record.recommended if t >= now - (up.stabilization_window_seconds or 0)]
    recent_down = [n for t, n in record.recommended if t >= now - (down.stabilization_window_seconds or 0)]
    wanted = proposed
    if proposed > current:
        wanted = max(current, min(recent_up))
    elif proposed < current:
        wanted = min(current, max(recent_down))
    if wanted > current:
        limit = _fastest(up, current, record.ups, now, rising=True)
        if wanted > min(limit, most):
            if limit < most:
                return Bounded(
                    limit,
                    True,
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                )
            return Bounded(
                most, True, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
            )
    elif wanted < current:
        limit = _fastest(down, current, record.downs, now, rising=False)
        if wanted < max(limit, least):
            if limit > least:
                return Bounded(
                    limit,
                    True,
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                )
            return Bounded(
                least, True, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
            )
    if wanted > most:
        return Bounded(
            most, True, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
        )
    if wanted < least:
        return Bounded(
            least, True, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
        )
    return Bounded(wanted)


def _fastest(rules: HPAScalingRules, current: int, events: list[tuple[float, int]], now: float, rising: bool) -> int:
    """How far the policies let the count go now."""
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        moved = sum(n for t, n in events if t > now - policy.period_seconds)
        start = current - moved if rising else current + moved
        if policy.type == "Pods":
            limits.append(start + policy.value if rising else start - policy.value)
        elif rising:
            limits.append(math.ceil(start * (1 + policy.value / 100)))
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    widest = rules.select_policy != "Min"
    chosen = (max if widest == rising else min)(limits)
    return max(chosen, current) if rising else max(0, min(chosen, current))
