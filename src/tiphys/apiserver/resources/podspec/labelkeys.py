"""`matchLabelKeys` and `mismatchLabelKeys` of affinity terms and spread constraints: a pod's own
values of these labels become requirements of the selector when the pod is created, as upstream
(`mutatePodAffinity`, `mutateTopologySpreadConstraints`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tiphys.api.core_v1 import (
    Affinity,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
)
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError


def merge_label_keys(spec: PodSpec, labels: Mapping[str, str]) -> None:
    """A selector that is not set matches nothing, and stays so."""
    for term in _terms(spec.affinity):
        if term.match_label_keys or term.mismatch_label_keys:
            selector = _merged(term.label_selector, "In", term.match_label_keys, labels)
            term.label_selector = _merged(selector, "NotIn", term.mismatch_label_keys, labels)
    for constraint in spec.topology_spread_constraints:
        if constraint.match_label_keys:
            keys = constraint.match_label_keys
            constraint.label_selector = _merged(constraint.label_selector, "In", keys, labels)


def _terms(affinity: Affinity | None) -> Iterator[PodAffinityTerm]:
    if affinity is None:
        return
    rules: Sequence[PodAffinity | PodAntiAffinity | None] = (
        affinity.pod_affinity,
        affinity.pod_anti_affinity,
    )
    for rule in rules:
        if rule is not None:
            yield from rule.required_during_scheduling_ignored_during_execution
            for weighted in rule.preferred_during_scheduling_ignored_during_execution:
                yield weighted.pod_affinity_term


def _merged(
    selector: LabelSelector | None, operator: str, keys: Sequence[str], labels: Mapping[str, str]
) -> LabelSelector | None:
    if selector is None:
        return None
    own = [
        LabelSelectorRequirement(key=key, operator=operator, values=[labels[key]])
        for key in keys
        if key in labels
    ]
    return LabelSelector(
        match_labels=selector.match_labels, match_expressions=[*selector.match_expressions, *own]
    )


def label_key_errors(
    path: str, match: Sequence[str], mismatch: Sequence[str], selector: LabelSelector | None
) -> list[FieldError]:
    """Of the term or constraint at `path`, whose selector has been merged (upstream's
    ValidateMatchLabelKeysAndMismatchLabelKeys, the place of its second rule included)."""
    violations = _keys(match, f"{path}.matchLabelKeys", selector)
    violations += _keys(mismatch, f"{path}.mismatchLabelKeys", selector)
    if selector is not None:
        violations += _repeated(path, match, selector)
    for index, key in enumerate(match):
        if key in mismatch:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            violations.append(errors.invalid_value(f"{path}.matchLabelKeys[{index}]", key, detail))
    return violations


def _keys(keys: Sequence[str], path: str, selector: LabelSelector | None) -> list[FieldError]:
    if not keys:
        return []
    if selector is None:
        return [errors.forbidden_field(path, "must not be specified when labelSelector is not set")]
    violations = []
    for index, key in enumerate(keys):
        violations += checks.qualified_name(key, f"{path}[{index}]")
    return violations


def _repeated(path: str, match: Sequence[str], selector: LabelSelector) -> list[FieldError]:
    """A key that the selector names beside the requirement that was merged for it."""
    places = {key: index for index, key in enumerate(match)}
    named = set(selector.match_labels)
    violations = []
    for requirement in selector.match_expressions:
        key = requirement.key
        if key in places and key in named:
            detail = "exists in both matchLabelKeys and labelSelector"
            violations.append(errors.invalid_value(f"{path}[{places[key]}]", key, detail))
        named.add(key)
    return violations
