"""LeaderWorkerSets in queues: each of their groups, a leader and its workers, is a workload of its
own, and its pods wait as a group. Pure, of plain data.

Source: the task "Run LeaderWorkerSet" and upstream's integration.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import AnyJob, Manifest, Part, dig, mapping, number
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.jobs.workloads import Priority, queue_of
from tiphys.addons.kueue.rules.jobs import text_of
from tiphys.addons.kueue.rules.quotas import IMMUTABLE
from tiphys.addons.kueue.rules.topologies import Grouped, of_annotations, of_groups
from tiphys.addons.kueue.serving import of_serving, same_shape
from tiphys.addons.kueue.types.workloads import PodSet, Workload, WorkloadSpec
from tiphys.api.catalog import Resource
from tiphys.api.core_v1 import Pod
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery.fielderrors import FieldError, invalid_value

RESOURCE = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet")
FRAMEWORK = "leaderworkerset.x-k8s.io/leaderworkerset"
_MOST_REPLICAS = 1_000_000

# What its controller writes on pods.
_DOMAIN = "leaderworkerset.sigs.k8s.io"
SET = f"{_DOMAIN}/name"
_GROUP_INDEX = f"{_DOMAIN}/group-index"
_WORKER_INDEX = f"{_DOMAIN}/worker-index"
_LEADER_NAME = f"{_DOMAIN}/leader-name"

_TEMPLATES = ("spec", "leaderWorkerTemplate")


# --- what it asks for ---


def parts_of(obj: Manifest) -> list[Part]:
    """The sets of pods of one group. Without a template for leaders they are one set."""
    template = mapping(obj, *_TEMPLATES)
    size = number(template.get("size"), 1)
    path = ".".join(_TEMPLATES)
    worker = mapping(template, "workerTemplate")
    worker_path = f"{path}.workerTemplate.metadata"
    leader = template.get("leaderTemplate")
    if not isinstance(leader, dict):
        return [Part("main", worker, size, path=worker_path)]
    return [
        Part("leader", leader, 1, path=f"{path}.leaderTemplate.metadata"),
        Part("worker", worker, size - 1, path=worker_path),
    ]


def groups_of(job: AnyJob) -> int:
    """How many groups have a workload: also those that a rolling update adds for a while."""
    spec = job.spec or {}
    status = job.status or {}
    wanted = number(spec.get("replicas"), 1)
    current = number(status.get("replicas"), 0)
    surge = _count(dig(spec, "rolloutStrategy", "rollingUpdateConfiguration", "maxSurge"))
    is_updating = number(status.get("updatedReplicas"), 0) < wanted
    return current if current > wanted and surge > 0 and is_updating else wanted


def _count(value: object) -> int:
    """A percentage counts as none here (upstream's IntValue)."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else 0
    return number(value, 0)


def workload_name(name: str, uid: str, index: str) -> str:
    """That of a group of a set."""
    return names.workload_name(RESOURCE.kind, RESOURCE.group, f"{name}-{index}", uid)


def workload_of(job: AnyJob, index: int, priority: Priority) -> Workload:
    """What a group asks for. It is the set's, and goes with it."""
    meta = job.metadata
    owner = OwnerReference(
        api_version=RESOURCE.api_version, kind=RESOURCE.kind, name=meta.name, uid=meta.uid
    )
    annotations = {
        names.IS_GROUP: "true",
        names.OWNER_KIND: f"{RESOURCE.api_version}, Kind={RESOURCE.kind}",
        names.OWNER_NAME: meta.name,
        names.COMPONENT_INDEX: str(index),
    }
    return Workload(
        metadata=ObjectMeta(
            name=workload_name(meta.name, meta.uid, str(index)),
            namespace=meta.namespace,
            labels={names.JOB_UID: meta.uid},
            annotations=annotations,
            owner_references=[owner],
        ),
        spec=WorkloadSpec(
            pod_sets=pod_sets_of(job),
            queue_name=queue_of(job),
            priority=priority.value,
            priority_class_ref=priority.reference,
        ),
    )


def pod_sets_of(job: AnyJob) -> list[PodSet]:
    return [
        PodSet(
            name=part.name,
            template=_without_its_own(part.template),
            count=part.size,
            topology_request=topology_request(
                part.template, "" if part.name == "leader" else _WORKER_INDEX
            ),
        )
        for part in parts_of({"spec": job.spec})
    ]


def _without_its_own(template: Manifest) -> Manifest:
    """What a set's controller writes differs from pod to pod."""
    kept = copy.deepcopy(template)
    for field in ("labels", "annotations"):
        for key in list(mapping(kept, "metadata", field)):
            if key.startswith(_DOMAIN) and key != SET:
                del kept["metadata"][field][key]
    return kept


# --- what its pods become ---


def templates_metadata(obj: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Its templates by their field, and what the metadata of each becomes, so that pods wait."""
    labels = mapping(obj, "metadata", "labels")
    handed_on = {key: labels[key] for key in (names.QUEUE, names.PRIORITY_CLASS) if labels.get(key)}
    for part in parts_of(obj):
        field = part.path.split(".")[2]
        if not isinstance(dig(obj, *_TEMPLATES, field), dict):
            continue  # the definition refuses it, in its own words
        meta = mapping(part.template, "metadata")
        annotations = mapping(meta, "annotations") | {
            names.PARENT: FRAMEWORK,
            names.POD_GROUP_SERVING: "true",
        }
        if part.name == "worker":
            annotations[names.POD_INDEX_OFFSET] = "1"  # the leader has index 0
        metadata = {
            **meta,
            "labels": mapping(meta, "labels") | handed_on,
            "annotations": annotations,
        }
        yield field, metadata


def is_of_a_set(annotations: Mapping[str, object]) -> bool:
    """Whether a pod waits because its set does, and its workload is the set's to make."""
    return annotations.get(names.PARENT) == FRAMEWORK


def membership(job: AnyJob, pod: Pod) -> dict[str, dict[str, str]] | None:
    """A patch of a pod's metadata with its group, once that is known; or None."""
    labels = pod.metadata.labels
    annotations = pod.metadata.annotations
    index = labels.get(_GROUP_INDEX)
    if index is None or names.POD_GROUP in labels:
        return None
    parts = parts_of({"spec": job.spec})
    is_worker = len(parts) == 1 or _LEADER_NAME in annotations
    return {
        "labels": {names.POD_GROUP: workload_name(job.metadata.name, job.metadata.uid, index)},
        "annotations": {
            names.POD_GROUP_COUNT: str(sum(part.size for part in parts)),
            names.ROLE: parts[-1 if is_worker else 0].name,
        },
    }


# --- what may be written ---


def of_leader_worker_set(new: Manifest, old: Manifest | None) -> list[FieldError]:
    violations = [*of_serving(new, old), *_replicas(new), *_nearness(new)]
    if old is not None and text_of(new, "labels", names.QUEUE):
        violations += _same_groups(new, old)
    return violations


def _replicas(obj: Manifest) -> Iterator[FieldError]:
    """The definition requires it as well; with another one, these have no workloads."""
    wanted = number(mapping(obj, "spec").get("replicas"), 1)
    bound = f"must be <= {_MOST_REPLICAS}" if wanted > _MOST_REPLICAS else "must be >= 0"
    if not 0 <= wanted <= _MOST_REPLICAS:
        detail = f"invalid LeaderWorkerSet replicas: {bound}, got {wanted}"
        yield invalid_value("spec.replicas", wanted, detail)


def _nearness(obj: Manifest) -> list[FieldError]:
    sets = [Grouped(_annotations_of(one.template), one.path, one.size) for one in parts_of(obj)]
    violations = [error for one in sets for error in of_annotations(*one)]
    return violations or list(of_groups(sets))


def _annotations_of(template: Manifest) -> dict[str, str]:
    annotations = mapping(template, "metadata", "annotations")
    return {key: text for key, text in annotations.items() if isinstance(text, str)}


def _same_groups(new: Manifest, old: Manifest) -> Iterator[FieldError]:
    """What quota was given for. How many groups there are may change: each has its own."""
    path = ".".join(_TEMPLATES)
    template = mapping(new, *_TEMPLATES)
    standing = mapping(old, *_TEMPLATES)
    for field in ("leaderTemplate", "workerTemplate"):
        new_template = template.get(field)
        other = standing.get(field)
        if isinstance(new_template, dict) and isinstance(other, dict):
            spec_path = f"{path}.{field}.spec"
            yield from same_shape(mapping(new_template, "spec"), mapping(other, "spec"), spec_path)
        elif new_template != other:
            yield invalid_value(f"{path}.{field}", new_template, IMMUTABLE)
    size = number(template.get("size"), 1)
    if size != number(standing.get("size"), 1):
        yield invalid_value(f"{path}.size", size, IMMUTABLE)
