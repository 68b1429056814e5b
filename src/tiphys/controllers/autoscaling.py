"""How many replicas metrics call for. Pure: the rules of upstream's replica_calculator.go.

Numbers of metrics are in thousandths, as quantities have them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
)
from tiphys.machinery.quantity import nano

TOLERANCE = 0.1  # upstream's horizontal-pod-autoscaler-tolerance
_MOST = 2**31 - 1


class MetricError(Exception):
    """A metric that cannot be had, as the condition ScalingActive says it; `reason` is the
    condition's. `summary` is what the event about all metrics says of this one, with the kind of
    metric before it."""

    def __init__(self, reason: str, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = summary or message


@dataclass(frozen=True)
class PodView:
    """What counts of a pod: its metric (None: missing), its request, and whether it is ready enough
    for its metric to say something."""

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
    """The tolerance that an autoscaler's behaviour says, or the default."""
    behavior = hpa.spec.behavior or HorizontalPodAutoscalerBehavior()
    return Tolerance(_tolerance(behavior.scale_down), _tolerance(behavior.scale_up))


def _tolerance(rules: HPAScalingRules | None) -> float:
    if rules is None or rules.tolerance is None:
        return TOLERANCE
    return nano(rules.tolerance) / 10**9


@dataclass(frozen=True)
class Usage:
    """What pods use: as a share of the target, in percent of their requests, and on average."""

    ratio: float
    percent: int
    average: int


class Counted(NamedTuple):
    """A pod's metric and its request, as they enter the sum."""

    value: int
    request: int


def usage(pods: list[Counted], target: int, utilization: bool) -> Usage:
    """What the pods use together. With `utilization` the target is in percent of the requests.
    Raises ValueError when nothing is requested."""
    total = sum(pod.value for pod in pods)
    average = total // len(pods)
    if not utilization:
        return Usage(average / target if target else 1.0, 0, average)
    requests = sum(pod.request for pod in pods)
    if not requests:
        raise ValueError("no metrics returned matched known pods")
    percent = total * 100 // requests
    return Usage(percent / target if target else 1.0, percent, average)


class Calculated(NamedTuple):
    """How many replicas are wanted, and what is used now."""

    replicas: int
    usage: Usage


def ratio_replicas(
    pods: list[PodView], current: int, target: int, utilization: bool, tolerance: Tolerance
) -> Calculated:
    """Replicas by a metric of each pod.

    Pods without a metric count as if they used nothing when that would mean more replicas, and as
    if they used all they may when it would mean less. Pods that are not ready count as if they used
    nothing when it would mean more. Raises ValueError with upstream's sentence when no metric
    counts.
    """
    known = [Counted(pod.value, pod.request) for pod in pods if pod.value is not None and pod.ready]
    if not known:
        raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
    now = usage(known, target, utilization)
    missing = [pod for pod in pods if pod.value is None and pod.ready]
    unready = [pod for pod in pods if not pod.ready]
    is_growing = now.ratio > 1.0
    is_shrinking = now.ratio < 1.0
    if not missing and not (unready and is_growing):
        if tolerance.covers(now.ratio):
            return Calculated(current, now)
        return Calculated(math.ceil(now.ratio * len(known)), now)
    counted = list(known)
    if is_growing:
        counted += [Counted(0, pod.request) for pod in (*missing, *unready)]
    elif is_shrinking:
        counted += [_at_the_most(pod, target, utilization) for pod in missing]
    cautious = usage(counted, target, utilization).ratio
    turned = (is_shrinking and cautious > 1.0) or (is_growing and cautious < 1.0)
    if turned or tolerance.covers(cautious):
        return Calculated(current, now)
    wanted = math.ceil(cautious * len(counted))
    if (cautious < 1.0 and wanted > current) or (cautious > 1.0 and wanted < current):
        return Calculated(current, now)
    return Calculated(wanted, now)


def _at_the_most(pod: PodView, target: int, utilization: bool) -> Counted:
    """A pod of which nothing is known, as if it used all it may: at least its whole request, so
    that a target beyond that is not undercut."""
    if not utilization:
        return Counted(target, pod.request)
    return Counted(pod.request * max(100, target) // 100, pod.request)


def value_replicas(value: int, current: int, target: int, ready: int, tolerance: Tolerance) -> int:
    """Replicas when one number stands for all of them, of which `ready` do the work. From none,
    what is used brings the first ones."""
    ratio = value / target if target else 1.0
    if not current:
        return min(math.ceil(ratio), _MOST)
    if tolerance.covers(ratio):
        return current
    return min(math.ceil(ratio * ready), _MOST)


def average_replicas(value: int, present: int, target: int, tolerance: Tolerance) -> int:
    """Replicas when each is to have `target` of one number; `present` is how many the target's
    status says there are."""
    if present and tolerance.covers(value / (target * present)):
        return present
    return min(math.ceil(value / target), _MOST)
