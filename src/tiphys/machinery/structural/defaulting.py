"""What is missing and has a default is filled in."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.machinery.structural.schema import Schema


def apply_defaults(value: Any, schema: Schema) -> None:
    """Fills in, in place, what is missing and has a default. Nulls that the schema does not allow
    count as missing."""
    if not schema.has_defaults:
        return
    if isinstance(value, dict):
        _apply_defaults_to_fields(value, schema)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if item is None and _replaces_null(schema.items):
                value[index] = copy.deepcopy(schema.items.default)
            apply_defaults(value[index], schema.items)


def _apply_defaults_to_fields(value: dict[str, Any], schema: Schema) -> None:
    for name, inner in schema.properties.items():
        is_missing = name not in value or (value[name] is None and not inner.nullable)
        if inner.has_default and is_missing:
            value[name] = copy.deepcopy(inner.default)
        if inner.has_defaults and isinstance(value.get(name), dict | list):
            apply_defaults(value[name], inner)
    additional = schema.additional
    if additional is None or not additional.has_defaults:
        return
    for name, item in value.items():
        if name in schema.properties:
            continue
        if item is None and _replaces_null(additional):
            value[name] = copy.deepcopy(additional.default)
        apply_defaults(value[name], additional)


def _replaces_null(schema: Schema) -> bool:
    return schema.has_default and not schema.nullable
