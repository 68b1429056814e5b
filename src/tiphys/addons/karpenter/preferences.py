"""What pods would like: required at first, and dropped one by one, as Karpenter does
(`preferences.go`). Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from tiphys.api import core_v1
from tiphys.scheduler.podinfo import PodInfo

_MOST_WISHES = 16
"""These are dropped one by one: a pod that has more loses the others together."""


def variants(pod: PodInfo) -> Iterator[PodInfo]:
    """The pod with all its wishes as musts, then with ever fewer, at last as it is."""
    spec = copy.deepcopy(pod.spec)
    wishes = list(_wishes(spec))
    for _ in range(min(len(wishes), _MOST_WISHES)):
        yield _with_musts(pod, spec)
        spec = copy.deepcopy(spec)
        _give_up(spec)
    yield pod


def _wishes(spec: core_v1.PodSpec) -> Iterator[str]:
    affinity = spec.affinity or core_v1.Affinity()
    if affinity.pod_affinity:
        for _ in affinity.pod_affinity.preferred_during_scheduling_ignored_during_execution:
            yield "pod affinity"
    if affinity.pod_anti_affinity:
        for _ in affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution:
            yield "pod anti-affinity"
    if affinity.node_affinity:
        for _ in affinity.node_affinity.preferred_during_scheduling_ignored_during_execution:
            yield "node affinity"
    for constraint in spec.topology_spread_constraints:
        if constraint.when_unsatisfiable == "ScheduleAnyway":
            yield "topology spread"


def _give_up(spec: core_v1.PodSpec) -> None:
    """Drops the next wish: the heaviest of the first kind that there is."""
    affinity = spec.affinity or core_v1.Affinity()
    pods = affinity.pod_affinity
    if pods and pods.preferred_during_scheduling_ignored_during_execution:
        _drop_heaviest(pods.preferred_during_scheduling_ignored_during_execution)
        return
    anti = affinity.pod_anti_affinity
    if anti and anti.preferred_during_scheduling_ignored_during_execution:
        _drop_heaviest(anti.preferred_during_scheduling_ignored_during_execution)
        return
    nodes = affinity.node_affinity
    if nodes and nodes.preferred_during_scheduling_ignored_during_execution:
        _drop_heaviest(nodes.preferred_during_scheduling_ignored_during_execution)
        return
    for constraint in spec.topology_spread_constraints:
        if constraint.when_unsatisfiable == "ScheduleAnyway":
            spec.topology_spread_constraints.remove(constraint)
            return


def _drop_heaviest(
    terms: list[core_v1.PreferredSchedulingTerm] | list[core_v1.WeightedPodAffinityTerm],
) -> None:
    heaviest = max(range(len(terms)), key=lambda index: terms[index].weight)
    del terms[heaviest]


def _with_musts(pod: PodInfo, spec: core_v1.PodSpec) -> PodInfo:
    hardened_pod = copy.deepcopy(pod.pod)
    hardened_pod.spec = copy.deepcopy(spec)
    affinity = hardened_pod.spec.affinity or core_v1.Affinity()
    for pod_terms in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if pod_terms is not None:
            wanted = pod_terms.preferred_during_scheduling_ignored_during_execution
            pod_terms.required_during_scheduling_ignored_during_execution = [
                *pod_terms.required_during_scheduling_ignored_during_execution,
                *(term.pod_affinity_term for term in wanted),
            ]
    _require_nodes(affinity.node_affinity)
    for spread in hardened_pod.spec.topology_spread_constraints:
        spread.when_unsatisfiable = "DoNotSchedule"
    return PodInfo(hardened_pod)


def _require_nodes(affinity: core_v1.NodeAffinity | None) -> None:
    """The heaviest preferred term is required beside what is required already."""
    if affinity is None:
        return
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    if not preferred:
        return
    heaviest = max(preferred, key=lambda term: term.weight).preference
    required = affinity.required_during_scheduling_ignored_during_execution
    terms = required.node_selector_terms if required is not None else [core_v1.NodeSelectorTerm()]
    joined = [
        core_v1.NodeSelectorTerm(
            match_expressions=[*term.match_expressions, *heaviest.match_expressions],
            match_fields=[*term.match_fields, *heaviest.match_fields],
        )
        for term in terms
    ]
    affinity.required_during_scheduling_ignored_during_execution = core_v1.NodeSelector(
        node_selector_terms=joined
    )
