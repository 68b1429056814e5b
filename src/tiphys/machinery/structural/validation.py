"""The rules of a schema that an object breaks."""

from __future__ import annotations

import itertools
from typing import Any

from tiphys.machinery.errors import FieldError, not_supported, required
from tiphys.machinery.fielderrors import ENOUGH, field_path
from tiphys.machinery.keywords import enum_texts
from tiphys.machinery.structural.embedded import embedded_errors
from tiphys.machinery.structural.lists import correlated, list_errors
from tiphys.machinery.structural.schema import UNSET, Schema
from tiphys.machinery.structural.types import type_errors, without_field, wrong_type


def validate(value: Any, schema: Schema, path: str = "", old: Any = UNSET) -> list[FieldError]:
    """Every broken rule, or `ENOUGH` of them. With `old`, what did not change since is not judged
    again (ratcheting)."""
    if old is not UNSET and value == old:
        return []
    if value is None:
        return _null_errors(schema, path)
    errors = type_errors(value, schema, path)
    for check in schema.checks:
        error = check(value, path)
        if error is not None:
            errors.append(error)
    for keyword, schemas in schema.branches:
        errors += _branch_errors(keyword, schemas, value, path)
    if isinstance(value, dict):
        errors += _field_errors(value, schema, path, old)
    elif isinstance(value, list) and schema.items is not None:
        old_items = correlated(value, old, schema)
        for index, item in enumerate(value):
            errors += validate(item, schema.items, f"{path}[{index}]", old_items[index])
            if len(errors) > ENOUGH:
                return errors
        errors += list_errors(value, schema, path)
    return errors


def _null_errors(schema: Schema, path: str) -> list[FieldError]:
    if schema.type and not schema.nullable:
        return [wrong_type(path, "null", schema)]
    allowed = schema.facts.get("enum")
    if allowed and None not in allowed:
        return [
            FieldError(
                "FieldValueNotSupported",
                path,
                lambda: not_supported(path, None, enum_texts(allowed)).detail,
            )
        ]
    return []


def _field_errors(value: dict[str, Any], schema: Schema, path: str, old: Any) -> list[FieldError]:
    errors = [required(field_path(path, name)) for name in schema.required if name not in value]
    old_fields = old if isinstance(old, dict) else {}
    for key, item in value.items():
        inner = schema.child(key)
        if inner is not None:
            errors += validate(item, inner, field_path(path, key), old_fields.get(key, UNSET))
        if len(errors) > ENOUGH:
            return errors
    if schema.embedded:
        errors += embedded_errors(value, path)
    return errors


def _branch_errors(
    keyword: str, schemas: tuple[Schema, ...], value: Any, path: str
) -> list[FieldError]:
    """Upstream reports the schema that came closest, and then that none did."""
    results = [validate(value, schema, path) for schema in schemas]
    valid = sum(not errors for errors in results)
    match keyword:
        case "allOf" if valid < len(results):
            suffix = "" if valid else ". None validated"
            summary = without_field(f'"{path}" must validate all the schemas (allOf){suffix}')
            return [*itertools.chain(*results), summary]
        case "anyOf" if not valid:
            summary = without_field(f'"{path}" must validate at least one schema (anyOf)')
            return [*min(results, key=len), summary]
        case "oneOf" if valid != 1:
            closest = [] if valid else min(results, key=len)
            count = f"Found {valid} valid alternatives" if valid else "Found none valid"
            summary = without_field(
                f'"{path}" must validate one and only one schema (oneOf). {count}'
            )
            return [*closest, summary]
        case "not" if valid:
            return [without_field(f'"{path}" must not validate the schema (not)')]
    return []
