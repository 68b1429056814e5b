"""Pods that are resized in place: what may change, and what of a request for it counts."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.podrefs import MIRROR

_RESIZABLE = frozenset(("cpu", "memory"))
_ONLY = "only cpu and memory resources are mutable"


def resized(new: v1.Pod, old: v1.Pod) -> v1.Pod:
    """`old` with the resources of `new` as a whole, and those and the resize policies of its
    containers; nothing else of a resize counts. One that has other containers stays as it is, for
    `resize_errors` to refuse it."""
    groups = [
        (new.spec.containers, old.spec.containers),
        (new.spec.init_containers, old.spec.init_containers),
    ]
    if any(_names(now) != _names(before) for now, before in groups):
        return new
    kept = copy.deepcopy(old)
    kept.metadata.resource_version = new.metadata.resource_version
    kept.spec.resources = new.spec.resources
    for own, asked in (
        (kept.spec.containers, new.spec.containers),
        (kept.spec.init_containers, new.spec.init_containers),
    ):
        for container, wanted in zip(own, asked, strict=True):
            container.resources = wanted.resources
            container.resize_policy = wanted.resize_policy
    return kept


def _names(containers: list[v1.Container]) -> list[str]:
    return [container.name for container in containers]


def resize_errors(new: v1.Pod, old: v1.Pod, quality: str) -> list[FieldError]:
    """`quality` is the quality-of-service class that the new resources would give the pod."""
    if MIRROR in old.metadata.annotations:
        return [errors.forbidden_field("", "static pods cannot be resized")]
    violations: list[FieldError] = []
    if quality != old.status.qos_class:
        detail = "Pod QOS Class may not change as a result of resizing"
        violations.append(errors.invalid_value("spec", old.status.qos_class, detail))
    statuses = [*old.status.container_statuses, *old.status.init_container_statuses]
    if old.status.phase == "Running" and not any(
        status.resources is not None for status in statuses
    ):
        violations.append(
            errors.forbidden_field("spec", "Pod running on node without support for resize")
        )
    violations += _pod_errors(new.spec.resources, old.spec.resources)
    groups = (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    )
    if others := [error for group in groups for error in _order_errors(*group)]:
        return violations + others
    for name, now, before in groups:
        for index, (container, was) in enumerate(zip(now, before, strict=True)):
            violations += _container_errors(container, was, f"spec.{name}[{index}].resources")
            if name == "initContainers":
                violations += _init_errors(container, was, f"spec.{name}[{index}]")
            elif _fixed_of(container) != _fixed_of(was):
                violations.append(errors.forbidden_field("spec", _ONLY))
    return violations


def _order_errors(
    name: str, now: list[v1.Container], before: list[v1.Container]
) -> Iterator[FieldError]:
    """Containers stay the same ones, in their order."""
    if len(now) != len(before):
        detail = f"{name} may not be added or removed on resize"
        yield errors.forbidden_field(f"spec.{name}", detail)
        return
    for index, (container, was) in enumerate(zip(now, before, strict=True)):
        if container.name != was.name:
            detail = f"{name} may not be renamed or reordered on resize"
            yield errors.forbidden_field(f"spec.{name}[{index}].name", detail)


def _init_errors(new: v1.Container, old: v1.Container, path: str) -> Iterator[FieldError]:
    if _fixed_of(new) != _fixed_of(old):
        detail = "only cpu and memory resources for init or sidecar containers are mutable"
        yield errors.forbidden_field(path, detail)
    restarts = any(policy.restart_policy == "RestartContainer" for policy in new.resize_policy)
    if new.resources != old.resources and old.restart_policy != "Always" and restarts:
        detail = (
            "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
        )
        yield errors.forbidden_field(path, detail)


def _fixed_of(container: v1.Container) -> tuple[Any, ...]:
    """What of a container a resize may not change, of what it could."""
    return (*_fixed(container.resources), container.resize_policy)


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


def _container_errors(new: v1.Container, old: v1.Container, path: str) -> Iterator[FieldError]:
    for name in ("requests", "limits"):
        now = getattr(new.resources, name)
        before = getattr(old.resources, name)
        if (before.keys() - now.keys()) & _RESIZABLE:
            yield errors.forbidden_field(f"{path}.{name}", f"resource {name} cannot be removed")
