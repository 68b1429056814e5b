"""Deployments and StatefulSets in queues: their pods wait, those of a Deployment each on its own,
those of a StatefulSet as a group that begins with the first of them. Pure, of plain data.

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
    made = {**meta, "labels": labels}
    return {**made, "annotations": annotations} if annotations else made


# --- what may change ---


def of_serving(new: Manifest, old: Manifest | None) -> list[FieldError]:
    queue = text_of(new, "labels", names.QUEUE)
    problems = dns_subdomain_errors(queue) if queue else []
    found = [invalid_value(_QUEUE, queue, ",".join(problems))] if problems else []
    if old is None:
        return found
    is_idle = not number(mapping(old, "status").get("readyReplicas"), 0)
    if queue != text_of(old, "labels", names.QUEUE) and not (is_idle and queue):
        found.append(invalid_value(_QUEUE, queue, IMMUTABLE))
    found += _priority_class(new, old, is_idle)
    if new.get("kind") == STATEFUL_SET and queue:
        found += [*_same_shape(new, old), *_replicas(new, old)]
    return found


def _priority_class(new: Manifest, old: Manifest, is_idle: bool) -> Iterator[FieldError]:
    is_, was = (text_of(one, "labels", names.PRIORITY_CLASS) for one in (new, old))
    if is_ and not was and not is_idle:
        detail = "WorkloadPriorityClass cannot be added to a non-suspended workload"
        yield invalid_value(_CLASS, is_, detail)
    if was and not is_:
        yield invalid_value(_CLASS, "", "WorkloadPriorityClass cannot be removed from a workload")


def _same_shape(new: Manifest, old: Manifest) -> Iterator[FieldError]:
    """What scheduling looks at: quota was given for that."""
    shapes = [shape_of(mapping(one, "spec", "template", "spec")) for one in (new, old)]
    for field, value in shapes[0].items():
        if value != shapes[1][field]:
            yield invalid_value(f"spec.template.spec.{field}", value, IMMUTABLE)


def _replicas(new: Manifest, old: Manifest) -> Iterator[FieldError]:
    """A group is of so many, or of none."""
    is_, was = (number(mapping(one, "spec").get("replicas"), 1) for one in (new, old))
    if is_ and was and is_ != was:
        yield invalid_value("spec.replicas", is_, IMMUTABLE)
    if is_ and not was and number(mapping(new, "status").get("replicas"), 0):
        yield forbidden_field("spec.replicas", "scaling down is still in progress")
