"""What becomes of jobs and pods when they are created: they wait. Pure; operations of JSON patches
for plain objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tiphys.addons.kueue import names
from tiphys.addons.kueue.clusternodes import is_placed_by_topology
from tiphys.addons.kueue.jobs.kinds import kind_of
from tiphys.addons.kueue.jobs.parts import JobKind, Manifest, dig, is_suspended, mapping
from tiphys.addons.kueue.leaderworkersets import RESOURCE as LEADER_WORKER_SET
from tiphys.addons.kueue.leaderworkersets import (
    is_of_a_set,
    of_leader_worker_set,
    templates_metadata,
)
from tiphys.addons.kueue.pods import role_of
from tiphys.addons.kueue.rules.jobs import of_changed_job, of_new_job, text_of
from tiphys.addons.kueue.rules.pods import of_new_pod
from tiphys.addons.kueue.serving import of_serving, template_metadata
from tiphys.addons.reviews import Verdict, denied, object_of
from tiphys.api import admission_v1
from tiphys.machinery.fielderrors import FieldError

Operations = list[dict[str, Any]]
HasDefault = Callable[[str], bool]
"""Whether a namespace has a queue for those that name none."""


def review_job(request: admission_v1.AdmissionRequest, has_default: HasDefault) -> Verdict:
    """A job is created stopped, with the queue it is in. Raises Refused."""
    job: Manifest = object_of(request)
    kind = kind_of(str(job.get("apiVersion", "")), str(job.get("kind", "")))
    if kind is None or _has_owner_in_line(job):
        return Verdict()
    if request.operation == "UPDATE":
        old = mapping(request.old_object)
        _refuse(of_changed_job(kind, job, old, has_default))
        return Verdict()
    operations: Operations = []
    labels = mapping(job, "metadata", "labels")
    if not labels.get(names.QUEUE):
        if not has_default(request.namespace):
            return Verdict()
        labels = {**labels, names.QUEUE: names.DEFAULT_QUEUE}
        operations.append(_set("/metadata/labels", labels))
    queued_job = {**job, "metadata": {**mapping(job, "metadata"), "labels": labels}}
    _refuse(of_new_job(kind, queued_job))
    spec = mapping(job, "spec")
    if not is_suspended(kind, spec):
        operations += _suspended(kind, spec)
    return Verdict(operations + _counted_after_the_launcher(kind, spec))


def _has_owner_in_line(obj: Manifest) -> bool:
    """Whether it is the part of a job that waits itself."""
    owners = dig(obj, "metadata", "ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller"):
            named = kind_of(str(owner.get("apiVersion", "")), str(owner.get("kind", "")))
            return named is not None
    return False


def _suspended(kind: JobKind, spec: Manifest) -> Operations:
    *above, name = kind.suspend
    if not above:
        return [_set(f"/spec/{name}", True)]
    return [_set(f"/spec/{above[0]}", {**mapping(spec, *above), name: True})]


def _counted_after_the_launcher(kind: JobKind, spec: Manifest) -> Operations:
    """Where an MPIJob's launcher is a worker, too, it has index 0: the others start at 1."""
    replicas = mapping(spec, "mpiReplicaSpecs")
    template = dig(replicas, "Worker", "template")
    is_counted = spec.get("runLauncherAsWorker") is True and "Launcher" in replicas
    if kind.kind != "MPIJob" or not is_counted or not isinstance(template, dict):
        return []
    meta = mapping(template, "metadata")
    annotations = {**mapping(meta, "annotations"), names.POD_INDEX_OFFSET: "1"}
    path = "/spec/mpiReplicaSpecs/Worker/template/metadata"
    return [_set(path, {**meta, "annotations": annotations})]


def _refuse(problems: Sequence[FieldError]) -> None:
    if problems:
        raise denied(problems)


def review_pod(request: admission_v1.AdmissionRequest) -> Verdict:
    """A pod of a queue waits behind a gate, unless its job waits for it. Raises Refused."""
    pod: Manifest = object_of(request)
    labels, annotations = (mapping(pod, "metadata", one) for one in ("labels", "annotations"))
    if not labels.get(names.QUEUE) or _has_owner_in_line(pod):
        return Verdict()
    _refuse(of_new_pod(pod))
    spec = mapping(pod, "spec")
    ours = [names.GATE, *([names.TOPOLOGY_GATE] if is_placed_by_topology(annotations) else [])]
    gates = [one for one in spec.get("schedulingGates") or () if one.get("name") not in ours]
    role = {} if is_of_a_set(annotations) else {names.ROLE: role_of(spec)}
    operations = [
        _set("/metadata/labels", {**labels, names.MANAGED: "true"}),
        _set("/metadata/annotations", {**annotations, **role}),
        _set("/spec/schedulingGates", [*gates, *({"name": gate} for gate in ours)]),
    ]
    return Verdict(operations)


def review_serving(request: admission_v1.AdmissionRequest) -> Verdict:
    """Pods of a Deployment, a StatefulSet or a LeaderWorkerSet wait in its queue. Raises
    Refused."""
    obj: Manifest = object_of(request)
    old = request.old_object if isinstance(request.old_object, dict) else None
    if _has_owner_in_line(obj):
        return Verdict()
    if obj.get("kind") == LEADER_WORKER_SET.kind:
        return _review_leader_worker_set(obj, old)
    _refuse(of_serving(obj, old))
    if not text_of(obj, "labels", names.QUEUE):
        return Verdict()
    metadata = template_metadata(obj)
    if metadata == mapping(obj, "spec", "template", "metadata"):
        return Verdict()
    return Verdict([_set("/spec/template/metadata", metadata)])


def _review_leader_worker_set(obj: Manifest, old: Manifest | None) -> Verdict:
    _refuse(of_leader_worker_set(obj, old))
    if not text_of(obj, "labels", names.QUEUE):
        return Verdict()
    return Verdict(
        [
            _set(f"/spec/leaderWorkerTemplate/{template}/metadata", metadata)
            for template, metadata in templates_metadata(obj)
        ]
    )


def _set(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}
