"""The Workload of a job, and the job with what its workload was given. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import (
    AnyJob,
    JobKind,
    Manifest,
    Part,
    Placement,
    is_suspended,
    set_suspended,
)
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.types.quotas import ResourceFlavor
from tiphys.addons.kueue.types.workloads import (
    PodSet,
    PodSetTopologyRequest,
    PriorityClassRef,
    Workload,
    WorkloadSpec,
)
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference


class Priority(NamedTuple):
    """The priority of a job: its class and its value."""

    value: int
    reference: PriorityClassRef | None = None


class PlacementError(ValueError):
    """A flavor or a check wants something of the pods that contradicts their template."""


def metadata_of(job: AnyJob) -> Manifest:
    plain: Manifest = to_builtins(job.metadata)
    return plain


def parts_of(kind: JobKind, job: AnyJob) -> list[Part]:
    """The sets of pods of a job, on a copy of its spec."""
    return kind.parts(metadata_of(job), copy.deepcopy(job.spec or {}))


def queue_of(job: AnyJob) -> str:
    return job.metadata.labels.get(names.QUEUE, "")


def workload_of(kind: JobKind, job: AnyJob, priority: Priority) -> Workload:
    """What the job asks for."""
    meta = job.metadata
    owner = OwnerReference(
        api_version=kind.resource.api_version,
        kind=kind.kind,
        name=meta.name,
        uid=meta.uid,
        controller=True,
    )
    limit = meta.labels.get(names.MAX_SECONDS, "")
    return Workload(
        metadata=ObjectMeta(
            name=names.workload_name(kind.kind, kind.resource.group, meta.name, meta.uid),
            namespace=meta.namespace,
            labels={names.JOB_UID: meta.uid},
            owner_references=[owner],
        ),
        spec=WorkloadSpec(
            pod_sets=pod_sets_of(kind, job),
            queue_name=queue_of(job),
            priority=priority.value,
            priority_class_ref=priority.reference,
            maximum_execution_time_seconds=_seconds(limit),
        ),
    )


def _seconds(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        return None
    return int(text)


def pod_sets_of(kind: JobKind, job: AnyJob) -> list[PodSet]:
    return [
        PodSet(
            name=part.name,
            template=part.template,
            count=part.size,
            min_count=part.least,
            topology_request=topology_request(
                part.template, kind.index_label, kind.group_label, part.groups
            ),
        )
        for part in parts_of(kind, job)
    ]


def placements_of(workload: Workload, flavors: Mapping[str, ResourceFlavor]) -> list[Placement]:
    """Where the pods of an admitted workload go."""
    admission = workload.status.admission
    counts = {one.name: one.count for one in workload.spec.pod_sets}
    requests = {one.name: one.topology_request for one in workload.spec.pod_sets}
    placements = []
    for assignment in admission.pod_set_assignments if admission is not None else ():
        count = assignment.count if assignment.count is not None else counts.get(assignment.name, 1)
        placement = Placement(assignment.name, count, {}, [], {}, {})
        for name in dict.fromkeys(assignment.flavors.values()):
            flavor = flavors.get(name)
            if flavor is not None:
                placement.node_selector.update(flavor.spec.node_labels)
                placement.tolerations += to_builtins(flavor.spec.tolerations)
        if assignment.topology_assignment:
            _behind_gate(placement, workload, requests.get(assignment.name))
        for check in workload.status.admission_checks:
            for update in check.pod_set_updates:
                if update.name == assignment.name:
                    placement.node_selector.update(update.node_selector)
                    placement.tolerations += to_builtins(update.tolerations)
                    placement.labels.update(update.labels)
                    placement.annotations.update(update.annotations)
        placements.append(placement)
    return placements


def _behind_gate(
    placement: Placement, workload: Workload, request: PodSetTopologyRequest | None
) -> None:
    """Pods that a topology has places for get theirs once they exist."""
    placement.gates.append(names.TOPOLOGY_GATE)
    placement.labels[names.POD_SET] = placement.name
    placement.annotations[names.WORKLOAD] = workload.metadata.name
    is_asked_for = request is not None and (
        request.required or request.preferred or request.unconstrained is not None
    )
    if not is_asked_for:
        placement.annotations[names.UNCONSTRAINED_TOPOLOGY] = "true"


def started_spec(kind: JobKind, job: AnyJob, placements: list[Placement]) -> Manifest:
    """The spec with which the job runs. Raises PlacementError."""
    spec: Manifest = copy.deepcopy(job.spec)
    parts = kind.parts(metadata_of(job), spec)
    by_name = {placement.name: placement for placement in placements}
    for part in parts:
        placement = by_name.get(part.name)
        if placement is None:
            continue
        if kind.place is None:
            _place(part.template, placement)
        if part.set_count is not None and placement.count != part.size:
            part.set_count(placement.count)
    if kind.place is not None:
        kind.place(spec, placements)
    set_suspended(kind, spec, False)
    return spec


def _place(template: Manifest, placement: Placement) -> None:
    meta = template.setdefault("metadata", {})
    spec = template.setdefault("spec", {})
    for where, field, added in (
        (spec, "nodeSelector", placement.node_selector),
        (meta, "labels", placement.labels),
        (meta, "annotations", placement.annotations),
    ):
        if not added:
            continue
        standing = where.get(field) or {}
        for key, value in added.items():
            if standing.get(key, value) != value:
                raise PlacementError(
                    f"invalid admission check PodSetUpdate: conflict for {field}: conflict for "
                    f"key={key}, value1={standing[key]}, value2={value}"
                )
        where[field] = {**standing, **added}
    if placement.tolerations:
        standing = spec.get("tolerations") or []
        spec["tolerations"] = [*standing, *(t for t in placement.tolerations if t not in standing)]
    if placement.gates:
        gates = [{"name": gate} for gate in placement.gates]
        standing = spec.get("schedulingGates") or []
        spec["schedulingGates"] = [*standing, *(gate for gate in gates if gate not in standing)]


def stopped_spec(kind: JobKind, job: AnyJob) -> Manifest:
    spec: Manifest = copy.deepcopy(job.spec)
    set_suspended(kind, spec, True)
    return spec


def restored_spec(kind: JobKind, job: AnyJob, workload: Workload) -> Manifest:
    """The spec as its user wrote it: without what flavors added, with all its pods."""
    spec: Manifest = copy.deepcopy(job.spec)
    originals = {one.name: one for one in workload.spec.pod_sets}
    for part in kind.parts(metadata_of(job), spec):
        original = originals.get(part.name)
        if original is None or not isinstance(original.template, dict):
            continue
        if kind.place is None:
            _restore(part.template, original.template)
        if part.set_count is not None and part.size != original.count:
            part.set_count(original.count)
    if kind.place is not None:
        kind.place(spec, [])
    return spec


def _restore(template: Manifest, original: Manifest) -> None:
    for outer, fields in (
        ("metadata", ("labels", "annotations")),
        ("spec", ("nodeSelector", "tolerations", "schedulingGates")),
    ):
        was = original.get(outer) or {}
        metadata = template.setdefault(outer, {})
        for field in fields:
            if was.get(field):
                metadata[field] = copy.deepcopy(was[field])
            else:
                metadata.pop(field, None)


def runs(kind: JobKind, job: AnyJob) -> bool:
    return not is_suspended(kind, job.spec or {})
