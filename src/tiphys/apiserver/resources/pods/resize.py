"""Pods that are resized in place: what may change, and what of a request for it counts."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_RESIZABLE = frozenset(("cpu", "memory"))
_ONLY = "only cpu and memory resources are mutable"


def resized(new: v1.Pod, old: v1.Pod) -> v1.Pod:
    """`old` with the resources of `new` as a whole, and those and the resize policies of its
    containers; nothing else of a resize counts."""
    kept = copy.deepcopy(old)
    kept.metadata.resource_version = new.metadata.resource_version
    kept.spec.resources = new.spec.resources
    pairs: tuple[tuple[list[Any], list[Any]], ...] = (
        (kept.spec.containers, new.spec.containers),
        (kept.spec.init_containers, new.spec.init_containers),
    )
    for containers, asked in pairs:
        wanted = {container.name: container for container in asked}
        for container in containers:
            if container.name in wanted:
                container.resources = wanted[container.name].resources
                container.resize_policy = wanted[container.name].resize_policy
    return kept


def resize_errors(new: v1.Pod, old: v1.Pod, quality: str) -> list[FieldError]:
    """`quality` is the quality-of-service class that the new resources would give the pod."""
    violations: list[FieldError] = []
    if quality != old.status.qos_class:
        detail = "Pod QOS Class may not change as a result of resizing"
        violations.append(errors.invalid_value("spec", old.status.qos_class, detail))
    told = [*old.status.container_statuses, *old.status.init_container_statuses]
    if old.status.phase == "Running" and not any(status.resources is not None for status in told):
        violations.append(
            errors.forbidden_field("spec", "Pod running on node without support for resize")
        )
    if "kubernetes.io/config.mirror" in old.metadata.annotations:
        violations.append(errors.forbidden_field("spec", "static pods cannot be resized"))
    violations += _pod_errors(new.spec.resources, old.spec.resources)
    groups: tuple[tuple[str, list[Any], list[Any]], ...] = (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    )
    for name, now, before in groups:
        for index, (container, was) in enumerate(zip(now, before, strict=True)):
            if container.resources != was.resources:
                if name == "initContainers" and was.restart_policy != "Always":
                    detail = "resources for non-sidecar init containers are immutable"
                    violations.append(
                        errors.forbidden_field(f"spec.{name}[{index}].resources", detail)
                    )
                violations += _container_errors(container, was, f"spec.{name}[{index}].resources")
            if container.resize_policy != was.resize_policy:
                violations.append(errors.forbidden_field("spec", _ONLY))
    return violations


def _pod_errors(
    new: v1.ResourceRequirements | None, old: v1.ResourceRequirements | None
) -> list[FieldError]:
    """Of resources that the pod asks for as a whole."""
    if new is None and old is None:
        return []
    if new is None:
        return [errors.forbidden_field("spec.resources", "pod-level resources cannot be removed")]
    before = old or v1.ResourceRequirements()
    violations = []
    if before.requests.keys() - new.requests.keys():
        detail = "pod-level resource requests cannot be removed"
        violations.append(errors.forbidden_field("spec.resources.requests", detail))
    if before.limits.keys() - new.limits.keys():
        detail = "pod-level resource limits cannot be removed"
        violations.append(errors.forbidden_field("spec.resources.limits", detail))
    if _fixed(new) != _fixed(before):
        detail = "only cpu and memory resources are mutable at pod-level"
        violations.append(errors.forbidden_field("spec", detail))
    return violations


def _fixed(resources: v1.ResourceRequirements) -> tuple[Any, ...]:
    """What of them a resize may not change."""
    lists = (resources.requests, resources.limits)
    kept = ({k: v for k, v in each.items() if k not in _RESIZABLE} for each in lists)
    return (*kept, resources.claims)


def _container_errors(new: Any, old: Any, path: str) -> list[FieldError]:
    violations = []
    for name in ("requests", "limits"):
        now = getattr(new.resources, name)
        before = getattr(old.resources, name)
        if (before.keys() - now.keys()) & _RESIZABLE:
            violations.append(
                errors.forbidden_field(f"{path}.{name}", f"resource {name} cannot be removed")
            )
        if {k: v for k, v in now.items() if k not in _RESIZABLE} != {
            k: v for k, v in before.items() if k not in _RESIZABLE
        }:
            violations.append(errors.forbidden_field("spec", _ONLY))
    if new.resources.claims != old.resources.claims:
        violations.append(errors.forbidden_field("spec", _ONLY))
    return violations
