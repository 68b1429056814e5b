"""Validating and mutating admission policies."""

from __future__ import annotations

from typing import TypeVar

from tiphys.api.admissionregistration_v1 import (
    AuditAnnotation,
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicySpec,
    Mutation,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.admissionrules import (
    CONDITION_VARIABLES,
    FAILURE_POLICIES,
    REINVOCATION_POLICIES,
    condition_errors,
    default_match,
    expression_errors,
    match_errors,
)
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_VARIABLES = CONDITION_VARIABLES | {"params", "namespaceObject", "variables"}
_PATCH_TYPES = ("ApplyConfiguration", "JSONPatch")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")

P = TypeVar("P", bound=ValidatingAdmissionPolicy | MutatingAdmissionPolicy)


def _param_kind(policy: ValidatingAdmissionPolicy) -> str:
    kind = policy.spec.param_kind
    return f"{kind.api_version}/{kind.kind}" if kind is not None else "<unset>"


class _PolicyStrategy(Strategy[P]):
    """What both kinds have in common."""

    unconditional_update = False
    generation = True
    status_alone = True

    def default(self, obj: P) -> None:
        obj.spec.failure_policy = obj.spec.failure_policy or "Fail"
        default_match(obj.spec.match_constraints)

    def validate(self, obj: P) -> list[FieldError]:
        return _policy_errors(obj.spec)


class ValidatingAdmissionPolicyStrategy(_PolicyStrategy[ValidatingAdmissionPolicy]):
    columns = (
        NAME,
        Column("Validations", lambda o: len(o.spec.validations), type="integer"),
        Column("ParamKind", _param_kind),
        AGE,
    )

    def validate(self, obj: ValidatingAdmissionPolicy) -> list[FieldError]:
        spec = obj.spec
        violations = super().validate(obj)
        if not spec.validations and not spec.audit_annotations:
            detail = "validations or auditAnnotations must contain at least one item"
            violations.append(errors.required("spec.validations", detail))
        for index, annotation in enumerate(spec.audit_annotations):
            violations += _audit_annotation(annotation, f"spec.auditAnnotations[{index}]")
        for index, validation in enumerate(spec.validations):
            violations += _validation(validation, f"spec.validations[{index}]")
        return violations


class MutatingAdmissionPolicyStrategy(_PolicyStrategy[MutatingAdmissionPolicy]):
    def validate(self, obj: MutatingAdmissionPolicy) -> list[FieldError]:
        spec = obj.spec
        violations = super().validate(obj)
        field = "spec.reinvocationPolicy"
        violations += checks.one_of(spec.reinvocation_policy, REINVOCATION_POLICIES, field)
        detail = "mutations must contain at least one item"
        violations += checks.required(spec.mutations, "spec.mutations", detail)
        for index, mutation in enumerate(spec.mutations):
            violations += _mutation(mutation, f"spec.mutations[{index}]")
        return violations


def _policy_errors(
    spec: ValidatingAdmissionPolicySpec | MutatingAdmissionPolicySpec,
) -> list[FieldError]:
    """What is wrong with the parts that both kinds have."""
    violations = []
    policy = spec.failure_policy
    if policy not in FAILURE_POLICIES:
        violations.append(errors.not_supported("spec.failurePolicy", policy, FAILURE_POLICIES))
    kind = spec.param_kind
    if kind is not None:
        violations += checks.required(kind.api_version, "spec.paramKind.apiVersion")
        violations += checks.required(kind.kind, "spec.paramKind.kind")
    constraints = spec.match_constraints
    field = "spec.matchConstraints"
    if constraints is None:
        violations.append(errors.required(field))
    else:
        violations += checks.required(constraints.resource_rules, f"{field}.resourceRules")
        violations += match_errors(constraints, field)
    variables = CONDITION_VARIABLES | {"params"}
    violations += condition_errors(spec.match_conditions, "spec.matchConditions", variables)
    for index, variable in enumerate(spec.variables):
        field = f"spec.variables[{index}]"
        violations += checks.required(variable.name, f"{field}.name", "name is not specified")
        violations += expression_errors(variable.expression, f"{field}.expression", _VARIABLES)
    return violations


def _audit_annotation(annotation: AuditAnnotation, path: str) -> list[FieldError]:
    violations = checks.required(annotation.key, f"{path}.key")
    violations += checks.qualified_name(annotation.key, f"{path}.key")
    field = f"{path}.valueExpression"
    if not annotation.value_expression.strip():
        return [*violations, errors.required(field, "valueExpression is not specified")]
    return violations + expression_errors(annotation.value_expression, field, _VARIABLES)


def _validation(validation: Validation, path: str) -> list[FieldError]:
    violations = []
    field = f"{path}.expression"
    if validation.expression.strip():
        violations += expression_errors(validation.expression, field, _VARIABLES, "bool")
    else:
        violations.append(errors.required(field, "expression is not specified"))
    violations += checks.one_of(validation.reason, _REASONS, f"{path}.reason")
    if "\n" in validation.message:
        detail = "message must not contain line breaks"
        violations.append(errors.invalid_value(f"{path}.message", validation.message, detail))
    if validation.message_expression:
        text = validation.message_expression
        violations += expression_errors(text, f"{path}.messageExpression", _VARIABLES, "string")
    return violations


def _mutation(mutation: Mutation, path: str) -> list[FieldError]:
    violations = []
    kind = mutation.patch_type
    if kind not in _PATCH_TYPES:
        violations.append(errors.not_supported(f"{path}.patchType", kind, _PATCH_TYPES))
    if mutation.apply_configuration is not None:
        text = mutation.apply_configuration.expression
        field = f"{path}.applyConfiguration.expression"
        violations += expression_errors(text, field, _VARIABLES)
    if mutation.json_patch is not None:
        text = mutation.json_patch.expression
        violations += expression_errors(text, f"{path}.jsonPatch.expression", _VARIABLES)
    return violations
