"""Which labels of nodes pods speak of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.addons._cloud.catalog import current
from tiphys.api import core_v1
from tiphys.machinery.selectors import integer
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.podinfo import PodInfo


def mentions(pods: Iterable[PodInfo], volumes: VolumeLister) -> dict[str, set[str]]:
    """The labels that the pods, or the volumes that they need, are particular about, with the
    values that they name."""
    values_by_label: dict[str, set[str]] = {}
    for pod in pods:
        for key, values in _labels_of(pod, volumes):
            values_by_label.setdefault(current(key), set()).update(values)
    return values_by_label


def places(pods: Iterable[PodInfo], volumes: VolumeLister) -> set[str]:
    """The labels by which pods, or their volumes, are near to others or apart."""
    labels: set[str] = set()
    for pod in pods:
        labels.update(current(key) for key in _shared(pod))
        if pod.claims:
            labels.update(current(topology.key) for topology in _volumes(pod, volumes))
    return labels


def _labels_of(pod: PodInfo, volumes: VolumeLister) -> Iterator[tuple[str, Iterable[str]]]:
    for key in _shared(pod):
        yield key, ()
    for key, value in pod.spec.node_selector.items():
        yield key, (value,)
    for requirement in _affinity(pod.spec):
        yield requirement.key, _named(requirement)
    if pod.claims:
        for topology in _volumes(pod, volumes):
            yield topology.key, topology.values


def _named(requirement: core_v1.NodeSelectorRequirement) -> Iterable[str]:
    """Its values; of a bound the first number beyond it."""
    step = {"Gt": 1, "Lt": -1}.get(requirement.operator)
    if step is None:
        return requirement.values
    numbers = map(integer, requirement.values)
    return [str(number + step) for number in numbers if number is not None]


def _shared(pod: PodInfo) -> Iterator[str]:
    rules = pod.rules
    for spread in rules.spread_constraints:
        yield spread.constraint.topology_key
    for term in (
        *rules.required_affinity,
        *rules.required_anti_affinity,
        *rules.preferred_terms,
    ):
        yield term.topology_key


def _affinity(spec: core_v1.PodSpec) -> Iterator[core_v1.NodeSelectorRequirement]:
    affinity = spec.affinity.node_affinity if spec.affinity else None
    if affinity is None:
        return
    required = affinity.required_during_scheduling_ignored_during_execution
    for term in required.node_selector_terms if required is not None else ():
        yield from term.match_expressions
    for wish in affinity.preferred_during_scheduling_ignored_during_execution:
        yield from wish.preference.match_expressions


def _volumes(
    pod: PodInfo, volumes: VolumeLister
) -> Iterator[core_v1.NodeSelectorRequirement | core_v1.TopologySelectorLabelRequirement]:
    """Of the volumes that claims are bound to, and of the classes of those that are not."""
    for claim in volumes.claims_of(pod.pod):
        volume = volumes.volume_of(claim)
        if volume is not None:
            affinity = volume.spec.node_affinity
            if affinity is not None and affinity.required is not None:
                for term in affinity.required.node_selector_terms:
                    yield from term.match_expressions
            continue
        storage_class = volumes.class_of(claim)
        for topology in storage_class.allowed_topologies if storage_class is not None else ():
            yield from topology.match_label_expressions
