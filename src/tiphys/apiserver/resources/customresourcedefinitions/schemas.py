"""The rules of the schemas that CustomResourceDefinitions declare: structural ones, and nothing
that they cannot mean.

Source: upstream's validation of definitions, of structural schemas and of their defaults.
`facts` is a schema as it is published, `path` where it is in the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tiphys.apiserver.http.request import warn
from tiphys.apiserver.resources.customresourcedefinitions.defaults import default_errors
from tiphys.apiserver.resources.customresourcedefinitions.lists import merge_errors
from tiphys.apiserver.resources.customresourcedefinitions.ruleshapes import rule_shape_errors
from tiphys.apiserver.resources.customresourcedefinitions.structure import structure_errors
from tiphys.machinery import errors, structural
from tiphys.machinery.errors import FieldError
from tiphys.machinery.formats import FORMATS
from tiphys.machinery.rules import RuleCosts, node_errors
from tiphys.machinery.structural import Schema

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META = ("apiVersion", "kind", "metadata")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# Beside a status subresource the root has nothing that would be lost when the status' schema is
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
_UNSUPPORTED = (
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
)
# With one of these there is no structural schema to check; the errors about them come from
# elsewhere.
_UNBUILT = (*_UNSUPPORTED, "$schema")
_NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def schema_errors(facts: dict[str, Any], path: str, has_status: bool) -> list[FieldError]:
    """Everything that is wrong with the schema of a version."""
    violations = _root_errors(facts, path, has_status)
    costs: RuleCosts | None = None
    schema = None
    unbuilt = _unbuilt(facts)
    broken = [] if unbuilt else structure_errors(facts, path)
    if broken:
        violations += sorted(broken, key=str)
    elif not unbuilt:
        compiled = structural.compile_schema(facts)
        wrong_defaults = default_errors(facts, compiled, path, root=True)
        violations += wrong_defaults
        if not wrong_defaults:
            schema = compiled
            costs = RuleCosts()
    violations += _openapi(facts, path, _Node(schema, costs, 1), root=True).all()
    if costs is not None:
        violations += costs.total_errors(path)
    if unbuilt and not violations:
        detail = f"OpenAPIV3Schema '{unbuilt.lstrip('$')}' is not supported"
        violations.append(errors.invalid_value(path, "", detail))
    if not violations:
        _warn_of_formats(facts)
    return violations


def _unbuilt(facts: dict[str, Any]) -> str:
    """What keeps a schema from being a structural one at all; "" if nothing does."""
    for inner in _walk(facts):
        for name in _UNBUILT:
            if inner.get(name):
                return name
    return ""


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
    for inner in _walk(facts):
        name = inner.get("format")
        kind = inner.get("type", "string")
        known = _NUMBERS.get(kind, ()) if kind != "string" else FORMATS
        if name and name not in known:
            warn(f'unrecognized format "{name}"')


def _walk(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield facts
    for inner in (facts.get("properties") or {}).values():
        yield from _walk(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(facts.get(key), dict):
            yield from _walk(facts[key])


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
        is_map = facts.get("additionalProperties") is not None
        bound = 1 if facts.get("type") == "object" and not is_map else limit
        times = None
        if self.times is not None and bound is not None:
            times = self.times * int(bound)
        return replace(self, schema=schema, times=times)

    def apart(self, path: str) -> _Node:
        return self if self.uncorrelated else replace(self, uncorrelated=path)


@dataclass(slots=True)
class _Violations:
    """Errors of the schema, and those of rules in CEL, which are only checked where there are
    none of the others."""

    schema: list[FieldError]
    rules: list[FieldError]

    def add(self, other: _Violations) -> None:
        self.schema += other.schema
        self.rules += other.rules

    def all(self) -> list[FieldError]:
        return self.schema + self.rules


def _openapi(facts: dict[str, Any], path: str, node: _Node, root: bool = False) -> _Violations:
    violations = _Violations(_unsupported(facts, path, node), [])
    if facts.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        violations.schema.append(errors.forbidden_field(f"{path}.uniqueItems", detail))
    for inner in _below(facts, path, node, root):
        violations.add(inner)
    if facts.get("x-kubernetes-preserve-unknown-fields") is False:
        field = f"{path}.x-kubernetes-preserve-unknown-fields"
        violations.schema.append(errors.invalid_value(field, False, "must be true or undefined"))
    violations.schema += merge_errors(facts, path)
    rules = facts.get("x-kubernetes-validations") or []
    for index, rule in enumerate(rules):
        field = f"{path}.x-kubernetes-validations[{index}]"
        violations.schema += rule_shape_errors(rule, facts, field)
    schema = node.schema
    if rules and not violations.schema and schema is not None and node.costs is not None:
        violations.rules += node_errors(
            schema, path, node.times, node.uncorrelated, node.costs, root
        )
    return violations


def _below(facts: dict[str, Any], path: str, node: _Node, root: bool) -> Iterator[_Violations]:
    """Of the schemas inside of this one, in upstream's order."""
    schema = node.schema
    if facts.get("additionalProperties") is not None:
        yield _additional(facts, path, node)
    for name, inner in (facts.get("properties") or {}).items():
        below = node.below(schema.properties.get(name) if schema is not None else None, facts)
        if (root or facts.get("x-kubernetes-embedded-resource")) and name in _META:
            below = replace(below, in_meta=True)
            if root:
                below = replace(below, forbidden=f"in top-level {name}")
        yield _openapi(inner, f"{path}.properties[{name}]", below)
    nowhere = replace(node, schema=None)
    for key in _JUNCTORS:
        for index, inner in enumerate(facts.get(key) or ()):
            yield _openapi(inner, f"{path}.{key}[{index}]", nowhere)
    if facts.get("not"):
        yield _openapi(facts["not"], f"{path}.not", nowhere)
    if isinstance(facts.get("items"), dict):
        below = node.below(schema.items if schema is not None else None, facts)
        if facts.get("x-kubernetes-list-type") != "map":
            below = below.apart(path)
        yield _openapi(facts["items"], f"{path}.items", below)


def _additional(facts: dict[str, Any], path: str, node: _Node) -> _Violations:
    extra = facts["additionalProperties"]
    field = f"{path}.additionalProperties"
    violations = _Violations([], [])
    if facts.get("properties") and extra is not True:
        detail = "additionalProperties and properties are mutual exclusive"
        violations.schema.append(errors.forbidden_field(field, detail))
    if isinstance(extra, dict):
        below = node.below(node.schema.additional if node.schema is not None else None, facts)
        if node.in_meta:
            forbidden = "inside additionalProperties applying to object metadata"
            below = replace(below, forbidden=forbidden)
        violations.add(_openapi(extra, field, below))
    return violations


def _unsupported(facts: dict[str, Any], path: str, node: _Node) -> list[FieldError]:
    violations = []
    kind = facts.get("type")
    if kind and kind not in _TYPES:
        violations.append(errors.not_supported(f"{path}.type", kind, _TYPES))
    if facts.get("default") is not None and node.forbidden is not None:
        violations.append(
            errors.forbidden_field(f"{path}.default", f"must not be set {node.forbidden}")
        )
    for key in _UNSUPPORTED:
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
