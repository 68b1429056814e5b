"""Who has how long when a node shuts down. Pure; upstream's `pkg/kubelet/nodeshutdown`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tiphys.machinery import durations

_CRITICAL = 2_000_000_000  # the priority of pods that the system needs
_DEFAULT = 0
_BOUND = 1 << 31

T = TypeVar("T")


class Period(NamedTuple):
    """Pods of this priority, and of those up to the next period's, have so many seconds."""

    priority: int
    seconds: int


Periods = tuple[Period, ...]  # by rising priority; none where the node does not care


def periods_of(total: float, critical: float) -> Periods:
    """Of `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`, in seconds: the last part of
    the time is for critical pods. Raises ValueError."""
    if critical > total:
        raise ValueError(
            "invalid configuration: shutdownGracePeriodCriticalPods "
            f"{_formatted(critical)} must be <= shutdownGracePeriod {_formatted(total)}"
        )
    for name, seconds in (
        ("shutdownGracePeriod", total),
        ("shutdownGracePeriodCriticalPods", critical),
    ):
        if 0 < seconds < 1:
            raise ValueError(
                f"invalid configuration: {name} {_formatted(seconds)} must be either zero or "
                "otherwise >= 1 sec"
            )
    if not total:
        return ()
    return (Period(_DEFAULT, int(total - critical)), Period(_CRITICAL, int(critical)))


def parse_periods(value: Any) -> Periods:
    """Of `shutdownGracePeriodByPodPriority`. Raises ValueError."""
    if not isinstance(value, list):
        raise ValueError("it is no list")
    periods = []
    for entry in value:
        fields = {"priority", "shutdownGracePeriodSeconds"}
        if not isinstance(entry, Mapping) or set(entry) - fields:
            raise ValueError("each entry has priority and shutdownGracePeriodSeconds")
        priority = entry.get("priority", 0)
        seconds = entry.get("shutdownGracePeriodSeconds", 0)
        if type(priority) is not int or not -_BOUND <= priority < _BOUND:
            raise ValueError(f"{priority!r} is no priority")
        if type(seconds) is not int or not 0 <= seconds < _BOUND:
            raise ValueError(f"{seconds!r} is no number of seconds")
        periods.append(Period(priority, seconds))
    return tuple(sorted(periods))


def grouped(periods: Periods, pods: Iterable[tuple[int, T]]) -> list[tuple[Period, Sequence[T]]]:
    """(period, pods) in the order in which they end. `pods` are given with their priorities: one
    below all periods is of the lowest."""
    priorities = [period.priority for period in periods]
    groups: list[list[T]] = [[] for _ in periods]
    for priority, pod in pods:
        groups[max(0, bisect_right(priorities, priority) - 1)].append(pod)
    return list(zip(periods, groups, strict=True))


def total(periods: Periods) -> int:
    """Seconds that the machine has to wait."""
    return sum(period.seconds for period in periods)


def parse_seconds(value: Any) -> float:
    """Raises ValueError."""
    seconds = durations.seconds(str(value))
    if seconds < 0:
        raise ValueError(f"{value!r} is negative")
    return seconds


def _formatted(seconds: float) -> str:
    return f"{{{seconds:g}s}}"
