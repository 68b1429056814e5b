"""How many replicas metrics call for, and how fast their number may change. Pure."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import autoscaling_v2
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HPAScalingPolicy,
    HPAScalingRules,
)
from tiphys.machinery.quantity import nano

TOLERANCE = 0.1
_DOWN_WINDOW = 300
_LONGEST_PERIOD = 3600  # seconds: no policy looks back further
_MOST = 2**31 - 1


class MetricError(Exception):
    """A metric that cannot be had, as the condition ScalingActive says it; `reason` is the condition's.
    `summary` is what the event about all metrics says of this one, with the kind of metric before it."""

    def __init__(self, reason: str, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = summary or message


@dataclass
class PodView:
    """What counts of a pod: its metric (None: missing), its request, whether it is ready enough to be believed.
    Numbers are in thousandths."""

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
        nano(rules.tolerance) / 10**9
        if rules is not None and rules.tolerance is not None
        else TOLERANCE
        for rules in (behaviour.scale_down, behaviour.scale_up)
    )
    return Tolerance(down, up)


@dataclass(frozen=True)
class Usage:
    """What pods use: as a share of the target, in percent of their requests, and on average in thousandths."""

    ratio: float
    percent: int
    average: int


def usage(pairs: list[tuple[int, int]], target: int, utilization: bool) -> Usage:
    """`pairs`: value and request of each pod that counts; `target` in percent of the requests or in thousandths."""
    total = sum(value for value, _ in pairs)
    average = total // len(pairs)
    if not utilization:
        return Usage(average / target if target else 1.0, 0, average)
    requests = sum(request for _, request in pairs)
    if not requests:
        raise ValueError("no metrics returned matched known pods")
    percent = total * 100 // requests
    return Usage(percent / target if target else 1.0, percent, average)


def ratio_replicas(
    pods: list[PodView], current: int, target: int, utilization: bool, tolerance: Tolerance
) -> tuple[int, Usage]:
    """(replicas wanted, what is used now) by a metric per pod. Pods without a metric count as if they used nothing
    when that would mean more, and all they may when less; pods that are not ready as if they used nothing when it
    would mean more. Raises ValueError with upstream's sentence when no metric counts."""
    known = [(p.value, p.request) for p in pods if p.value is not None and p.ready]
    if not known:
        raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
    now = usage(known, target, utilization)
    missing = [p for p in pods if p.value is None and p.ready]
    unready = [p for p in pods if not p.ready]
    if not missing and not (unready and now.ratio > 1.0):
        return (current if tolerance.covers(now.ratio) else math.ceil(now.ratio * len(known))), now
    counted = list(known)
    if now.ratio < 1.0:
        # At least all of their request: a target beyond it is not to be undercut by pods nobody knows about.
        counted += [
            (p.request * max(100, target) // 100 if utilization else target, p.request)
            for p in missing
        ]
    elif now.ratio > 1.0:
        counted += [(0, p.request) for p in (*missing, *unready)]
    again = usage(counted, target, utilization).ratio
    if tolerance.covers(again) or (now.ratio < 1.0 < again) or (now.ratio > 1.0 > again):
        return current, now
    wanted = math.ceil(again * len(counted))
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current, now
    return wanted, now


def value_replicas(value: int, current: int, target: int, ready: int, tolerance: Tolerance) -> int:
    """Replicas wanted when one number stands for all of them, of which `ready` do the work; from none, one that is
    used begins."""
    ratio = value / target if target else 1.0
    if not current:
        return min(math.ceil(ratio), _MOST)
    return current if tolerance.covers(ratio) else min(math.ceil(ratio * ready), _MOST)


def average_replicas(value: int, present: int, target: int, tolerance: Tolerance) -> int:
    """Replicas wanted when each is to have `target` of one number; `present`: how many the target's status tells."""
    if present and tolerance.covers(value / (target * present)):
        return present
    return min(math.ceil(value / target), _MOST)


@dataclass
class Record:
    """What one autoscaler recommended and did, with the times."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)

    def seen(self, replicas: int, now: float) -> None:
        """The count that an autoscaler finds at first is its first recommendation: nothing shrinks in haste."""
        if not self.recommended:
            self.recommended = [(now, replicas)]

    def scaled(self, change: int, now: float) -> None:
        (self.ups if change > 0 else self.downs).append((now, abs(change)))
        for events in (self.ups, self.downs):
            events[:] = [(when, count) for when, count in events if when > now - _LONGEST_PERIOD]


class Cause(NamedTuple):
    """Reason and message of a condition."""

    reason: str
    message: str


WITHIN = Cause("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = Cause(
    "TooManyReplicas", "the desired replica count is more than the maximum replica count"
)
TOO_FEW = Cause(
    "TooFewReplicas", "the desired replica count is less than the minimum replica count"
)
FAST_UP = Cause(
    "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
)
FAST_DOWN = Cause(
    "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
)
READY = Cause("ReadyForNewScale", "recommended size matches current size")
STABLE_UP = Cause(
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
STABLE_DOWN = Cause(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


class Bounded(NamedTuple):
    """The number of replicas to have; what AbleToScale and ScalingLimited say about it."""

    replicas: int
    limit: Cause = WITHIN
    able: Cause = READY

    @property
    def limited(self) -> bool:
        return self.limit is not WITHIN


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


def bounded(
    hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float
) -> Bounded:
    """What becomes of a proposal: windows first, then how fast it may go, then the bounds."""
    if hpa.spec.behavior is None:
        return _by_default(hpa, current, proposed, record, now)
    up, down = default_rules(hpa)
    stable, able = _stabilized(up, down, current, proposed, record, now)
    least, most = bounds(hpa)
    if stable > current:
        limit = _fastest(up, current, record, now, rising=True)
        if stable > min(limit, most):
            return Bounded(limit, FAST_UP, able) if limit < most else Bounded(most, TOO_MANY, able)
    elif stable < current:
        limit = _fastest(down, current, record, now, rising=False)
        if stable < max(limit, least):
            return (
                Bounded(limit, FAST_DOWN, able) if limit > least else Bounded(least, TOO_FEW, able)
            )
    return Bounded(stable, WITHIN, able)


def bounds(hpa: HorizontalPodAutoscaler) -> tuple[int, int]:
    """(minReplicas, maxReplicas)"""
    return 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas, hpa.spec.max_replicas


def _by_default(
    hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float
) -> Bounded:
    """Without a behaviour: five minutes without a higher recommendation before it shrinks, twice as many (or four)
    at once when it grows."""
    recent = [count for when, count in record.recommended if when >= now - _DOWN_WINDOW]
    stable = max([proposed, *recent])
    record.recommended = [(t, n) for t, n in record.recommended if t >= now - _DOWN_WINDOW] + [
        (now, proposed)
    ]
    able = READY if stable == proposed else STABLE_DOWN
    least, most = bounds(hpa)
    limit = max(2 * current, 4)
    if stable < least:
        return Bounded(least, TOO_FEW, able)
    if stable > min(limit, most):
        return Bounded(limit, FAST_UP, able) if most > limit else Bounded(most, TOO_MANY, able)
    return Bounded(stable, WITHIN, able)


def _stabilized(
    up: HPAScalingRules,
    down: HPAScalingRules,
    current: int,
    proposed: int,
    record: Record,
    now: float,
) -> tuple[int, Cause]:
    up_since, down_since = (
        now - (up.stabilization_window_seconds or 0),
        now - (down.stabilization_window_seconds or 0),
    )
    lowest = min([proposed, *(count for when, count in record.recommended if when > up_since)])
    highest = max([proposed, *(count for when, count in record.recommended if when > down_since)])
    stable = min(max(current, lowest), highest)
    oldest = min(up_since, down_since)
    record.recommended = [(t, n) for t, n in record.recommended if t >= oldest] + [(now, proposed)]
    if stable == proposed:
        return stable, READY
    return stable, STABLE_UP if proposed >= current else STABLE_DOWN


def _fastest(rules: HPAScalingRules, current: int, record: Record, now: float, rising: bool) -> int:
    """How far the policies let the count go now."""
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        since = now - policy.period_seconds
        added = sum(count for when, count in record.ups if when > since)
        removed = sum(count for when, count in record.downs if when > since)
        start = current - added + removed
        if policy.type == "Pods":
            limits.append(start + policy.value if rising else start - policy.value)
        elif rising:
            limits.append(math.ceil(start * (1 + policy.value / 100)))
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    widest = rules.select_policy != "Min"
    chosen = (max if widest == rising else min)(limits)
    return max(chosen, current) if rising else min(chosen, current)
