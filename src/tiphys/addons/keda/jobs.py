"""How many Jobs a ScaledJob gets. Pure: the table of KEDA's scaling strategies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tiphys.addons.keda.numerals import parse_float
from tiphys.addons.keda.types import ScaledJobSpec
from tiphys.addons.keda.types.scaledjob import ScalingStrategy

_MOST = 100  # Jobs, where a ScaledJob does not say otherwise


class Queue(NamedTuple):
    """One trigger's measurement: how long its queue is, and how many Jobs that is work for."""

    length: float
    jobs: float
    is_active: bool


class Demand(NamedTuple):
    """All triggers together. `length` is the number of things to do, `jobs` that of Jobs."""

    is_active: bool
    length: int
    jobs: int


class Counts(NamedTuple):
    """Jobs that are not finished, and those among them of which nothing runs yet."""

    running: int
    pending: int


def least(spec: ScaledJobSpec) -> int:
    low = spec.min_replica_count
    high = spec.max_replica_count
    if low is None:
        return 0
    return high if high is not None and low > high else low


def most(spec: ScaledJobSpec) -> int:
    """Beside the least ones, which there are always."""
    low = spec.min_replica_count
    high = spec.max_replica_count
    if high is None:
        return _MOST
    if low is not None and low > high:
        return high
    return high - least(spec)


def queue(value: float, target: float, is_active: bool, limit: int) -> Queue:
    """Of a metric and its target."""
    return Queue(value, min(value / target, limit) if target else 0.0, is_active)


def demand(queues: Sequence[Queue], calculation: str, low: int, limit: int) -> Demand:
    """What several triggers together call for; only those that are active count."""
    active = [one for one in queues if one.is_active]
    length = jobs = 0.0
    is_active = bool(active)
    match calculation:
        case "min":
            for queue_ in active:
                if length == 0 or queue_.length < length:
                    length = queue_.length
                    jobs = queue_.jobs
        case "avg" if active:
            length = sum(one.length for one in active) / len(active)
            jobs = sum(one.jobs for one in active) / len(active)
        case "sum":
            length = sum(one.length for one in active)
            jobs = sum(one.jobs for one in active)
        case "" | "max":
            is_active = False
            for queue_ in active:
                if queue_.length > length:
                    length = queue_.length
                    jobs = queue_.jobs
                    is_active = True
    return Demand(is_active or low > 0, math.ceil(length), math.ceil(min(jobs, limit)))


def to_create(spec: ScaledJobSpec, wanted: Demand, counts: Counts) -> int:
    """How many Jobs are created now."""
    low = least(spec)
    if counts.running < low:
        return low - counts.running
    above = Counts(counts.running - low, counts.pending)
    limit = most(spec)
    room = effective(spec.scaling_strategy, wanted.jobs, above, limit)
    goal = limit if spec.scaling_strategy.strategy == "eager" else wanted.length
    return max(0, min(goal, room))


def effective(strategy: ScalingStrategy, jobs: int, counts: Counts, limit: int) -> int:
    """How many more there may be, by the strategy."""
    running, pending = counts
    match strategy.strategy:
        case "custom":
            percentage = _percentage(strategy)
            if percentage is not None:
                deduction = strategy.custom_scaling_queue_length_deduction or 0
                return min(jobs - deduction - int(running * percentage), limit)
        case "accurate":
            if jobs + running - pending > limit:
                return limit - running
            return jobs - pending
        case "eager":
            return min(limit - running - pending, jobs)
    return jobs - running


def _percentage(strategy: ScalingStrategy) -> float | None:
    """None for what is no number: then the strategy is the default one. It is for infinity, too:
    what Go makes of that depends on the machine."""
    try:
        percentage = parse_float(strategy.custom_scaling_running_job_percentage)
    except ValueError:
        return None
    return percentage if math.isfinite(percentage) else None
