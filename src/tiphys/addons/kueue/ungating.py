"""Pods that a topology has places for wait behind a gate, and get their places one by one.

Source: upstream's topology ungater. Pods with an index get the places in that order, so that those
whose ranks are near each other are near each other; others get what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tiphys.addons.kueue import names
from tiphys.addons.kueue.assignments import unpacked
from tiphys.addons.kueue.core.topology import Assignment
from tiphys.addons.kueue.types.workloads import PodSetTopologyRequest
from tiphys.api import core_v1

Values = tuple[str, ...]


class Letting(NamedTuple):
    """A pod that is ungated, and the labels of the nodes that it goes to."""

    pod: core_v1.Pod
    labels: Mapping[str, str]


def is_gated(pod: core_v1.Pod) -> bool:
    return any(gate.name == names.TOPOLOGY_GATE for gate in pod.spec.scheduling_gates)


def letting(
    plain: object, pods: Sequence[core_v1.Pod], request: PodSetTopologyRequest | None
) -> list[Letting]:
    """Which of the living pods of a set are ungated, and for which nodes. `plain` is the assignment
    of the set."""
    assignment = unpacked(plain)
    if assignment is None:
        return []
    places = _by_rank(assignment, pods, request) or _by_what_is_left(assignment, pods)
    return [
        Letting(pod, dict(zip(assignment.levels, values, strict=True))) for pod, values in places
    ]


_Places = list[tuple[core_v1.Pod, Values]]


def _by_rank(
    assignment: Assignment, pods: Sequence[core_v1.Pod], request: PodSetTopologyRequest | None
) -> _Places | None:
    """None when some pod has no rank, or runs where another rank belongs."""
    slots = [place.values for place in assignment.places for _ in range(place.pods)]
    by_rank: dict[int, core_v1.Pod] = {}
    for pod in pods:
        rank = _rank(pod, request, len(slots))
        if rank is None or rank in by_rank:
            return None
        if not is_gated(pod) and _values(pod, assignment) != slots[rank]:
            return None
        by_rank[rank] = pod
    return [(pod, slots[rank]) for rank, pod in sorted(by_rank.items()) if is_gated(pod)]


def _rank(pod: core_v1.Pod, request: PodSetTopologyRequest | None, total: int) -> int | None:
    """The index of a pod in its set, whose first pod may say that it is not 0; of a set that is
    several jobs, after those of the jobs before."""
    if request is None or not request.pod_index_label:
        return None
    labels = pod.metadata.labels
    index = _number(labels.get(request.pod_index_label))
    if index is None:
        return None
    if request.sub_group_index_label:
        groups = request.sub_group_count or 0
        group = _number(labels.get(request.sub_group_index_label))
        if not groups or group is None or group >= groups or index >= total // groups:
            return None
        index += group * (total // groups)
    index -= _number(pod.metadata.annotations.get(names.POD_INDEX_OFFSET)) or 0
    return index if 0 <= index < total else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else None


def _values(pod: core_v1.Pod, assignment: Assignment) -> Values:
    return tuple(pod.spec.node_selector.get(level, "") for level in assignment.levels)


def _by_what_is_left(assignment: Assignment, pods: Sequence[core_v1.Pod]) -> _Places:
    taken = Counter(_values(pod, assignment) for pod in pods if not is_gated(pod))
    waiting = iter([pod for pod in pods if is_gated(pod)])
    placed_pods: _Places = []
    for place in assignment.places:
        for _ in range(max(0, place.pods - taken[place.values])):
            pod = next(waiting, None)
            if pod is None:
                return placed_pods
            placed_pods.append((pod, place.values))
    return placed_pods
