"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used to the same
share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tiphys.scheduler.columns import Column, Rows
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin
from tiphys.scheduler.plugins.node_resources_fit import DEFAULT_SCORED, NATIVE_RESOURCES
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_Requests = tuple[tuple[int, int], ...]  # (line in the snapshot's arrays, amount)


class BalancedAllocation(Plugin):
    """`arguments`: resources, whose shares are compared."""

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        resources = (arguments or {}).get("resources") or DEFAULT_SCORED
        self._names = [entry["name"] for entry in resources]

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        if not pod.requests:
            return None
        requests = tuple(self._requests(snapshot, pod))
        if not requests:
            return None
        return snapshot.columns.get(
            (self.name, requests),
            len(snapshot),
            lambda rows: _score_rows(snapshot, rows, requests),
        )

    def _requests(self, snapshot: Snapshot, pod: PodInfo) -> Iterator[tuple[int, int]]:
        for name in self._names:
            line = snapshot.resources.get(name)
            amount = pod.requests.get(name, 0)
            if line is not None and (amount or name in NATIVE_RESOURCES):
                yield line, amount


def _score_rows(snapshot: Snapshot, rows: Rows, requests: _Requests) -> Column:
    """100 less the standard deviation of the shares that would be used, in percent."""
    shares = []
    for line, amount in requests:
        capacity = np.maximum(snapshot.allocatable[line][rows], 1)
        share = (snapshot.requested[line][rows] + amount) / capacity
        shares.append(np.minimum(share, 1.0))
    return np.floor((1 - _deviation(shares)) * 100)


def _deviation(shares: list[Column]) -> Column:
    """The standard deviation, by row. That of two numbers is half their distance."""
    if len(shares) == 2:
        return np.abs(shares[0] - shares[1]) / 2
    return np.std(shares, axis=0)
