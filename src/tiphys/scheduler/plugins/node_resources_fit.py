"""NodeResourcesFit: whether a node has room for a pod's requests, and how full it would be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.extendedresources import CLASS_PREFIX, ExtendedResources
from tiphys.machinery.quantity import nano
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.columns import Column, Rows
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin, Verdict, Verdicts
from tiphys.scheduler.podinfo import PODS, PodInfo
from tiphys.scheduler.snapshot import CPU_ROW, MEMORY_ROW, PODS_ROW, Snapshot

# The resources that are scored unless the profile names others.
DEFAULT_SCORED: tuple[Mapping[str, Any], ...] = (
    {"name": "cpu", "weight": 1},
    {"name": "memory", "weight": 1},
)
# Resources that every node has: they are scored also for pods that do not request them.
NATIVE_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))

_LEAST = "LeastAllocated"
_MOST = "MostAllocated"
_RATIO = "RequestedToCapacityRatio"


class _ScoredResource(NamedTuple):
    line: int  # in the arrays of the snapshot
    amount: int  # that the pod takes
    weight: int


class _Shape(NamedTuple):
    """Points between which scores lie on straight lines."""

    utilization: list[int]  # percent, rising
    score: list[int]  # 0 to 100


class NodeResourcesFit(Plugin):
    """`arguments`: ignoredResources and ignoredResourceGroups, which are not filtered by, and
    scoringStrategy.

    The strategies score what stays free (LeastAllocated), what is taken (MostAllocated), or the
    share that is taken by a shape (RequestedToCapacityRatio).

    A node that has none of an extended resource may have devices of a class of `classes` that
    stands for it: that is for the plugin DynamicResources to say.
    """

    name = "NodeResourcesFit"
    reports_all_reasons = True
    events = frozenset(
        (
            EventKind.NODE_ADDED,
            EventKind.NODE_ALLOCATABLE,
            EventKind.POD_DELETED,
            EventKind.POD_REQUESTS,
            EventKind.DEVICE_CLASS,
        )
    )

    def __init__(
        self,
        weight: int = 0,
        arguments: Mapping[str, Any] | None = None,
        classes: ExtendedResources | None = None,
    ) -> None:
        super().__init__(weight)
        self._classes = classes or ExtendedResources()
        arguments = arguments or {}
        self._ignored = frozenset(arguments.get("ignoredResources") or ())
        groups = arguments.get("ignoredResourceGroups") or ()
        self._ignored_prefixes = tuple(f"{group}/" for group in groups)
        self._ignores_any = bool(self._ignored or self._ignored_prefixes)
        strategy = arguments.get("scoringStrategy") or {}
        self._strategy = strategy.get("type") or _LEAST
        if self._strategy not in (_LEAST, _MOST, _RATIO):
            path = f"{self.name}: scoringStrategy.type"
            raise ConfigurationError(f"{path}: Unsupported value: {self._strategy!r}")
        self._shape = _parse_shape(strategy) if self._strategy == _RATIO else _Shape([], [])
        self._scored = [
            (entry["name"], entry.get("weight") or 1)
            for entry in strategy.get("resources") or DEFAULT_SCORED
        ]

    # --- filter ---

    def filter(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Verdicts:
        has_room_for_pod = snapshot.requested[PODS_ROW] < snapshot.allocatable[PODS_ROW]
        verdicts = [Verdict(has_room_for_pod, "Too many pods")]
        for name, amount in self._filtered_requests(pod):
            reason = f"Insufficient {name}"
            line = snapshot.resources.get(name)
            is_of_class = self._classes.class_of(name) is not None
            if line is None and is_of_class:
                continue
            if line is None:  # no node has any of it
                verdicts.append(Verdict(snapshot.no_rows(), reason, unresolvable=True))
                continue
            allocatable = snapshot.allocatable[line]
            fits = snapshot.requested[line] <= allocatable - amount
            if is_of_class:
                fits |= allocatable == 0
            verdicts.append(Verdict(fits, reason, unresolvable=amount > allocatable))
        return verdicts

    def feasible_rows(self, snapshot: Snapshot, pod: PodInfo, among: Bools) -> Bools | None:
        class_of = self._classes.class_of
        requests = tuple(
            (snapshot.resources.get(name), amount, class_of(name) is not None)
            for name, amount in self._filtered_requests(pod)
        )

        def compute(rows: Rows) -> Column:
            requested = snapshot.requested
            allocatable = snapshot.allocatable
            fits = requested[PODS_ROW][rows] < allocatable[PODS_ROW][rows]
            for line, amount, is_of_class in requests:
                if line is not None:
                    has_room = requested[line][rows] <= allocatable[line][rows] - amount
                    if is_of_class:
                        has_room |= allocatable[line][rows] == 0
                    fits &= has_room
                elif not is_of_class:
                    return np.zeros_like(fits)
            return fits

        fits: Bools = snapshot.columns.get((self.name, "filter", requests), len(snapshot), compute)
        return fits

    def _filtered_requests(self, pod: PodInfo) -> Iterator[tuple[str, int]]:
        for name, amount in pod.requests.items():
            if amount and not (self._ignores_any and self._is_ignored(name)):
                yield name, amount

    def _is_ignored(self, name: str) -> bool:
        return name in self._ignored or name.startswith(self._ignored_prefixes)

    def queueing_hint(self, event: ClusterEvent, snapshot: Snapshot, pod: PodInfo) -> bool:
        if event.kind == EventKind.POD_DELETED:
            return True
        if event.kind == EventKind.POD_REQUESTS:
            return self._frees_requests(event, pod)
        if event.kind == EventKind.DEVICE_CLASS:
            return _stands_for_a_request(event, pod)
        assert event.node is not None
        row = snapshot.row_of.get(event.node.metadata.name)
        if row is None:
            return True
        for name, amount in self._filtered_requests(pod):
            line = snapshot.resources.get(name)
            allocatable = 0 if line is None else snapshot.allocatable[line][row]
            if not allocatable and self._classes.class_of(name) is not None:
                continue
            if amount > allocatable:
                return False  # the pod would not fit on the empty node
        return event.old_node is None or _has_grown(event.old_node, event.node, pod)

    def _frees_requests(self, event: ClusterEvent, pod: PodInfo) -> bool:
        """Whether a pod was scaled down in something that the pod requests."""
        assert event.pod is not None and event.old_pod is not None
        now = event.pod.requests
        before = event.old_pod.requests
        return any(
            now.get(name, 0) < before.get(name, 0) for name, _ in self._filtered_requests(pod)
        )

    # --- score ---

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        resources = tuple(self._scored_resources(snapshot, pod))
        return snapshot.columns.get(
            (self.name, self, resources),
            len(snapshot),
            lambda rows: self._score_rows(snapshot, rows, resources),
        )

    def _scored_resources(self, snapshot: Snapshot, pod: PodInfo) -> Iterator[_ScoredResource]:
        for name, weight in self._scored:
            line = snapshot.resources.get(name)
            amount = pod.requests.get(name, 0)
            if line is None or (name not in NATIVE_RESOURCES and not amount):
                continue
            if line == CPU_ROW:
                amount = pod.nonzero_requests.milli_cpu
            elif line == MEMORY_ROW:
                amount = pod.nonzero_requests.memory
            yield _ScoredResource(line, amount, weight)

    def _score_rows(
        self, snapshot: Snapshot, rows: Rows, resources: tuple[_ScoredResource, ...]
    ) -> Column:
        """The weighted mean of the scores of the resources that a node has."""
        number = len(snapshot.alive[rows])
        total = np.zeros(number)
        weights = np.zeros(number)
        for line, amount, weight in resources:
            is_nonzero_line = line in (CPU_ROW, MEMORY_ROW)
            requested = snapshot.nonzero_requested if is_nonzero_line else snapshot.requested
            allocatable = snapshot.allocatable[line][rows]
            score = self._score_resource(requested[line][rows] + amount, allocatable)
            counted = allocatable > 0
            if self._strategy == _RATIO:
                counted &= score > 0
            # Products instead of np.where, which takes twice as long for the one row that changes
            # with each pod.
            total += score * counted * weight
            weights += counted * weight
        mean = total / np.maximum(weights, 1)
        return np.rint(mean) if self._strategy == _RATIO else np.floor(mean)

    def _score_resource(self, requested: Column, allocatable: Column) -> Column:
        capacity = np.maximum(allocatable, 1)
        if self._strategy == _LEAST:
            free = np.maximum(allocatable - requested, 0)
            return free * 100 // capacity
        if self._strategy == _MOST:
            return np.minimum(requested, allocatable) * 100 // capacity
        utilization = np.minimum(requested * 100 // capacity, 100)
        return np.trunc(np.interp(utilization, self._shape.utilization, self._shape.score))


def _has_grown(old: core_v1.Node, new: core_v1.Node, pod: PodInfo) -> bool:
    """Whether a node has more of something that the pod takes."""
    before = old.status.allocatable
    now = new.status.allocatable
    return any(
        nano(now.get(name, "0")) > nano(before.get(name, "0")) for name in (*pod.requests, PODS)
    )


def _stands_for_a_request(event: ClusterEvent, pod: PodInfo) -> bool:
    """Whether a class was added or changed that stands for a resource of the pod now."""
    new: v1.DeviceClass | None = event.obj
    old: v1.DeviceClass | None = event.old_obj
    if new is None:
        return False
    name = new.spec.extended_resource_name
    if old is None and CLASS_PREFIX + new.metadata.name in pod.requests:
        return True
    is_new = old is None or old.spec.extended_resource_name != name
    return is_new and name in pod.requests


def _parse_shape(strategy: Mapping[str, Any]) -> _Shape:
    """Raises ConfigurationError."""
    points = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or []
    path = f"{NodeResourcesFit.name}: scoringStrategy.requestedToCapacityRatio.shape"
    if not points:
        raise ConfigurationError(f"{path}: Required value: at least one point must be specified")
    utilization = [int(point.get("utilization") or 0) for point in points]
    scores = [int(point.get("score") or 0) for point in points]
    rising = all(low < high for low, high in itertools.pairwise(utilization))
    if not rising or not all(0 <= value <= 100 for value in utilization):
        raise ConfigurationError(
            f"{path}: utilization must rise from point to point, from 0 to 100"
        )
    if not all(0 <= value <= 10 for value in scores):
        raise ConfigurationError(f"{path}: score must be from 0 to 10")
    # Shapes score up to 10, plugins up to 100.
    return _Shape(utilization, [value * 10 for value in scores])
