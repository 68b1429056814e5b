"""Mirror pods: they show what a node runs by itself."""

from __future__ import annotations

from tiphys.api.core_v1 import Pod
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.podrefs import MIRROR

_FIELD = f"metadata.annotations[{MIRROR}]"


def mirror_errors(pod: Pod) -> list[FieldError]:
    """A mirror belongs to a node from the start."""
    value = pod.metadata.annotations.get(MIRROR)
    if value is None or pod.spec.node_name:
        return []
    detail = "must set spec.nodeName if mirror pod annotation is set"
    return [errors.invalid_value(_FIELD, value, detail)]


def mirror_update_errors(new: Pod, old: Pod) -> list[FieldError]:
    """A pod is a mirror or it is none, for good: admission treats the two differently."""
    before = old.metadata.annotations.get(MIRROR)
    if new.metadata.annotations.get(MIRROR) == before:
        return []
    change = "add" if before is None else "remove or update"
    return [errors.forbidden_field(_FIELD, f"may not {change} mirror pod annotation")]
