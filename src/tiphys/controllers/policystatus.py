"""Validating admission policies: what their expressions get wrong about the types they are about."""

from __future__ import annotations

import copy
import functools
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
from tiphys.machinery.cel.checker import DYN, check, type_of
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.schema import Field, fields_of
from tiphys.machinery.structural import ANYTHING, Schema, compile_schema

_DEPTH = 12


@functools.lru_cache(256)
def schema_of_type(kind: type[Struct], depth: int = 0) -> Schema:
    """A declared type as a schema that expressions can be checked against."""
    if depth > _DEPTH:
        return ANYTHING
    properties = {name: _schema(field, depth + 1) for name, field in fields_of(kind).items()}
    return Schema({}, type="object", properties=properties)


_SCALARS = {
    "string": "string",
    "int32": "integer",
    "int64": "integer",
    "bool": "boolean",
    "float": "number",
}


def _schema(field: Field, depth: int) -> Schema:
    if field.kind == "struct":
        return schema_of_type(field.item, depth)
    if field.kind == "list":
        return Schema({}, type="array", items=_schema(field.item, depth))
    if field.kind == "dict":
        return Schema({}, type="object", additional=_schema(field.item, depth))
    if field.kind in ("time", "microtime"):
        return Schema({"format": "date-time"}, type="string")
    return Schema(
        {},
        type=_SCALARS.get(field.kind, ""),
        int_or_string=field.kind in ("intorstring", "quantity"),
    )


def warnings_of(
    policy: ValidatingAdmissionPolicy, schemas: dict[str, Schema]
) -> list[ExpressionWarning]:
    """One warning for each expression that is wrong; `schemas` are those of the kinds it is about, by name."""
    found = []
    for index, validation in enumerate(policy.spec.validations):
        rows = (
            (f"spec.validations[{index}].expression", validation.expression, "bool"),
            (
                f"spec.validations[{index}].messageExpression",
                validation.message_expression,
                "string",
            ),
        )
        for where, text, wanted in rows:
            told = [
                line
                for name, schema in sorted(schemas.items())
                if (line := _wrong(name, schema, text, wanted))
            ]
            if told:
                found.append(ExpressionWarning(field_ref=where, warning="\n".join(told)))
    return found


def _wrong(name: str, schema: Schema, text: str, wanted: str) -> str:
    if not text:
        return ""
    seen = type_of(schema)
    known: dict[str, Type] = dict.fromkeys(
        ("request", "authorizer", "params", "namespaceObject", "variables"), DYN
    )
    try:
        check(text, {**known, "object": seen, "oldObject": seen}, wanted)
    except CelError as error:
        return f"{name}: {error}"
    return ""


class PolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status"
    workers = 1

    def watch(self) -> None:
        self._policies = self.informer(ValidatingAdmissionPolicy)
        self._definitions = self.informer(CustomResourceDefinition)
        self._policies.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if new is not None and new.status.observed_generation != new.metadata.generation:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        policy = self._policies.get(key)
        if policy is None or policy.status.observed_generation == policy.metadata.generation:
            return None
        changed = copy.deepcopy(policy)
        changed.status.observed_generation = policy.metadata.generation
        changed.status.type_checking = TypeChecking(
            expression_warnings=warnings_of(policy, self._schemas(policy))
        )
        await self.client.update_status(changed)
        return None

    def _schemas(self, policy: ValidatingAdmissionPolicy) -> dict[str, Schema]:
        """The kinds a policy names without wildcards, each with its schema."""
        found: dict[str, Schema] = {}
        constraints = policy.spec.match_constraints
        for rule in constraints.resource_rules if constraints is not None else ():
            for group in rule.api_groups:
                for version in rule.api_versions:
                    for plural in rule.resources:
                        self._add(found, group, version, plural)
        return found

    def _add(self, found: dict[str, Schema], group: str, version: str, plural: str) -> None:
        api_version = f"{group}/{version}" if group else version
        resource = BY_PATH.get((group, version, plural))
        if resource is not None:
            found[f"{api_version}, Kind={resource.kind}"] = schema_of_type(resource.type)
            return
        definition = self._definitions.get(f"{plural}.{group}")
        chosen = (
            next((v for v in definition.spec.versions if v.name == version), None)
            if definition
            else None
        )
        if (
            definition is not None
            and chosen is not None
            and chosen.schema is not None
            and chosen.schema.open_apiv3_schema
        ):
            schema = compile_schema(to_builtins(chosen.schema.open_apiv3_schema))
            found[f"{api_version}, Kind={definition.spec.names.kind}"] = schema
