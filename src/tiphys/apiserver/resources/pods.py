"""Pods, and the templates of them."""

from __future__ import annotations

import time
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.registry.metadata import validate_labels
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.poddefaults import default_pod_spec
from tiphys.apiserver.resources.podplacement import validate_tolerations
from tiphys.apiserver.resources.podresize import resize_errors
from tiphys.apiserver.resources.podspec import validate_pod_spec, validate_template
from tiphys.apiserver.resources.podupdates import update_errors
from tiphys.machinery import errors, quantity, timestamps
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors
from tiphys.store.cache import Selectable


def qos_class(spec: v1.PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' requests and limits of cpu and memory."""
    guaranteed, anything = True, False
    for container in [*spec.containers, *spec.init_containers]:
        for name in ("cpu", "memory"):
            request, limit = (
                container.resources.requests.get(name),
                container.resources.limits.get(name),
            )
            anything = anything or bool(
                (request and quantity.nano(request)) or (limit and quantity.nano(limit))
            )
            if (
                not limit
                or not quantity.nano(limit)
                or (request and quantity.nano(request) != quantity.nano(limit))
            ):
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


class PodStrategy(Strategy):
    generation = True
    fields = (
        Selectable("spec.nodeName"),
        Selectable("spec.restartPolicy"),
        Selectable("spec.schedulerName"),
        Selectable("spec.serviceAccountName"),
        Selectable("spec.hostNetwork", "false"),
        Selectable("status.phase"),
        Selectable("status.podIP"),
        Selectable("status.nominatedNodeName"),
    )

    def default(self, obj: v1.Pod) -> None:
        default_pod_spec(obj.spec)
        grace = obj.spec.termination_grace_period_seconds
        if grace is not None and grace < 0:
            obj.spec.termination_grace_period_seconds = 1  # as upstream reads and writes pods

    def prepare_for_create(self, obj: v1.Pod) -> None:
        obj.status = v1.PodStatus(phase="Pending", qos_class=qos_class(obj.spec))
        if obj.spec.scheduling_gates:
            why = "Scheduling is blocked due to non-empty scheduling gates"
            gated = v1.PodCondition(
                type="PodScheduled", status="False", reason="SchedulingGated", message=why
            )
            gated.last_transition_time = timestamps.rfc3339(time.time())
            obj.status.conditions = [gated]

    def prepare_for_status(self, new: v1.Pod, old: v1.Pod) -> None:
        new.spec = old.spec
        new.metadata.owner_references = old.metadata.owner_references
        new.status.qos_class = old.status.qos_class or new.status.qos_class

    def validate(self, obj: v1.Pod) -> list[FieldError]:
        found = _mirror_errors(obj) + validate_pod_spec(obj.spec, "spec")
        if obj.spec.ephemeral_containers:
            found.append(
                errors.forbidden_field("spec.ephemeralContainers", "cannot be set on create")
            )
        return found

    def validate_change(self, new: v1.Pod, old: v1.Pod) -> list[FieldError]:
        return (
            _mirror_changes(new, old)
            + validate_pod_spec(new.spec, "spec")
            + self.validate_update(new, old)
        )

    def validate_status(self, new: v1.Pod, old: v1.Pod) -> list[FieldError]:
        return _mirror_changes(new, old)

    def validate_part(self, new: v1.Pod, old: v1.Pod, subresource: str) -> list[FieldError]:
        found = _mirror_changes(new, old) + validate_pod_spec(new.spec, "spec")
        return found + (
            resize_errors(new, old, qos_class(new.spec)) if subresource == "resize" else []
        )

    def validate_update(self, new: v1.Pod, old: v1.Pod) -> list[FieldError]:
        return update_errors(new.spec, old.spec)

    def grace(self, obj: v1.Pod, asked: int | None) -> int | None:
        meta, spec = obj.metadata, obj.spec
        grace = asked if asked is not None else spec.termination_grace_period_seconds
        grace = 30 if grace is None else max(grace, 1) if grace < 0 else min(grace, (1 << 31) - 1)
        if not spec.node_name or obj.status.phase in ("Failed", "Succeeded"):
            grace = 0
        if meta.deletion_timestamp and meta.deletion_grace_period_seconds is not None:
            grace = min(grace, meta.deletion_grace_period_seconds)
        return grace


MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a pod that shows what a node runs by itself."""


def _mirror_errors(pod: v1.Pod) -> list[FieldError]:
    if MIRROR not in pod.metadata.annotations or pod.spec.node_name:
        return []
    why = "must set spec.nodeName if mirror pod annotation is set"
    return [
        errors.invalid_value(
            f"metadata.annotations[{MIRROR}]", pod.metadata.annotations[MIRROR], why
        )
    ]


def _mirror_changes(new: v1.Pod, old: v1.Pod) -> list[FieldError]:
    """A pod is a mirror or it is none, for good: admission treats the two differently."""
    now, before = new.metadata.annotations.get(MIRROR), old.metadata.annotations.get(MIRROR)
    if now == before:
        return []
    why = (
        "may not add mirror pod annotation"
        if before is None
        else "may not remove or update mirror pod annotation"
    )
    return [errors.forbidden_field(f"metadata.annotations[{MIRROR}]", why)]


class PodTemplateStrategy(Strategy):
    def default(self, obj: Any) -> None:
        default_pod_spec(obj.template.spec, template=True)

    def validate(self, obj: Any) -> list[FieldError]:
        return validate_template(obj.template, "template")

    generation = True

    def desired(self, obj: Any) -> Any:
        return obj.template


class RuntimeClassStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        found = [
            errors.invalid_value("handler", obj.handler, why)
            for why in dns_label_errors(obj.handler)
        ]
        if obj.overhead is not None:
            found += checks.amounts(obj.overhead.pod_fixed, "overhead.limits")
        if obj.scheduling is not None:
            found += validate_labels(obj.scheduling.node_selector, "scheduling.nodeSelector")
            found += validate_tolerations(obj.scheduling.tolerations, "scheduling.tolerations")
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("handler", new.handler, old.handler)
