"""The defaults that schemas declare."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.machinery import errors, structural
from tiphys.machinery.errors import FieldError
from tiphys.machinery.rules import check_rules
from tiphys.machinery.structural import Schema

# What every object has has the server's own defaults.
_META = ("apiVersion", "kind", "metadata")


def default_errors(
    facts: dict[str, Any], schema: Schema, path: str, root: bool = False
) -> list[FieldError]:
    """Defaults must be what their own schema allows. `facts` is a schema as it is published,
    `schema` the same compiled, `path` where it is in the definition."""
    violations: list[FieldError] = []
    if facts.get("default") is not None:
        value = facts["default"]
        field = f"{path}.default"
        pruned = copy.deepcopy(value)
        structural.prune(pruned, schema)
        if pruned != value:
            violations.append(errors.invalid_value(field, value, "must not have unknown fields"))
        invalid = structural.validate(value, schema, field)
        if invalid:
            violations += [_relative(error, field) for error in invalid]
        else:  # rules are for values that their schema allows
            violations += check_rules(value, schema, field, value)
    if isinstance(facts.get("items"), dict) and schema.items is not None:
        violations += default_errors(facts["items"], schema.items, f"{path}.items")
    for name, inner in (facts.get("properties") or {}).items():
        if name in schema.properties and not (root and name in _META):
            violations += default_errors(
                inner, schema.properties[name], f"{path}.properties[{name}]"
            )
    return violations


def _relative(error: FieldError, path: str) -> FieldError:
    """Upstream's messages about defaults have the path of the default."""

    def detail() -> str:
        return error.detail.replace(f"{path}.", "").replace(f"{path} in body", " in body")

    return FieldError(error.reason, error.field, detail)
