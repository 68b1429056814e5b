"""Workloads: what they request, and what their status may be once they hold quota."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.jobs.parts import items, mapping
from tiphys.addons.kueue.rules.quotas import IMMUTABLE, natural, tolerations
from tiphys.addons.kueue.types.workloads import (
    Admission,
    AdmissionCheckState,
    PodSet,
    PodSetTopologyRequest,
    ReclaimablePod,
    Workload,
)
from tiphys.machinery.fielderrors import (
    FieldError,
    field_not_found,
    forbidden_field,
    invalid_value,
    not_one_of,
    not_supported,
    required,
)
from tiphys.machinery.footprint import units
from tiphys.machinery.labelrules import validate_annotations, validate_labels

_PODS = "pods"


def of_workload(workload: Workload, old: Workload | None = None) -> list[FieldError]:
    problems = [*_asked(workload), *_decided(workload, old)]
    if old is not None:
        problems += _changed(workload, old)
    return problems


def _asked(workload: Workload) -> Iterator[FieldError]:
    """Of what it asks for."""
    variable = 0
    for index, pod_set in enumerate(workload.spec.pod_sets):
        yield from _pod_set(pod_set, f"spec.podSets[{index}]")
        variable += pod_set.min_count is not None
    if variable > 1:
        yield invalid_value("spec.podSets", variable, "at most one podSet can use minCount")


def _pod_set(pod_set: PodSet, path: str) -> Iterator[FieldError]:
    template = mapping(pod_set.template)
    template_path = f"{path}.template"
    meta = mapping(template, "metadata")
    yield from validate_labels(_texts(meta, "labels"), f"{template_path}.metadata.labels")
    yield from validate_annotations(
        _texts(meta, "annotations"), f"{template_path}.metadata.annotations"
    )
    spec = mapping(template, "spec")
    for field in ("initContainers", "containers"):
        for index, container in enumerate(items(spec, field)):
            where = f"{template_path}.spec.{field}[{index}].resources"
            yield from _resources(mapping(container, "resources"), where)
    yield from _resources(mapping(spec, "resources"), f"{template_path}.spec.resources")
    yield from _slices(pod_set.topology_request, f"{path}.topologyRequest")


def _texts(value: Any, field: str) -> dict[str, str]:
    """A map of texts, of a template that no server has validated."""
    return {key: text for key, text in mapping(value, field).items() if isinstance(text, str)}


def _resources(resources: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for field in ("requests", "limits"):
        for name, amount in mapping(resources, field).items():
            resource_path = f"{path}.{field}[{name}]"
            if name == _PODS:
                detail = "the key is reserved for internal kueue use"
                yield invalid_value(resource_path, name, detail)
            try:
                yield from natural(str(amount), resource_path)
            except ValueError:
                yield invalid_value(resource_path, amount, "must be a quantity")


def _slices(request: PodSetTopologyRequest | None, path: str) -> Iterator[FieldError]:
    if request is None:
        return
    topology = request.pod_set_slice_required_topology
    size = request.pod_set_slice_size
    where = f"{path}.podSetSliceSize"
    if topology is not None and size is None:
        yield required(where, "must be set when podSetSliceRequiredTopology is specified")
    if topology is None and size is not None:
        detail = "may not be set when podSetSliceRequiredTopology is not specified"
        yield forbidden_field(where, detail)


# --- what it was given ---


def _decided(workload: Workload, old: Workload | None) -> Iterator[FieldError]:
    if statuses.has(workload, statuses.QUOTA_RESERVED):
        yield from _admission(workload, old)
    yield from _reclaimable(workload)
    names = [one.name for one in workload.spec.pod_sets]
    for index, check in enumerate(workload.status.admission_checks):
        path = f"status.admissionChecks[{index}].podSetUpdates"
        yield from _updates(check, names, path)


def _reserves_nothing(workload: Workload | None) -> bool:
    """Whether a workload's status has the condition that it holds quota, but no admission."""
    return (
        workload is not None
        and statuses.has(workload, statuses.QUOTA_RESERVED)
        and workload.status.admission is None
    )


def _admission(workload: Workload, old: Workload | None) -> Iterator[FieldError]:
    admission = workload.status.admission
    path = "status.admission"
    if admission is None:
        if not _reserves_nothing(old):
            yield required(path, "must be set while the QuotaReserved condition is true")
        return
    names = {one.name for one in workload.spec.pod_sets}
    for index, assignment in enumerate(admission.pod_set_assignments):
        assignment_path = f"{path}.podSetAssignments[{index}]"
        if assignment.name not in names:
            yield field_not_found(f"{assignment_path}.name", assignment.name)
        count = assignment.count or 0
        for resource, amount in assignment.resource_usage.items():
            if count and units(resource, amount) % count:
                detail = f"is not a multiple of {count}"
                yield invalid_value(f"{assignment_path}.resourceUsage[{resource}]", amount, detail)


def _reclaimable(workload: Workload) -> Iterator[FieldError]:
    counts = {one.name: one.count for one in workload.spec.pod_sets}
    for reclaimable_pod in workload.status.reclaimable_pods:
        path = f"status.reclaimablePods[{reclaimable_pod.name}]"
        if reclaimable_pod.name not in counts:
            yield not_one_of(f"{path}.name", reclaimable_pod.name, list(counts))
        elif reclaimable_pod.count > counts[reclaimable_pod.name]:
            detail = f"should be less or equal to {counts[reclaimable_pod.name]}"
            yield invalid_value(f"{path}.count", reclaimable_pod.count, detail)


def _updates(check: AdmissionCheckState, names: Sequence[str], path: str) -> Iterator[FieldError]:
    for index, update in enumerate(check.pod_set_updates):
        update_path = f"{path}[{index}]"
        if update.name not in names:
            yield not_supported(f"{update_path}.name", update.name, names)
        yield from tolerations(update.tolerations, f"{update_path}.tolerations")
        yield from validate_annotations(update.annotations, f"{update_path}.annotations")
        yield from validate_labels(update.node_selector, f"{update_path}.nodeSelector")
        yield from validate_labels(update.labels, f"{update_path}.labels")


# --- what stays as it is ---


def _changed(new: Workload, old: Workload) -> Iterator[FieldError]:
    if statuses.has(old, statuses.QUOTA_RESERVED):
        yield from _same_pod_sets(new.spec.pod_sets, old.spec.pod_sets)
        if statuses.has(new, statuses.QUOTA_RESERVED):
            yield from _not_taken_back(new.status.reclaimable_pods, old.status.reclaimable_pods)
    yield from _same_admission(new.status.admission, old.status.admission)
    yield from _same_updates(new.status.admission_checks, old.status.admission_checks)
    cluster = new.status.cluster_name
    if old.status.cluster_name is None and cluster is not None:
        if cluster not in old.status.nominated_cluster_names:
            detail = "when setting clusterName it must be one of the nominatedClusterNames"
            yield invalid_value("status.clusterName", cluster, detail)


def _same_pod_sets(new: Sequence[PodSet], old: Sequence[PodSet]) -> Iterator[FieldError]:
    if len(new) != len(old):
        yield invalid_value("spec.podSets", new, IMMUTABLE)
        return
    for index, (after, before) in enumerate(zip(new, old, strict=True)):
        if after != before:
            yield invalid_value(f"spec.podSets.{index}", after, IMMUTABLE)


def _not_taken_back(
    new: Sequence[ReclaimablePod], old: Sequence[ReclaimablePod]
) -> Iterator[FieldError]:
    """Pods that are done stay done while the workload holds quota."""
    counts = {one.name: one.count for one in new}
    for before in old:
        path = f"status.reclaimablePods[{before.name}]"
        if before.name not in counts:
            yield required(path, "cannot be removed")
        elif counts[before.name] < before.count:
            detail = f"cannot be less than {before.count}"
            yield invalid_value(f"{path}.count", counts[before.name], detail)


def _same_admission(new: Admission | None, old: Admission | None) -> Iterator[FieldError]:
    """An admission is given or taken, and not changed, but for where pods go."""
    if new is None or old is None:
        return
    facts = [
        [(one.name, one.flavors, one.resource_usage, one.count) for one in of.pod_set_assignments]
        for of in (new, old)
    ]
    if new.cluster_queue != old.cluster_queue or facts[0] != facts[1]:
        yield invalid_value("status.admission", new, IMMUTABLE)


def _same_updates(
    new: Sequence[AdmissionCheckState], old: Sequence[AdmissionCheckState]
) -> Iterator[FieldError]:
    """What a check has requested for pods stays while it is Ready."""
    checks = {one.name: one for one in new}
    for index, before in enumerate(old):
        after = checks.get(before.name)
        if after is None or (after.state, before.state) != ("Ready", "Ready"):
            continue
        if after.pod_set_updates != before.pod_set_updates:
            path = f"status.admissionChecks[{index}].podSetUpdates"
            yield invalid_value(path, after.pod_set_updates, IMMUTABLE)
