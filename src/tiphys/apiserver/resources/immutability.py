"""ConfigMaps and Secrets that are marked as immutable."""

from __future__ import annotations

from tiphys.api.core_v1 import ConfigMap, Secret
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_DETAIL = "field is immutable when `immutable` is set"


def immutability_errors(
    new: ConfigMap | Secret, old: ConfigMap | Secret, fields: dict[str, str]
) -> list[FieldError]:
    """What was changed of an object that is immutable in `old`. `fields`: attribute → JSON
    name."""
    if not old.immutable:
        return []
    violations = []
    if not new.immutable:
        violations.append(errors.forbidden_field("immutable", _DETAIL))
    for attribute, name in fields.items():
        if getattr(new, attribute) != getattr(old, attribute):
            violations.append(errors.forbidden_field(name, _DETAIL))
    return violations
