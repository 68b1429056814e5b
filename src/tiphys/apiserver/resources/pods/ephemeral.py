"""Ephemeral containers, which are added to a running pod."""

from __future__ import annotations

import copy

from tiphys.api.core_v1 import EphemeralContainer, Pod
from tiphys.machinery import errors


def with_ephemeral_containers(new: Pod, old: Pod) -> Pod:
    """`old` with the ephemeral containers of `new`. Raises 422 when one that is there would
    change or go."""
    containers = new.spec.ephemeral_containers
    by_name: dict[str, EphemeralContainer] = {}
    for container in containers:
        by_name.setdefault(container.name, container)
    for container in old.spec.ephemeral_containers:
        if detail := _why_refused(by_name.get(container.name), container):
            violation = errors.forbidden_field("spec.ephemeralContainers", detail)
            raise errors.invalid("Pod", "", old.metadata.name, [violation])
    changed = copy.deepcopy(old)
    changed.metadata.resource_version = new.metadata.resource_version
    changed.spec.ephemeral_containers = containers
    return changed


def _why_refused(new: EphemeralContainer | None, old: EphemeralContainer) -> str:
    if new is None:
        return f'existing ephemeral containers "{old.name}" may not be removed\n'
    if new.image != old.image:
        return "existing ephemeral containers may not be changed"
    return ""
