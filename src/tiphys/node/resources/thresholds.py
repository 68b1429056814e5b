"""Which thresholds of eviction a node is below, and for how long. Pure; upstream's
`pkg/kubelet/eviction/helpers.go`.

A hard threshold counts at once. A soft one counts when the node has been below it for its grace
period. Either is over only when what it reclaims at least is there beside the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tiphys.node.resources.pressure import SIGNALS, Observed, Threshold, parse_thresholds

_ORDER = list(SIGNALS)


class Crossed(NamedTuple):
    """Memory first: it runs out faster than disks.

    all: those that the node is below, for its conditions
    due: those of them that have been crossed for long enough: pods go for them
    """

    all: list[Threshold]
    due: list[Threshold]


class Thresholds:
    """Of one node. Remembers since when each is crossed."""

    def __init__(self, thresholds: Iterable[Threshold]) -> None:
        self._thresholds = tuple(thresholds)
        self._since: dict[Threshold, float] = {}
        self._due: list[Threshold] = []

    def observe(self, observed: Mapping[str, Observed], now: float) -> Crossed:
        """`now`: seconds of any clock."""
        crossed = [threshold for threshold in self._thresholds if is_below(threshold, observed)]
        for threshold in self._due:
            if threshold not in crossed and is_below(threshold, observed, with_reclaim=True):
                crossed.append(threshold)
        self._since = {threshold: self._since.get(threshold, now) for threshold in crossed}
        self._due = [
            threshold
            for threshold in crossed
            if now - self._since[threshold] >= (threshold.grace or 0)
        ]
        return Crossed(_in_order(crossed), _in_order(self._due))

    def unresolved(self, observed: Mapping[str, Observed]) -> bool:
        """Whether there is less than all thresholds and their reclaims ask for."""
        return any(
            is_below(threshold, observed, with_reclaim=True) for threshold in self._thresholds
        )


def is_below(
    threshold: Threshold, observed: Mapping[str, Observed], with_reclaim: bool = False
) -> bool:
    seen = observed.get(threshold.signal)
    if seen is None:
        return False
    wanted = threshold.amount(seen.capacity)
    if with_reclaim:
        wanted += threshold.to_reclaim(seen.capacity)
    return seen.available < wanted


def _in_order(thresholds: Iterable[Threshold]) -> list[Threshold]:
    return sorted(
        thresholds, key=lambda threshold: (_ORDER.index(threshold.signal), threshold.is_soft)
    )


# --- what a KubeletConfiguration says ---


def thresholds_of(
    hard: Iterable[Threshold],
    soft: Iterable[Threshold],
    graces: Mapping[str, float],
    reclaims: Iterable[Threshold],
) -> tuple[Threshold, ...]:
    """All of a node: seconds and reclaims are by signal. Raises ValueError."""
    thresholds = list(hard)
    for threshold in soft:
        if threshold.signal not in graces:
            raise ValueError(
                f"grace period must be specified for the soft eviction threshold {threshold.signal}"
            )
        thresholds.append(threshold._replace(grace=graces[threshold.signal]))
    least = {reclaim.signal: reclaim.least for reclaim in reclaims}
    return tuple(
        threshold._replace(reclaim=least.get(threshold.signal, 0)) for threshold in thresholds
    )


def parse_map(value: object) -> tuple[Threshold, ...]:
    """Of ``{memory.available: 100Mi}``. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("it is no map of signals to amounts")
    text = ",".join(f"{signal}<{amount}" for signal, amount in value.items())
    return tuple(parse_thresholds(text))
