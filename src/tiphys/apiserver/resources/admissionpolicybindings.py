"""Bindings of validating and mutating admission policies."""

from __future__ import annotations

from typing import TypeVar

from tiphys.api.admissionregistration_v1 import (
    MutatingAdmissionPolicyBinding,
    ParamRef,
    ValidatingAdmissionPolicyBinding,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.admissionrules import default_match, match_errors
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_ACTIONS = ("Audit", "Deny", "Warn")
_DENIED_AND_WARNED = (
    "must not contain both Deny and Warn (repeating the same validation failure information"
    " in the API response and headers serves no purpose)"
)

B = TypeVar("B", bound=ValidatingAdmissionPolicyBinding | MutatingAdmissionPolicyBinding)


def _param_ref(binding: ValidatingAdmissionPolicyBinding) -> str:
    reference = binding.spec.param_ref
    return reference.name if reference is not None else "<unset>"


class _BindingStrategy(Strategy[B]):
    """What both kinds have in common."""

    unconditional_update = False
    generation = True

    def default(self, obj: B) -> None:
        default_match(obj.spec.match_resources)

    def validate(self, obj: B) -> list[FieldError]:
        spec = obj.spec
        violations = checks.required(spec.policy_name, "spec.policyName")
        if spec.match_resources is not None:
            violations += match_errors(spec.match_resources, "spec.matchResources")
        violations += self.action_errors(obj)
        if spec.param_ref is not None:
            violations += _param_errors(spec.param_ref, "spec.paramRef")
        return violations

    def action_errors(self, obj: B) -> list[FieldError]:
        """What is wrong with the binding's actions."""
        return []


class ValidatingAdmissionPolicyBindingStrategy(_BindingStrategy[ValidatingAdmissionPolicyBinding]):
    columns = (
        NAME,
        Column("PolicyName", lambda o: o.spec.policy_name),
        Column("ParamRef", _param_ref),
        AGE,
    )

    def action_errors(self, obj: ValidatingAdmissionPolicyBinding) -> list[FieldError]:
        actions = obj.spec.validation_actions
        path = "spec.validationActions"
        violations = checks.required(actions, path, "at least one validation action is required")
        for index, action in enumerate(actions):
            if action not in _ACTIONS:
                violations.append(errors.not_supported(f"{path}[{index}]", action, _ACTIONS))
        if "Deny" in actions and "Warn" in actions:
            violations.append(errors.invalid_value(path, list(actions), _DENIED_AND_WARNED))
        return violations


class MutatingAdmissionPolicyBindingStrategy(_BindingStrategy[MutatingAdmissionPolicyBinding]):
    pass


def _param_errors(reference: ParamRef, path: str) -> list[FieldError]:
    violations = []
    if bool(reference.name) == (reference.selector is not None):
        detail = "one of name or selector must be specified"
        violations.append(errors.required(f"{path}.name", detail))
    if reference.parameter_not_found_action is None:
        violations.append(errors.required(f"{path}.parameterNotFoundAction"))
    return violations
