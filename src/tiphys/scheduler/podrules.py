"""What a pod's spec says of other pods: affinity, anti-affinity and topology spread. Pure.

Parsing selectors costs more than anything else that is read from a spec, so pods that were made
from one template share the parsed form (`rules_of`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.machinery.selectors import NOTHING, Requirement, Selector, from_label_selector

# Stands for the weight of a required affinity term when pods that come later are scored by it. A
# profile puts its hardPodAffinityWeight in its place.
HARD_AFFINITY_WEIGHT = 1 << 20

_REMEMBERED_TEMPLATES = 512
# The selector of a spread constraint without one: it matches no pod.
_MATCHES_NO_POD = Selector((Requirement("none/none", "in", ()),))


@dataclass(frozen=True)
class AffinityTerm:
    """A term of pod affinity or anti-affinity: which pods, within which topology.

    `namespaces` is empty for all of them, unless a `namespace_selector` chooses some by their
    labels. The weight of a preferred anti-affinity term is negative. Terms are looked up for every
    pod that comes or goes: their hash is kept.
    """

    namespaces: frozenset[str]
    selector: Selector
    topology_key: str
    weight: int = 0
    namespace_selector: Selector | None = None

    @cached_property
    def _hash(self) -> int:
        return hash((self.namespaces, self.selector, self.topology_key, self.weight))

    def __hash__(self) -> int:
        return self._hash


class SpreadConstraint(NamedTuple):
    """A topology spread constraint, and the pods that it counts."""

    constraint: core_v1.TopologySpreadConstraint
    selector: Selector


@dataclass(frozen=True)
class PodRules:
    """The terms and constraints of one pod.

    `scoring_terms` score nodes for *other* pods, once this one is on a node: its preferred terms,
    and its required affinity with HARD_AFFINITY_WEIGHT.
    """

    required_affinity: tuple[AffinityTerm, ...] = ()
    required_anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred_terms: tuple[AffinityTerm, ...] = ()
    scoring_terms: tuple[AffinityTerm, ...] = ()
    spread_constraints: tuple[SpreadConstraint, ...] = ()


_NO_RULES = PodRules()
# (affinity and constraints as JSON, namespace, labels where they matter)
_TemplateKey = tuple[bytes, str, tuple[tuple[str, str], ...]]
_parsed_templates: OrderedDict[_TemplateKey, PodRules] = OrderedDict()


def rules_of(pod: core_v1.Pod) -> PodRules:
    """The rules of a pod."""
    affinity = pod.spec.affinity
    constraints = pod.spec.topology_spread_constraints
    if affinity is None and not constraints:
        return _NO_RULES
    encoded = encode([affinity, constraints])
    # With matchLabelKeys or mismatchLabelKeys, selectors depend on the pod's own labels as well.
    depends_on_labels = b"atchLabelKeys" in encoded
    labels = tuple(pod.metadata.labels.items()) if depends_on_labels else ()
    key = (encoded, pod.metadata.namespace, labels)
    rules = _parsed_templates.get(key)
    if rules is None:
        rules = _parse(pod)
        _parsed_templates[key] = rules
        if len(_parsed_templates) > _REMEMBERED_TEMPLATES:
            _parsed_templates.popitem(last=False)
    return rules


def _parse(pod: core_v1.Pod) -> PodRules:
    affinity = pod.spec.affinity or core_v1.Affinity()
    pod_affinity = affinity.pod_affinity or core_v1.PodAffinity()
    anti_affinity = affinity.pod_anti_affinity or core_v1.PodAntiAffinity()
    required = _required_terms(
        pod_affinity.required_during_scheduling_ignored_during_execution, pod
    )
    required_anti = _required_terms(
        anti_affinity.required_during_scheduling_ignored_during_execution, pod
    )
    preferred = (
        *_preferred_terms(
            pod_affinity.preferred_during_scheduling_ignored_during_execution, pod, sign=1
        ),
        *_preferred_terms(
            anti_affinity.preferred_during_scheduling_ignored_during_execution, pod, sign=-1
        ),
    )
    hard = tuple(replace(term, weight=HARD_AFFINITY_WEIGHT) for term in required)
    constraints = pod.spec.topology_spread_constraints
    return PodRules(
        required_affinity=required,
        required_anti_affinity=required_anti,
        preferred_terms=preferred,
        scoring_terms=preferred + hard,
        spread_constraints=tuple(
            SpreadConstraint(constraint, _spread_selector(constraint, pod))
            for constraint in constraints
        ),
    )


def _spread_selector(constraint: core_v1.TopologySpreadConstraint, pod: core_v1.Pod) -> Selector:
    selector = from_label_selector(constraint.label_selector) or _MATCHES_NO_POD
    by_own_labels = _own_label_requirements(constraint.match_label_keys, "in", pod)
    return Selector(selector.requirements + by_own_labels)


def _own_label_requirements(
    keys: Iterable[str], operator: str, pod: core_v1.Pod
) -> tuple[Requirement, ...]:
    """Requirements that ask for (`in`) or exclude (`notin`) the pod's own values of some labels.

    The API server merges them into selectors when a pod is created; pods that were stored before
    it did have them from here alone. Twice is as good as once.
    """
    labels = pod.metadata.labels
    return tuple(Requirement(key, operator, (labels[key],)) for key in keys if key in labels)


def _required_terms(
    terms: Iterable[core_v1.PodAffinityTerm], pod: core_v1.Pod
) -> tuple[AffinityTerm, ...]:
    return tuple(_parse_term(term, pod, weight=0) for term in terms)


def _preferred_terms(
    terms: Iterable[core_v1.WeightedPodAffinityTerm], pod: core_v1.Pod, sign: int
) -> tuple[AffinityTerm, ...]:
    return tuple(
        _parse_term(weighted.pod_affinity_term, pod, sign * weighted.weight) for weighted in terms
    )


def _parse_term(term: core_v1.PodAffinityTerm, pod: core_v1.Pod, weight: int) -> AffinityTerm:
    selector = from_label_selector(term.label_selector)
    if selector is None:
        selector = NOTHING
    else:
        selector = Selector(
            selector.requirements
            + _own_label_requirements(term.match_label_keys, "in", pod)
            + _own_label_requirements(term.mismatch_label_keys, "notin", pod)
        )
    namespace_selector = from_label_selector(term.namespace_selector)
    if namespace_selector is None:
        namespaces = frozenset(term.namespaces or [pod.metadata.namespace])
    elif namespace_selector.requirements:
        namespaces = frozenset(term.namespaces)
    else:  # an empty selector chooses all namespaces
        namespaces = frozenset()
        namespace_selector = None
    return AffinityTerm(namespaces, selector, term.topology_key, weight, namespace_selector)
