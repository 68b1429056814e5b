"""Whether a node has room, and which node it leaves in the best shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery.quantity import nano
from tiphys.scheduler.changes import NODE_ADDED, NODE_SIZE, POD_GONE, POD_SIZE, Change
from tiphys.scheduler.columns import Column, Rows
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PODS, PodInfo
from tiphys.scheduler.snapshot import Snapshot

_BOTH: tuple[Mapping[str, Any], ...] = (
    {"name": "cpu", "weight": 1},
    {"name": "memory", "weight": 1},
)
Compared = tuple[
    tuple[int, int, int], ...
]  # (index of a resource, what a pod takes, weight) of each
_NATIVE = frozenset(("cpu", "memory", "ephemeral-storage"))


class NodeResourcesFit(Plugin):
    """Room for the requests; scores what stays free (LeastAllocated), what is taken (MostAllocated), or by a curve
    (RequestedToCapacityRatio)."""

    name = "NodeResourcesFit"
    hints = frozenset((NODE_ADDED, NODE_SIZE, POD_GONE, POD_SIZE))
    cumulative = True

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        told = arguments or {}
        strategy = told.get("scoringStrategy") or {}
        self._ignored = frozenset(told.get("ignoredResources") or ())
        self._ignored_groups = tuple(
            f"{group}/" for group in told.get("ignoredResourceGroups") or ()
        )
        self._resources = [
            (row["name"], row.get("weight") or 1) for row in strategy.get("resources") or _BOTH
        ]
        kind = strategy.get("type") or "LeastAllocated"
        if kind not in ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"):
            path = "scoringStrategy.type"
            raise ConfigurationError(f"{self.name}: {path}: Unsupported value: {kind!r}")
        self._kind, self._curve = (
            kind,
            _curve(strategy, self.name) if kind == "RequestedToCapacityRatio" else ([], []),
        )

    def filter(self, view: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        verdicts: Verdicts = [Verdict(view.requested[3] < view.allocatable[3], "Too many pods")]
        for name, value in self._asked(pod):
            at = view.resources.get(name)
            if at is None:
                verdicts.append(
                    Verdict(np.zeros(len(view.names), np.bool_), f"Insufficient {name}", True)
                )
                continue
            size = view.allocatable[at]
            verdicts.append(
                Verdict(view.requested[at] <= size - value, f"Insufficient {name}", value > size)
            )
        return verdicts

    def passing(self, view: Snapshot, pod: PodInfo, among: Bools) -> Bools | None:
        asked = tuple((view.resources.get(name), value) for name, value in self._asked(pod))

        def compute(rows: Rows) -> Column:
            passes = view.requested[3][rows] < view.allocatable[3][rows]
            for at, value in asked:
                if at is None:
                    return passes & False
                passes &= view.requested[at][rows] <= view.allocatable[at][rows] - value
            return passes

        return view.columns.get(("fit", asked), len(view.names), compute)  # type: ignore[no-any-return]

    def _asked(self, pod: PodInfo) -> Iterator[tuple[str, int]]:
        for name, value in pod.requests.items():
            if (
                value
                and name not in self._ignored
                and not name.startswith(self._ignored_groups or "\0")
            ):
                yield name, value

    def helps(self, change: Change, view: Snapshot, pod: PodInfo) -> bool:
        if change.kind == POD_GONE:
            return True
        if change.kind == POD_SIZE:
            assert change.pod is not None and change.old_pod is not None
            now, before = change.pod.requests, change.old_pod.requests
            return any(now.get(name, 0) < before.get(name, 0) for name, _ in self._asked(pod))
        assert change.node is not None
        row = view.row.get(change.node.metadata.name)
        if row is None:
            return True
        ats = [(view.resources.get(name), value) for name, value in self._asked(pod)]
        if any(at is None or value > view.allocatable[at][row] for at, value in ats):
            return False  # it would not fit there if nobody else were there
        return change.old_node is None or _grew(change.old_node, change.node, pod)

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        compared = tuple(self._compared(view, pod))
        return view.columns.get(
            (self.name, self, compared),
            len(view.names),
            lambda rows: self._points(view, rows, compared),
        )

    def _points(self, view: Snapshot, rows: Rows, compared: Compared) -> Column:
        number = len(view.alive[rows])
        total, weights = np.zeros(number), np.zeros(number)
        for at, wanted, weight in compared:
            size, used = (
                view.allocatable[at][rows],
                (view.scored if at < 2 else view.requested)[at][rows] + wanted,
            )
            there, most = size > 0, np.maximum(size, 1)
            if self._kind == "LeastAllocated":
                score = np.where(used <= size, (size - used) * 100 // most, 0)
            elif self._kind == "MostAllocated":
                score = np.minimum(used, size) * 100 // most
            else:
                score = np.trunc(np.interp(np.minimum(used * 100 // most, 100), *self._curve))
                there = there & (score > 0)
            total += np.where(there, score * weight, 0)
            weights += np.where(there, weight, 0)
        mean = total / np.maximum(weights, 1)
        return np.rint(mean) if self._kind == "RequestedToCapacityRatio" else np.floor(mean)

    def _compared(self, view: Snapshot, pod: PodInfo) -> Iterator[tuple[int, int, int]]:
        """(index, what the pod takes, weight) of each resource that is compared."""
        for name, weight in self._resources:
            at = view.resources.get(name)
            if at is None or (name not in _NATIVE and not pod.requests.get(name)):
                continue
            yield at, pod.scored[at] if at < 2 else pod.requests.get(name, 0), weight


def _grew(before: core_v1.Node, now: core_v1.Node, pod: PodInfo) -> bool:
    """Whether a node has more than before of something that a pod takes."""
    was, has = before.status.allocatable, now.status.allocatable
    return any(
        nano(has.get(name, "0")) > nano(was.get(name, "0")) for name in (*pod.requests, PODS)
    )


def _curve(strategy: Mapping[str, Any], name: str) -> tuple[list[int], list[int]]:
    """Points of utilization (percent) and score (0 to 100) between which scores lie on a line."""
    shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or []
    path = f"{name}: scoringStrategy.requestedToCapacityRatio.shape"
    if not shape:
        raise ConfigurationError(f"{path}: Required value: at least one point must be specified")
    at = [int(point.get("utilization") or 0) for point in shape]
    score = [int(point.get("score") or 0) for point in shape]
    if not all(0 <= value <= 100 for value in at) or any(a >= b for a, b in itertools.pairwise(at)):
        raise ConfigurationError(
            f"{path}: utilization must rise from point to point, from 0 to 100"
        )
    if not all(0 <= value <= 10 for value in score):
        raise ConfigurationError(f"{path}: score must be from 0 to 10")
    return at, [value * 10 for value in score]


class BalancedAllocation(Plugin):
    """Prefers nodes whose resources would be used in like measure."""

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, weight: int = 0, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__(weight)
        self._names = [row["name"] for row in (arguments or {}).get("resources") or _BOTH]

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        if not pod.requests:
            return None
        known = (
            (view.resources.get(name), pod.requests.get(name, 0), name) for name in self._names
        )
        asked = tuple(
            (at, taken)
            for at, taken, name in known
            if at is not None and (taken or name in _NATIVE)
        )
        if not asked:
            return None
        return view.columns.get(
            (self.name, asked), len(view.names), lambda rows: _balance(view, rows, asked)
        )


def _balance(view: Snapshot, rows: Rows, asked: tuple[tuple[int, int], ...]) -> Column:
    """100 where what is asked would leave all resources used to the same part."""
    fractions = []
    for at, taken in asked:
        size = np.maximum(view.allocatable[at][rows], 1)
        fractions.append(np.minimum((view.requested[at][rows] + taken) / size, 1.0))
    if len(fractions) == 2:
        return np.floor((1 - np.abs(fractions[0] - fractions[1]) / 2) * 100)
    return np.floor((1 - np.std(fractions, axis=0)) * 100)
