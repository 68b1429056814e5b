"""The rules of the schemas that CustomResourceDefinitions declare: structural ones, and nothing
that they cannot mean.

Source: upstream's validation of definitions, of structural schemas and of their defaults.
`facts` is a schema as it is published, `path` where it stands in the definition.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tiphys.apiserver.http.request import warn
from tiphys.machinery import errors, structural
from tiphys.machinery.errors import FieldError
from tiphys.machinery.formats import FORMATS
from tiphys.machinery.jsonpath import PathError, schema_path
from tiphys.machinery.regexp import RegexpError, compiled
from tiphys.machinery.rules import RuleCosts, check_rules, node_errors
from tiphys.machinery.structural import Schema

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META = ("apiVersion", "kind", "metadata")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# Beside a status subresource the root says nothing that would be lost when the status' schema is
# taken out of it.
_BESIDE_STATUS = frozenset(
    (
        "description",
        "type",
        "format",
        "title",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "multipleOf",
        "required",
        "items",
        "properties",
        "externalDocs",
        "example",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
)
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
# With one of these there is no structural schema to look at; the errors about them come from
# elsewhere.
_UNBUILT = (
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
    "$schema",
)
_NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_BREAK = re.compile(r"[\n\r]")


def schema_errors(facts: dict[str, Any], path: str, has_status: bool) -> list[FieldError]:
    """Everything that is wrong with the schema of a version."""
    violations = _root_errors(facts, path, has_status)
    costs: RuleCosts | None = None
    schema = None
    unbuilt = next(
        (name for inner in _everywhere(facts) for name in _UNBUILT if inner.get(name)), None
    )
    broken = (
        []
        if unbuilt
        else [*_invariants(facts, path, "root"), *_completeness(facts, facts, path, path)]
    )
    if broken:
        violations += sorted(broken, key=str)
    elif not unbuilt:
        schema = structural.compile_schema(facts)
        defaults = _default_errors(facts, schema, path, root=True)
        violations += defaults
        costs = None if defaults else RuleCosts()
    about = _Node(schema if costs is not None else None, costs, 1)
    violations += _openapi(facts, path, about, root=True).all()
    if costs is not None:
        violations += costs.total_errors(path)
    if unbuilt and not violations:
        violations.append(
            errors.invalid_value(
                path, "", f"OpenAPIV3Schema '{unbuilt.lstrip('$')}' is not supported"
            )
        )
    if not violations:
        _warn_of_formats(facts)
    return violations


def _root_errors(facts: dict[str, Any], path: str, has_status: bool) -> list[FieldError]:
    violations = []
    if has_status:
        for name in facts:
            if name == "type" and facts[name] != "object":
                detail = (
                    'only "object" is allowed as the type at the root of the schema if the'
                    " status subresource is enabled"
                )
                violations.append(errors.invalid_value(f"{path}.type", facts[name], detail))
                break
            if name not in _BESIDE_STATUS:
                detail = (
                    "only some fields are allowed at the root of the schema if the status"
                    f" subresource is enabled, and not {name}"
                )
                violations.append(errors.invalid_value(path, facts, detail))
                break
    if facts.get("nullable"):
        violations.append(
            errors.forbidden_field(f"{path}.nullable", "nullable cannot be true at the root")
        )
    return violations


def _warn_of_formats(facts: dict[str, Any]) -> None:
    for inner in _everywhere(facts):
        name = inner.get("format")
        kind = inner.get("type", "string")
        known = _NUMBERS.get(kind, ()) if kind != "string" else FORMATS
        if name and name not in known:
            warn(f'unrecognized format "{name}"')


def _everywhere(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield facts
    for inner in (facts.get("properties") or {}).values():
        yield from _everywhere(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(facts.get(key), dict):
            yield from _everywhere(facts[key])


def _invariants(facts: dict[str, Any], path: str, level: str) -> list[FieldError]:
    """`level`: "root", "item" or "field"."""
    violations = []
    kind = facts.get("type", "")
    embedded = bool(facts.get("x-kubernetes-embedded-resource"))
    loose = facts.get("x-kubernetes-int-or-string")
    free = facts.get("x-kubernetes-preserve-unknown-fields")
    items = facts.get("items")
    extra = facts.get("additionalProperties")
    properties = facts.get("properties") or {}
    if kind == "array" and items is None:
        violations.append(errors.required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        violations += _invariants(items, f"{path}.items", "item")
    for name, inner in properties.items():
        violations += _invariants(inner, f"{path}.properties[{name}]", "field")
    if extra is not None:
        if level == "root":
            violations.append(
                errors.forbidden_field(
                    f"{path}.additionalProperties", "must not be used at the root"
                )
            )
        if isinstance(extra, dict):
            violations += _invariants(extra, f"{path}.additionalProperties", "field")
    for other in ("preserve-unknown-fields", "embedded-resource"):
        if loose and facts.get(f"x-kubernetes-{other}"):
            detail = "must be false if x-kubernetes-int-or-string is true"
            violations.append(errors.invalid_value(f"{path}.x-kubernetes-{other}", True, detail))
    violations += _values(facts, path)
    if embedded and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        field = f"{path}.type"
        violations.append(
            errors.invalid_value(field, kind, detail) if kind else errors.required(field, detail)
        )
    elif not kind and not loose and not free:
        place = {
            "root": "at the root",
            "item": "for specified array items",
            "field": "for specified object fields",
        }
        violations.append(errors.required(f"{path}.type", f"must not be empty {place[level]}"))
    if embedded and extra is not None:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        violations.append(errors.forbidden_field(f"{path}.additionalProperties", detail))
    if level == "root" and kind and kind != "object":
        violations.append(errors.invalid_value(f"{path}.type", kind, "must be object at the root"))
    violations += _meta_invariants(properties, path, level == "root" or embedded, level == "root")
    if embedded and not free and not properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without"
            " x-kubernetes-preserve-unknown-fields"
        )
        violations.append(errors.required(f"{path}.properties", detail))
    return violations


def _meta_invariants(
    properties: dict[str, Any], path: str, checked: bool, root: bool
) -> list[FieldError]:
    """What a schema may say of the fields that every object has."""
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
    said = {key for key, value in meta.items() if key not in ("type", "default") and value}
    names = set(meta.get("properties") or {})
    if root and (said - {"properties"} or not names <= {"name", "generateName"}):
        detail = (
            "must not specify anything other than name and generateName, but metadata"
            " is implicitly specified"
        )
        violations.append(errors.forbidden_field(field, detail))
    return violations


def _values(facts: dict[str, Any], path: str, first_is_known: bool = False) -> list[FieldError]:
    """Below allOf and its kin stand rules on values alone: what the fields are is said outside."""
    violations = []
    loose_any = first_is_known or facts.get("anyOf") == _INT_OR_STRING
    for key in _JUNCTORS:
        for index, inner in enumerate(facts.get(key) or ()):
            if key == "anyOf" and loose_any:
                continue
            known = key == "allOf" and index == 0 and inner.get("anyOf") == _INT_OR_STRING
            violations += _nested(inner, f"{path}.{key}[{index}]", known)
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


def _nested(facts: dict[str, Any], path: str, known: bool = False) -> list[FieldError]:
    violations = _values(facts, path, known)
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
    """Whether the fields that the root's allOf and its kin speak of are declared outside."""
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


def _default_errors(
    facts: dict[str, Any], schema: Schema, path: str, root: bool = False
) -> list[FieldError]:
    """Defaults must be what their own schema allows."""
    violations: list[FieldError] = []
    if facts.get("default") is not None:
        value = facts["default"]
        field = f"{path}.default"
        pruned = copy.deepcopy(value)
        structural.prune(pruned, schema)
        if pruned != value:
            violations.append(errors.invalid_value(field, value, "must not have unknown fields"))
        violations += [
            _relative(error, field) for error in structural.validate(value, schema, field)
        ] or check_rules(value, schema, field, value)
    if isinstance(facts.get("items"), dict) and schema.items is not None:
        violations += _default_errors(facts["items"], schema.items, f"{path}.items")
    for name, inner in (facts.get("properties") or {}).items():
        if name in schema.properties and not (root and name in _META):
            violations += _default_errors(
                inner, schema.properties[name], f"{path}.properties[{name}]"
            )
    return violations


def _relative(error: FieldError, path: str) -> FieldError:
    """Upstream's sentences about defaults begin where the default does."""
    return replace(
        error, detail=error.detail.replace(f"{path}.", "").replace(f"{path} in body", " in body")
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """Where in a schema the walk is. schema: for the rules in CEL, None where none are looked
    at; times: how often the value may be there, None if nothing bounds it; forbidden: why no
    defaults may be here; uncorrelated: the place above which does not tell which old value
    belongs to which new one."""

    schema: Schema | None
    costs: RuleCosts | None
    times: int | None
    forbidden: str | None = None
    in_meta: bool = False
    uncorrelated: str = ""

    def below(self, schema: Schema | None, facts: dict[str, Any]) -> _Node:
        limit = facts.get("maxItems" if facts.get("type") == "array" else "maxProperties")
        bound = (
            1
            if facts.get("type") == "object" and facts.get("additionalProperties") is None
            else limit
        )
        times = self.times * int(bound) if self.times is not None and bound is not None else None
        return replace(self, schema=schema, times=times)

    def apart(self, path: str) -> _Node:
        return self if self.uncorrelated else replace(self, uncorrelated=path)


@dataclass(slots=True)
class _Found:
    """Errors of the schema, and those of rules in CEL, which are only looked at where there are
    none of the others."""

    schema: list[FieldError]
    rules: list[FieldError]

    def add(self, other: _Found) -> None:
        self.schema += other.schema
        self.rules += other.rules

    def all(self) -> list[FieldError]:
        return self.schema + self.rules


def _openapi(facts: dict[str, Any], path: str, node: _Node, root: bool = False) -> _Found:
    found = _Found(_unsupported(facts, path, node), [])
    if facts.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.schema.append(errors.forbidden_field(f"{path}.uniqueItems", detail))
    schema = node.schema
    extra = facts.get("additionalProperties")
    if extra is not None:
        if facts.get("properties") and extra is not True:
            detail = "additionalProperties and properties are mutual exclusive"
            found.schema.append(errors.forbidden_field(f"{path}.additionalProperties", detail))
        if isinstance(extra, dict):
            below = node.below(schema.additional if schema is not None else None, facts)
            if node.in_meta:
                below = replace(
                    below, forbidden="inside additionalProperties applying to object metadata"
                )
            found.add(_openapi(extra, f"{path}.additionalProperties", below))
    for name, inner in (facts.get("properties") or {}).items():
        below = node.below(schema.properties.get(name) if schema is not None else None, facts)
        if (root or facts.get("x-kubernetes-embedded-resource")) and name in _META:
            below = replace(below, in_meta=True)
            if root:
                below = replace(below, forbidden=f"in top-level {name}")
        found.add(_openapi(inner, f"{path}.properties[{name}]", below))
    nowhere = replace(node, schema=None)
    for key in _JUNCTORS:
        for index, inner in enumerate(facts.get(key) or ()):
            found.add(_openapi(inner, f"{path}.{key}[{index}]", nowhere))
    if facts.get("not"):
        found.add(_openapi(facts["not"], f"{path}.not", nowhere))
    if isinstance(facts.get("items"), dict):
        below = node.below(schema.items if schema is not None else None, facts)
        if facts.get("x-kubernetes-list-type") != "map":
            below = below.apart(path)
        found.add(_openapi(facts["items"], f"{path}.items", below))
    if facts.get("x-kubernetes-preserve-unknown-fields") is False:
        field = f"{path}.x-kubernetes-preserve-unknown-fields"
        found.schema.append(errors.invalid_value(field, False, "must be true or undefined"))
    found.schema += _map_type(facts, path) + _list_type(facts, path) + _map_keys(facts, path)
    rules = facts.get("x-kubernetes-validations") or []
    for index, rule in enumerate(rules):
        found.schema += _rule_shape(rule, facts, f"{path}.x-kubernetes-validations[{index}]")
    if rules and not found.schema and schema is not None and node.costs is not None:
        found.rules += node_errors(schema, path, node.times, node.uncorrelated, node.costs, root)
    return found


def _unsupported(facts: dict[str, Any], path: str, node: _Node) -> list[FieldError]:
    violations = []
    kind = facts.get("type")
    if kind and kind not in _TYPES:
        violations.append(errors.not_supported(f"{path}.type", kind, _TYPES))
    if facts.get("default") is not None and node.forbidden is not None:
        violations.append(
            errors.forbidden_field(f"{path}.default", f"must not be set {node.forbidden}")
        )
    for key in (
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ):
        if facts.get(key) not in (None, "", {}):
            violations.append(errors.forbidden_field(f"{path}.{key}", f"{key} is not supported"))
    if kind == "null":
        detail = "type cannot be set to null, use nullable as an alternative"
        violations.append(errors.forbidden_field(f"{path}.type", detail))
    if isinstance(facts.get("items"), list):
        detail = "items must be a schema object and not an array"
        violations.append(errors.forbidden_field(f"{path}.items", detail))
    if node.in_meta and facts.get("x-kubernetes-embedded-resource"):
        detail = "must not be used inside of resource meta"
        violations.append(errors.forbidden_field(f"{path}.x-kubernetes-embedded-resource", detail))
    return violations


def _of_type(facts: dict[str, Any], path: str, wanted: str, because: str) -> list[FieldError]:
    kind = facts.get("type", "")
    field = f"{path}.type"
    detail = f"must be {wanted} if {because} is specified"
    if kind == wanted:
        return []
    return [errors.invalid_value(field, kind, detail) if kind else errors.required(field, detail)]


def _map_type(facts: dict[str, Any], path: str) -> list[FieldError]:
    kind = facts.get("x-kubernetes-map-type")
    key = "x-kubernetes-map-type"
    if kind is None:
        return []
    violations = _of_type(facts, path, "object", key)
    if kind not in ("atomic", "granular"):
        violations.append(errors.not_supported(f"{path}.{key}", kind, ("atomic", "granular")))
    return violations


def _list_type(facts: dict[str, Any], path: str) -> list[FieldError]:
    kind = facts.get("x-kubernetes-list-type")
    keys = facts.get("x-kubernetes-list-map-keys") or []
    items = facts.get("items")
    field = f"{path}.x-kubernetes-list-type"
    violations = (
        _of_type(facts, path, "array", "x-kubernetes-list-type") if kind is not None else []
    )
    if kind == "set" and isinstance(items, dict) and not violations:
        detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
        listed = items.get("x-kubernetes-list-type")
        mapped = items.get("x-kubernetes-map-type")
        if items.get("type") == "array" and listed not in (None, "atomic"):
            violations.append(
                errors.invalid_value(f"{path}.items.x-kubernetes-list-type", listed, detail)
            )
        if items.get("type") == "object" and mapped != "atomic":
            violations.append(
                errors.invalid_value(f"{path}.items.x-kubernetes-map-type", listed, detail)
            )
    if kind not in (None, "atomic", "set", "map"):
        violations.append(errors.not_one_of(field, kind, ("atomic", "set", "map")))
    if keys and kind != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        violations.append(
            errors.invalid_value(field, kind, detail)
            if kind is not None
            else errors.required(field, detail)
        )
    return violations


def _map_keys(facts: dict[str, Any], path: str) -> list[FieldError]:
    """The keys by which the items of a list are told apart."""
    kind = facts.get("x-kubernetes-list-type")
    items = facts.get("items")
    if kind not in ("map", "set"):
        return []
    keys, field, violations = (
        facts.get("x-kubernetes-list-map-keys") or [],
        f"{path}.x-kubernetes-list-map-keys",
        [],
    )
    if kind == "map":
        if not keys:
            violations.append(
                errors.required(field, "must not be empty if x-kubernetes-list-type is map")
            )
        if items is None:
            violations.append(
                errors.required(
                    f"{path}.items", "must have a schema if x-kubernetes-list-type is map"
                )
            )
    if not isinstance(items, dict):
        return violations
    if kind == "map":
        if items.get("type") != "object":
            detail = "must be object if parent array's x-kubernetes-list-type is map"
            violations.append(
                errors.invalid_value(f"{path}.items.type", items.get("type", ""), detail)
            )
        else:
            violations += _keys_of(items, keys, path, field)
    if items.get("nullable"):
        detail = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        violations.append(errors.forbidden_field(f"{path}.items.nullable", detail))
    for key in keys if kind == "map" else ():
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            continue
        subpath = f"{path}.items.properties[{key}]"
        told = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.get("required") or ()) and inner.get("default") is None:
            violations.append(
                errors.required(
                    f"{subpath}.default", f"{told} must have a default or be a required property"
                )
            )
        if inner.get("nullable"):
            violations.append(
                errors.forbidden_field(f"{subpath}.nullable", f"{told} cannot be nullable")
            )
    return violations


def _keys_of(items: dict[str, Any], keys: list[str], path: str, field: str) -> list[FieldError]:
    violations = []
    for index, key in enumerate(keys):
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            violations.append(
                errors.invalid_value(field, keys, "entries must all be names of item properties")
            )
        elif inner.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            violations.append(
                errors.invalid_value(f"{path}.items.properties[{key}].type", "object", detail)
            )
        if key in keys[:index]:
            violations.append(
                errors.invalid_value(field, keys, "must not contain duplicate entries")
            )
    return violations


def _rule_shape(rule: dict[str, Any], facts: dict[str, Any], path: str) -> list[FieldError]:
    """A rule apart from its expressions."""
    violations = []
    text = rule.get("rule", "")
    message = rule.get("message", "")
    field = rule.get("fieldPath", "")
    if not text.strip():
        violations.append(errors.required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        violations.append(
            errors.invalid_value(f"{path}.message", message, "must be non-empty if specified")
        )
    elif _BREAK.search(message.strip()):
        violations.append(
            errors.invalid_value(f"{path}.message", message, "must not contain line breaks")
        )
    elif _BREAK.search(text.strip()) and not message.strip():
        violations.append(
            errors.required(
                f"{path}.message", "message must be specified if rule contains line breaks"
            )
        )
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        violations.append(
            errors.required(
                f"{path}.messageExpression", "messageExpression must be non-empty if specified"
            )
        )
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        violations.append(errors.not_supported(f"{path}.reason", rule["reason"], _REASONS))
    if field and not field.strip():
        violations.append(
            errors.invalid_value(f"{path}.fieldPath", field, "must be non-empty if specified")
        )
    if _BREAK.search(field):
        violations.append(
            errors.invalid_value(f"{path}.fieldPath", field, "must not contain line breaks")
        )
    if field:
        try:
            schema_path(field, facts)
        except PathError:
            violations.append(
                errors.invalid_value(f"{path}.fieldPath", field, "must be a valid path")
            )
    return violations
