"""Validating admission policies: what their expressions get wrong about the types they are
about."""

from __future__ import annotations

import copy
import functools
import itertools
from typing import Any

from tiphys.api.admissionregistration_v1 import (
    ExpressionWarning,
    TypeChecking,
    ValidatingAdmissionPolicy,
)
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct, to_builtins
from tiphys.api.catalog import BY_PATH
from tiphys.controllers.shell import Controller
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.fitting import DYN
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import ANYTHING, Schema, compile_schema

_DEPTH = 12  # of nested structs; some types contain themselves
_SCALARS = {
    "string": "string",
    "int32": "integer",
    "int64": "integer",
    "bool": "boolean",
    "float": "number",
}
_VARIABLES = ("request", "authorizer", "params", "namespaceObject", "variables")


# --- types as schemas ---


@functools.lru_cache(256)
def schema_of_type(kind: type[Struct], depth: int = 0) -> Schema:
    """A declared type as a schema that expressions can be checked against."""
    if depth > _DEPTH:
        return ANYTHING
    properties = {name: _schema(field, depth + 1) for name, field in fields_of(kind).items()}
    return Schema({}, type="object", properties=properties)


def _schema(field: Field, depth: int) -> Schema:
    if field.kind == "struct":
        return schema_of_type(field.item, depth)
    if field.kind == "list":
        return Schema({}, type="array", items=_schema(field.item, depth))
    if field.kind == "dict":
        return Schema({}, type="object", additional=_schema(field.item, depth))
    if field.kind in ("time", "microtime"):
        return Schema({"format": "date-time"}, type="string")
    is_either = field.kind in ("intorstring", "quantity")
    return Schema({}, type=_SCALARS.get(field.kind, ""), int_or_string=is_either)


# --- warnings ---


def warnings_of(
    policy: ValidatingAdmissionPolicy, schemas: dict[str, Schema]
) -> list[ExpressionWarning]:
    """One warning for each expression that is wrong about any kind; `schemas` are those of the
    kinds that the policy is about, by name."""
    warnings = []
    for index, validation in enumerate(policy.spec.validations):
        path = f"spec.validations[{index}]"
        expressions = (
            (f"{path}.expression", validation.expression, "bool"),
            (f"{path}.messageExpression", validation.message_expression, "string"),
        )
        for field, text, wanted in expressions:
            if not text:
                continue
            errors = _errors(text, wanted, schemas)
            if errors:
                warnings.append(ExpressionWarning(field_ref=field, warning="\n".join(errors)))
    return warnings


def _errors(text: str, wanted: str, schemas: dict[str, Schema]) -> list[str]:
    """What is wrong about an expression, a line for each kind; `wanted` is the type it should
    have."""
    errors = []
    for name, schema in sorted(schemas.items()):
        kind = type_of(schema)
        types: dict[str, Type] = {**dict.fromkeys(_VARIABLES, DYN)}
        types |= {"object": kind, "oldObject": kind}
        try:
            check(text, types, wanted)
        except CelError as error:
            errors.append(f"{name}: {error}")
    return errors


# --- the shell ---


class PolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status"
    workers = 1

    def watch(self) -> None:
        self._policies = self.informer(ValidatingAdmissionPolicy)
        self._definitions = self.informer(CustomResourceDefinition)
        self._policies.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if new is not None and not _is_checked(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        policy = self._policies.get(key)
        if policy is None or _is_checked(policy):
            return None
        warnings = warnings_of(policy, self._schemas(policy))
        status = copy.copy(policy.status)
        status.observed_generation = policy.metadata.generation
        status.type_checking = TypeChecking(expression_warnings=warnings)
        await self.write_status(policy, status)
        return None

    def _schemas(self, policy: ValidatingAdmissionPolicy) -> dict[str, Schema]:
        """The kinds that a policy names without wildcards, each with its schema."""
        constraints = policy.spec.match_constraints
        if constraints is None:
            return {}
        schemas: dict[str, Schema] = {}
        for rule in constraints.resource_rules:
            named = itertools.product(rule.api_groups, rule.api_versions, rule.resources)
            for group, version, plural in named:
                schemas |= self._schema(group, version, plural)
        return schemas

    def _schema(self, group: str, version: str, plural: str) -> dict[str, Schema]:
        """A resource's kind with its schema; empty for one that is not known."""
        api_version = f"{group}/{version}" if group else version
        resource = BY_PATH.get((group, version, plural))
        if resource is not None:
            return {f"{api_version}, Kind={resource.kind}": schema_of_type(resource.type)}
        definition = self._definitions.get(f"{plural}.{group}")
        if definition is None:
            return {}
        for served in definition.spec.versions:
            if served.name != version or served.schema is None:
                continue
            declared = served.schema.open_apiv3_schema
            if declared:
                name = f"{api_version}, Kind={definition.spec.names.kind}"
                return {name: compile_schema(to_builtins(declared))}
        return {}


def _is_checked(policy: ValidatingAdmissionPolicy) -> bool:
    """Whether the policy was checked as it is now."""
    return policy.status.observed_generation == policy.metadata.generation
