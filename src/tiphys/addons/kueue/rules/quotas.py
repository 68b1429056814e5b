"""Flavors, cluster queues and cohorts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tiphys.addons.kueue.types.quotas import (
    ClusterQueue,
    ClusterQueueSpec,
    Cohort,
    FairSharing,
    FlavorQuotas,
    ResourceFlavor,
    ResourceGroup,
    ResourceQuota,
)
from tiphys.api.core_v1 import Taint, Toleration
from tiphys.machinery import quantity
from tiphys.machinery.fielderrors import (
    FieldError,
    duplicate,
    invalid_value,
    not_supported,
)
from tiphys.machinery.labelrules import label_name, label_selector, validate_labels
from tiphys.machinery.names import label_value_errors

NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"
_MOST = 256  # flavors, or covered resources, of all groups
_MOST_COMBINATIONS = 512  # of flavors and resources, in one group
_LEAST_WEIGHT = quantity.nano("1n")


class _Scope(NamedTuple):
    """The scope of quotas: `above` names the field that is empty where there is no parent."""

    has_parent: bool
    above: str
    lends_up_to_nominal: bool


# --- flavors ---


def of_flavor(flavor: ResourceFlavor) -> list[FieldError]:
    spec = flavor.spec
    return [
        *validate_labels(spec.node_labels, "spec.nodeLabels"),
        *_taints(spec.node_taints, "spec.nodeTaints"),
        *tolerations(spec.tolerations, "spec.tolerations"),
    ]


def _taints(taints: Sequence[Taint], path: str) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        taint_path = f"{path}[{index}]"
        yield from label_name(taint.key, f"{taint_path}.key")
        if problems := label_value_errors(taint.value):
            yield invalid_value(f"{taint_path}.value", taint.value, ";".join(problems))
        if (taint.key, taint.effect) in seen:
            twice = duplicate(taint_path, taint)
            detail = f"{twice.detail}: taints must be unique by key and effect pair"
            yield FieldError(twice.reason, twice.field, detail)
        seen.add((taint.key, taint.effect))


def tolerations(of: Sequence[Toleration], path: str) -> Iterator[FieldError]:
    for index, toleration in enumerate(of):
        if toleration.key:
            yield from label_name(toleration.key, f"{path}[{index}].key")


# --- queues and cohorts ---


def of_cluster_queue(queue: ClusterQueue, old: ClusterQueue | None = None) -> list[FieldError]:
    spec = queue.spec
    path = "spec.resourceGroups"
    scope = _Scope(bool(spec.cohort_name), "cohort", lends_up_to_nominal=True)
    problems = [
        *_groups(spec.resource_groups, scope, path),
        *label_selector(spec.namespace_selector, "spec.namespaceSelector"),
        *_weight(spec.fair_sharing),
        *_totals(spec.resource_groups, path),
        *_checks(spec, old.spec if old is not None else None),
    ]
    if old is not None and spec.concurrent_admission_policy != old.spec.concurrent_admission_policy:
        policy = spec.concurrent_admission_policy
        problems.append(invalid_value("spec.concurrentAdmissionPolicy", policy, IMMUTABLE))
    return problems


def of_cohort(cohort: Cohort) -> list[FieldError]:
    scope = _Scope(bool(cohort.spec.parent_name), "parent", lends_up_to_nominal=False)
    groups = _groups(cohort.spec.resource_groups, scope, "spec.resourceGroups")
    return [*_weight(cohort.spec.fair_sharing), *groups]


def _groups(groups: Sequence[ResourceGroup], scope: _Scope, path: str) -> Iterator[FieldError]:
    """Every resource, and every flavor, belongs to one group."""
    resources: set[str] = set()
    flavors: set[str] = set()
    for index, group in enumerate(groups):
        group_path = f"{path}[{index}]"
        for place, name in enumerate(group.covered_resources):
            yield from label_name(name, f"{group_path}.coveredResources[{place}]")
            if name in resources:
                yield duplicate(f"{group_path}.coveredResources[{place}]", name)
            resources.add(name)
        for place, flavor in enumerate(group.flavors):
            where = f"{group_path}.flavors[{place}]"
            yield from _flavor_quotas(flavor, group.covered_resources, scope, where)
            if flavor.name in flavors:
                yield duplicate(f"{where}.name", flavor.name)
            flavors.add(flavor.name)


def _flavor_quotas(
    flavor: FlavorQuotas, covered: Sequence[str], scope: _Scope, path: str
) -> Iterator[FieldError]:
    for index, (quota, name) in enumerate(zip(flavor.resources, covered, strict=False)):
        quota_path = f"{path}.resources[{index}]"
        if quota.name != name:
            detail = "must match the name in coveredResources"
            yield invalid_value(f"{quota_path}.name", quota.name, detail)
        yield from natural(quota.nominal_quota, f"{quota_path}.nominalQuota")
        yield from _limits(quota, scope, quota_path)


def _limits(quota: ResourceQuota, scope: _Scope, path: str) -> Iterator[FieldError]:
    borrowing = f"{path}.borrowingLimit"
    lending = f"{path}.lendingLimit"
    if quota.borrowing_limit is not None:
        yield from _only_below(quota.borrowing_limit, scope, borrowing)
        yield from natural(quota.borrowing_limit, borrowing)
    if quota.lending_limit is not None:
        yield from natural(quota.lending_limit, lending)
        yield from _only_below(quota.lending_limit, scope, lending)
        lends = quantity.nano(quota.lending_limit)
        if scope.lends_up_to_nominal and lends > quantity.nano(quota.nominal_quota):
            detail = "must be less than or equal to the nominalQuota"
            yield invalid_value(lending, quota.lending_limit, detail)


def _only_below(limit: str, scope: _Scope, path: str) -> Iterator[FieldError]:
    if not scope.has_parent:
        yield invalid_value(path, limit, f"must be nil when {scope.above} is empty")


def natural(value: str, path: str) -> Iterator[FieldError]:
    """An amount is not negative."""
    if quantity.nano(value) < 0:
        yield invalid_value(path, value, NEGATIVE)


def _weight(sharing: FairSharing | None) -> Iterator[FieldError]:
    if sharing is None or sharing.weight is None:
        return
    yield from natural(sharing.weight, "spec.fairSharing")
    if 0 < quantity.nano(sharing.weight) <= _LEAST_WEIGHT:
        detail = "When not 0, weight must be > 10e-9"
        yield invalid_value("spec.fairSharing", sharing.weight, detail)


def _totals(groups: Sequence[ResourceGroup], path: str) -> Iterator[FieldError]:
    flavors = sum(len(group.flavors) for group in groups)
    covered = sum(len(group.covered_resources) for group in groups)
    for noun, total in (("flavors", flavors), ("covered resources", covered)):
        if total > _MOST:
            detail = (
                f"total number of {noun} across all resourceGroups must be ≤ {_MOST}, got {total}"
            )
            yield invalid_value(path, total, detail)
    for index, group in enumerate(groups):
        total = sum(len(flavor.resources) for flavor in group.flavors)
        if total > _MOST_COMBINATIONS:
            detail = (
                "number of flavor-resource combinations in a resourceGroup must be ≤ "
                f"{_MOST_COMBINATIONS}, got {total}"
            )
            yield invalid_value(f"{path}[{index}]", total, detail)


# --- checks of flavors ---


def _checks(spec: ClusterQueueSpec, old: ClusterQueueSpec | None) -> Iterator[FieldError]:
    """A check is of flavors that the queue has. One that was of another flavor before may stay so
    while nothing of it, or of the flavors, changes."""
    known = _flavors_of(spec.resource_groups)
    has_same_flavors = old is not None and _flavors_of(old.resource_groups) == known
    before = _on_flavors(old) if old is not None and has_same_flavors else {}
    strategy = spec.admission_checks_strategy
    for index, check in enumerate(strategy.admission_checks if strategy is not None else ()):
        if before.get(check.name) == set(check.on_flavors):
            continue
        path = f"spec.admissionChecksStrategy.admissionChecks[{index}].onFlavors"
        for place, flavor in enumerate(check.on_flavors):
            if flavor not in known:
                yield not_supported(f"{path}[{place}]", flavor, known)


def _on_flavors(spec: ClusterQueueSpec) -> dict[str, set[str]]:
    strategy = spec.admission_checks_strategy
    checks = strategy.admission_checks if strategy is not None else ()
    return {check.name: set(check.on_flavors) for check in checks}


def _flavors_of(groups: Iterable[ResourceGroup]) -> set[str]:
    return {flavor.name for group in groups for flavor in group.flavors}
