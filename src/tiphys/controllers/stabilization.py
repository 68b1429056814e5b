"""How fast an autoscaler's number of replicas may change: windows first, then policies, then
bounds. Pure: the rules of upstream's horizontal.go, and its sentences. Times are in seconds of any
clock."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HPAScalingPolicy,
    HPAScalingRules,
)

_DOWN_WINDOW = 300  # seconds without a higher recommendation before anything shrinks
_LONGEST_PERIOD = 3600  # seconds: no policy looks back further
_PERIOD = 15  # seconds, of the default policies


class Moment(NamedTuple):
    """A number of replicas and when it was noted."""

    time: float
    replicas: int


@dataclass
class Record:
    """What one autoscaler recommended and did."""

    recommended: list[Moment] = field(default_factory=list)
    ups: list[Moment] = field(default_factory=list)
    downs: list[Moment] = field(default_factory=list)

    def note_initial(self, replicas: int, now: float) -> None:
        """The initial count is the first recommendation: a restarted autoscaler does not scale down
        just because it has no history."""
        if not self.recommended:
            self.recommended = [Moment(now, replicas)]

    def recommend(self, replicas: int, now: float, since: float) -> None:
        """Notes a recommendation, and forgets those before `since`."""
        kept = [moment for moment in self.recommended if moment.time >= since]
        self.recommended = [*kept, Moment(now, replicas)]

    def scaled(self, change: int, now: float) -> None:
        """Notes a change of the number of replicas."""
        changes = self.ups if change > 0 else self.downs
        changes.append(Moment(now, abs(change)))
        self.ups = _after(self.ups, now - _LONGEST_PERIOD)
        self.downs = _after(self.downs, now - _LONGEST_PERIOD)


def _after(moments: list[Moment], time: float) -> list[Moment]:
    return [moment for moment in moments if moment.time > time]


def _total(moments: list[Moment]) -> int:
    return sum(moment.replicas for moment in moments)


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
    "recent recommendations were higher than current one, "
    "applying the highest recent recommendation",
)


class Bounded(NamedTuple):
    """The number of replicas to have, and what ScalingLimited and AbleToScale say about it."""

    replicas: int
    limit: Cause = WITHIN
    able: Cause = READY

    @property
    def limited(self) -> bool:
        return self.limit is not WITHIN


class Bounds(NamedTuple):
    least: int
    most: int


def bounds(hpa: HorizontalPodAutoscaler) -> Bounds:
    """minReplicas, of which the default is 1, and maxReplicas."""
    least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
    return Bounds(least, hpa.spec.max_replicas)


class Rules(NamedTuple):
    """The rules of an autoscaler's behaviour, filled up with the defaults."""

    up: HPAScalingRules
    down: HPAScalingRules


def rules_of(hpa: HorizontalPodAutoscaler) -> Rules:
    behavior = copy.deepcopy(hpa.spec.behavior) or HorizontalPodAutoscalerBehavior()
    up = behavior.scale_up or HPAScalingRules()
    down = behavior.scale_down or HPAScalingRules()
    if up.stabilization_window_seconds is None:
        up.stabilization_window_seconds = 0
    if down.stabilization_window_seconds is None:
        down.stabilization_window_seconds = _DOWN_WINDOW
    doubling = HPAScalingPolicy(type="Percent", value=100, period_seconds=_PERIOD)
    if not up.policies:
        four = HPAScalingPolicy(type="Pods", value=4, period_seconds=_PERIOD)
        up.policies = [four, doubling]
    if not down.policies:
        down.policies = [doubling]
    return Rules(up, down)


def bounded(
    hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float
) -> Bounded:
    """What becomes of a proposal. It is noted in `record`."""
    if hpa.spec.behavior is None:
        return _by_default(hpa, current, proposed, record, now)
    rules = rules_of(hpa)
    stable, able = _stabilized(rules, current, proposed, record, now)
    least, most = bounds(hpa)
    if stable > current:
        limit = _fastest(rules.up, current, record, now, rising=True)
        if stable > min(limit, most):
            if limit < most:
                return Bounded(limit, FAST_UP, able)
            return Bounded(most, TOO_MANY, able)
    elif stable < current:
        limit = _fastest(rules.down, current, record, now, rising=False)
        if stable < max(limit, least):
            if limit > least:
                return Bounded(limit, FAST_DOWN, able)
            return Bounded(least, TOO_FEW, able)
    return Bounded(stable, WITHIN, able)


def _by_default(
    hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float
) -> Bounded:
    """Without a behaviour: five minutes without a higher recommendation before it shrinks, and
    twice as many (or four) at once when it grows."""
    since = now - _DOWN_WINDOW
    recent = [moment.replicas for moment in record.recommended if moment.time >= since]
    stable = max([proposed, *recent])
    record.recommend(proposed, now, since)
    able = READY if stable == proposed else STABLE_DOWN
    least, most = bounds(hpa)
    limit = max(2 * current, 4)
    if stable < least:
        return Bounded(least, TOO_FEW, able)
    if stable > min(limit, most):
        if limit < most:
            return Bounded(limit, FAST_UP, able)
        return Bounded(most, TOO_MANY, able)
    return Bounded(stable, WITHIN, able)


class _Stable(NamedTuple):
    replicas: int
    able: Cause


def _stabilized(rules: Rules, current: int, proposed: int, record: Record, now: float) -> _Stable:
    """The proposal, as far as the recommendations within both windows agree with it."""
    up_since = now - (rules.up.stabilization_window_seconds or 0)
    down_since = now - (rules.down.stabilization_window_seconds or 0)
    ups = [moment.replicas for moment in _after(record.recommended, up_since)]
    downs = [moment.replicas for moment in _after(record.recommended, down_since)]
    lowest = min([proposed, *ups])
    highest = max([proposed, *downs])
    stable = min(max(current, lowest), highest)
    record.recommend(proposed, now, min(up_since, down_since))
    if stable == proposed:
        return _Stable(stable, READY)
    return _Stable(stable, STABLE_UP if proposed >= current else STABLE_DOWN)


def _fastest(rules: HPAScalingRules, current: int, record: Record, now: float, rising: bool) -> int:
    """How far the policies let the count go now."""
    if rules.select_policy == "Disabled":
        return current
    limits = [_limit(policy, current, record, now, rising) for policy in rules.policies]
    picks_widest = rules.select_policy != "Min"
    if rising:
        limit = max(limits) if picks_widest else min(limits)
        return max(limit, current)
    limit = min(limits) if picks_widest else max(limits)
    return min(limit, current)


def _limit(policy: HPAScalingPolicy, current: int, record: Record, now: float, rising: bool) -> int:
    """The limit that one policy sets, from the count at the start of its period."""
    since = now - policy.period_seconds
    added = _total(_after(record.ups, since))
    removed = _total(_after(record.downs, since))
    start = current - added + removed
    if policy.type == "Pods":
        return start + policy.value if rising else start - policy.value
    if rising:
        return math.ceil(start * (1 + policy.value / 100))
    return int(start * (1 - policy.value / 100))
