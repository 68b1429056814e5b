"""Deployments and StatefulSets in queues: their pods wait, those of a Deployment each on its own,
those of a StatefulSet as a group that starts with the first of them. Pure, of plain data.

Source: the tasks "Run Deployments" and "Run StatefulSets".
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import Manifest, mapping, number
from tiphys.addons.kueue.pods import shape_of
from tiphys.addons.kueue.rules.jobs import text_of
from tiphys.addons.kueue.rules.quotas import IMMUTABLE
from tiphys.machinery.fielderrors import FieldError, forbidden_field, invalid_value
from tiphys.machinery.names import dns_subdomain_errors

STATEFUL_SET = "StatefulSet"
_QUEUE = f"metadata.labels[{names.QUEUE}]"
_CLASS = f"metadata.labels[{names.PRIORITY_CLASS}]"


def group_of(name: str) -> str:
    """The group of a StatefulSet's pods, and their workload."""
    return names.workload_name(STATEFUL_SET, "apps", name, "")


def template_metadata(obj: Manifest) -> Manifest:
    """What the pods' metadata becomes, so that they wait."""
    meta = mapping(obj, "spec", "template", "metadata")
    labels = {**mapping(meta, "labels"), names.QUEUE: text_of(obj, "labels", names.QUEUE)}
    priority = text_of(obj, "labels", names.PRIORITY_CLASS)
    if priority:
        labels[names.PRIORITY_CLASS] = priority
    annotations = dict(mapping(meta, "annotations"))
    if obj.get("kind") == STATEFUL_SET:
        labels[names.POD_GROUP] = group_of(str(mapping(obj, "metadata").get("name", "")))
        replicas = number(mapping(obj, "spec").get("replicas"), 1)
        # With none there are no pods to say it of, and a group of none is none.
        annotations[names.POD_GROUP_COUNT] = str(max(replicas, 1))
        annotations[names.POD_GROUP_FAST] = "true"
        annotations[names.POD_GROUP_SERVING] = "true"
    labelled = {**meta, "labels": labels}
    return {**labelled, "annotations": annotations} if annotations else labelled


# --- what may change ---


def of_serving(new: Manifest, old: Manifest | None) -> list[FieldError]:
    """Of what has no end. What its kind has beside it is checked elsewhere, except for a
    StatefulSet."""
    queue = text_of(new, "labels", names.QUEUE)
    violations: list[FieldError] = []
    problems = dns_subdomain_errors(queue) if queue else []
    if problems:
        violations.append(invalid_value(_QUEUE, queue, ",".join(problems)))
    if old is None:
        return violations
    is_idle = not number(mapping(old, "status").get("readyReplicas"), 0)
    is_moved = queue != text_of(old, "labels", names.QUEUE)
    if is_moved and not (is_idle and queue):
        violations.append(invalid_value(_QUEUE, queue, IMMUTABLE))
    violations += _priority_class(new, old, is_idle)
    if new.get("kind") == STATEFUL_SET and queue:
        path = ("spec", "template", "spec")
        violations += same_shape(mapping(new, *path), mapping(old, *path), ".".join(path))
        violations += _replicas(new, old)
    return violations


def _priority_class(new: Manifest, old: Manifest, is_idle: bool) -> Iterator[FieldError]:
    wanted = text_of(new, "labels", names.PRIORITY_CLASS)
    standing = text_of(old, "labels", names.PRIORITY_CLASS)
    if wanted and not standing and not is_idle:
        detail = "WorkloadPriorityClass cannot be added to a non-suspended workload"
        yield invalid_value(_CLASS, wanted, detail)
    if standing and not wanted:
        yield invalid_value(_CLASS, "", "WorkloadPriorityClass cannot be removed from a workload")


def same_shape(new: Manifest, old: Manifest, path: str) -> Iterator[FieldError]:
    """What scheduling reads of a pod's spec: quota was reserved for that."""
    standing = shape_of(old)
    for field, value in shape_of(new).items():
        if value != standing[field]:
            yield invalid_value(f"{path}.{field}", value, IMMUTABLE)


def _replicas(new: Manifest, old: Manifest) -> Iterator[FieldError]:
    """A group is of so many, or of none."""
    wanted = number(mapping(new, "spec").get("replicas"), 1)
    standing = number(mapping(old, "spec").get("replicas"), 1)
    if wanted and standing and wanted != standing:
        yield invalid_value("spec.replicas", wanted, IMMUTABLE)
    still_there = number(mapping(new, "status").get("replicas"), 0)
    if wanted and not standing and still_there:
        yield forbidden_field("spec.replicas", "scaling down is still in progress")
