"""Structural schemas: every field has a type that is declared once, outside of allOf and its kin.

Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/validation.go` and
`complete.go`. `facts` is a schema as it is published, `path` where it is in the definition.
"""

from __future__ import annotations

from typing import Any

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.regexp import RegexpError, compiled

_JUNCTORS = ("allOf", "anyOf", "oneOf")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
# Where a schema is, in the words of the error about its type.
_PLACES = {
    "root": "at the root",
    "item": "for specified array items",
    "field": "for specified object fields",
}
_EMBEDDED = "if x-kubernetes-embedded-resource is"


def structure_errors(facts: dict[str, Any], path: str) -> list[FieldError]:
    """What keeps the schema of a version from being structural."""
    return [*_invariants(facts, path, "root"), *_completeness(facts, facts, path, path)]


def _invariants(facts: dict[str, Any], path: str, level: str) -> list[FieldError]:
    """`level`: "root", "item" or "field"."""
    violations = _inner_invariants(facts, path, level)
    if facts.get("x-kubernetes-int-or-string"):
        violations += _int_or_string(facts, path)
    is_either = facts.get("anyOf") == _INT_OR_STRING
    first: dict[str, Any] = next(iter(facts.get("allOf") or ()), {})
    violations += _values(facts, path, is_either, first.get("anyOf") == _INT_OR_STRING)
    violations += _type_invariants(facts, path, level)
    embedded = bool(facts.get("x-kubernetes-embedded-resource"))
    properties = facts.get("properties") or {}
    is_root = level == "root"
    violations += _meta_invariants(properties, path, is_root or embedded, is_root)
    if embedded and not facts.get("x-kubernetes-preserve-unknown-fields") and not properties:
        detail = f"must not be empty {_EMBEDDED} true without x-kubernetes-preserve-unknown-fields"
        violations.append(errors.required(f"{path}.properties", detail))
    return violations


def _inner_invariants(facts: dict[str, Any], path: str, level: str) -> list[FieldError]:
    """Of the schemas of items and fields."""
    violations = []
    items = facts.get("items")
    extra = facts.get("additionalProperties")
    if facts.get("type") == "array" and items is None:
        violations.append(errors.required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        violations += _invariants(items, f"{path}.items", "item")
    for name, inner in (facts.get("properties") or {}).items():
        violations += _invariants(inner, f"{path}.properties[{name}]", "field")
    if extra is not None and level == "root":
        field = f"{path}.additionalProperties"
        violations.append(errors.forbidden_field(field, "must not be used at the root"))
    if isinstance(extra, dict):
        violations += _invariants(extra, f"{path}.additionalProperties", "field")
    return violations


def _int_or_string(facts: dict[str, Any], path: str) -> list[FieldError]:
    detail = "must be false if x-kubernetes-int-or-string is true"
    return [
        errors.invalid_value(f"{path}.x-kubernetes-{other}", True, detail)
        for other in ("preserve-unknown-fields", "embedded-resource")
        if facts.get(f"x-kubernetes-{other}")
    ]


def _type_invariants(facts: dict[str, Any], path: str, level: str) -> list[FieldError]:
    violations = []
    kind = facts.get("type", "")
    field = f"{path}.type"
    embedded = facts.get("x-kubernetes-embedded-resource")
    may_be_anything = facts.get("x-kubernetes-int-or-string") or facts.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if embedded and kind != "object":
        detail = f"must be object {_EMBEDDED} true"
        if kind:
            violations.append(errors.invalid_value(field, kind, detail))
        else:
            violations.append(errors.required(field, detail))
    elif not kind and not may_be_anything:
        violations.append(errors.required(field, f"must not be empty {_PLACES[level]}"))
    if embedded and facts.get("additionalProperties") is not None:
        detail = f"must not be used {_EMBEDDED} set"
        violations.append(errors.forbidden_field(f"{path}.additionalProperties", detail))
    if level == "root" and kind and kind != "object":
        violations.append(errors.invalid_value(field, kind, "must be object at the root"))
    return violations


def _meta_invariants(
    properties: dict[str, Any], path: str, checked: bool, root: bool
) -> list[FieldError]:
    """What a schema may declare of the fields that every object has."""
    violations = []
    for name in ("kind", "apiVersion"):
        if checked and name in properties and properties[name].get("type") != "string":
            shown = properties[name].get("type", "")
            violations.append(
                errors.invalid_value(f"{path}.properties[{name}].type", shown, "must be string")
            )
    meta = properties.get("metadata")
    field = f"{path}.properties[metadata]"
    if meta is None:
        return violations
    if checked and meta.get("type") != "object":
        violations.append(
            errors.invalid_value(f"{field}.type", meta.get("type", ""), "must be object")
        )
    declared = {key for key, value in meta.items() if key not in ("type", "default") and value}
    names = set(meta.get("properties") or {})
    if root and (declared - {"properties"} or not names <= {"name", "generateName"}):
        detail = (
            "must not specify anything other than name and generateName, but metadata"
            " is implicitly specified"
        )
        violations.append(errors.forbidden_field(field, detail))
    return violations


def _values(
    facts: dict[str, Any], path: str, is_either: bool, is_either_first: bool = False
) -> list[FieldError]:
    """Below allOf and its kin are rules on values alone: the fields are declared outside.
    Excepted is how a field declares that it is a number or a string: by its anyOf (`is_either`), or
    that of the first of its allOf (`is_either_first`)."""
    violations = []
    for key in _JUNCTORS:
        for index, inner in enumerate(facts.get(key) or ()):
            if key == "anyOf" and is_either:
                continue
            excepted = key == "allOf" and index == 0 and is_either_first
            violations += _nested(inner, f"{path}.{key}[{index}]", excepted)
    if facts.get("not"):
        violations += _nested(facts["not"], f"{path}.not")
    if facts.get("pattern"):
        try:
            compiled(facts["pattern"])
        except RegexpError as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            violations.append(errors.invalid_value(f"{path}.pattern", facts["pattern"], detail))
    return violations


_NOTHING_ELSE = (
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("x-kubernetes-preserve-unknown-fields", "false"),
    ("x-kubernetes-embedded-resource", "false"),
    ("x-kubernetes-int-or-string", "false"),
    ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-map-type", "undefined"),
    ("x-kubernetes-validations", "empty"),
)


def _nested(facts: dict[str, Any], path: str, is_either: bool = False) -> list[FieldError]:
    violations = _values(facts, path, is_either)
    if isinstance(facts.get("items"), dict):
        violations += _nested(facts["items"], f"{path}.items")
    for name, inner in (facts.get("properties") or {}).items():
        violations += _nested(inner, f"{path}.properties[{name}]")
    for key, wanted in _NOTHING_ELSE:
        value = facts.get(key)
        if value is not None and (value or wanted == "undefined"):
            violations.append(
                errors.forbidden_field(f"{path}.{key}", f"must be {wanted} to be structural")
            )
    if "metadata" in (facts.get("properties") or {}):
        detail = "must not be specified in a nested context"
        violations.append(errors.forbidden_field(f"{path}.properties[metadata]", detail))
    return violations


def _completeness(values: dict[str, Any], facts: Any, field: str, path: str) -> list[FieldError]:
    """Whether the fields in the root's allOf and its kin are declared outside."""
    violations = []
    for key in _JUNCTORS:
        for index, inner in enumerate(values.get(key) or ()):
            violations += _declared(inner, facts, field, f"{path}.{key}[{index}]")
    if values.get("not"):
        violations += _declared(values["not"], facts, field, f"{path}.not")
    return violations


def _declared(values: dict[str, Any], facts: Any, field: str, path: str) -> list[FieldError]:
    if not isinstance(facts, dict):
        return [errors.required(field, f"because it is defined in {path}")]
    violations = _completeness(values, facts, field, path)
    if isinstance(values.get("items"), dict):
        violations += _declared(
            values["items"], facts.get("items"), f"{field}.items", f"{path}.items"
        )
    for name, inner in (values.get("properties") or {}).items():
        step = f"properties[{name}]"
        outer = (facts.get("properties") or {}).get(name)
        violations += _declared(inner, outer, f"{field}.{step}", f"{path}.{step}")
    return violations
