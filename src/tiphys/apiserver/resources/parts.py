"""What of an object its subresources may change: (new, old) to old with just that changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.apiserver.resources.podresize import resized
from tiphys.machinery import errors


def _finalize(new: Any, old: Any) -> Any:
    kept = copy.deepcopy(old)
    kept.spec.finalizers = new.spec.finalizers
    kept.metadata.resource_version = new.metadata.resource_version
    return kept


def _approval(new: Any, old: Any) -> Any:
    new.spec = old.spec
    conditions, new.status = new.status.conditions, copy.deepcopy(old.status)
    new.status.conditions = conditions
    return new


def _ephemeral(new: Any, old: Any) -> Any:
    kept = copy.deepcopy(old)
    kept.metadata.resource_version = new.metadata.resource_version
    kept.spec.ephemeral_containers = new.spec.ephemeral_containers
    before = {c.name: c for c in old.spec.ephemeral_containers}
    for name, container in before.items():
        match = next((c for c in new.spec.ephemeral_containers if c.name == name), None)
        if match is None or match.image != container.image:
            why = [
                errors.forbidden_field(
                    "spec.ephemeralContainers",
                    'existing ephemeral containers "' + name + '" may not be removed\n'
                    if match is None
                    else "existing ephemeral containers may not be changed",
                )
            ]
            raise errors.invalid("Pod", "", old.metadata.name, why)
    return kept


PARTS: dict[str, Callable[[Any, Any], Any]] = {
    "finalize": _finalize,
    "approval": _approval,
    "ephemeralcontainers": _ephemeral,
    "resize": resized,
}
