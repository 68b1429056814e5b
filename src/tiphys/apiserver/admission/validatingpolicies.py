"""ValidatingAdmissionPolicies: what they deny, warn of and note for the audit."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.meta_v1 import StatusCause
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.matching import (
    EXEMPT,
    Seen,
)
from tiphys.apiserver.admission.policies import Bound, Failure, Policies
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.http.request import annotate, annotate_more, warn
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError, OutOfBudget

_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_LONGEST_ANNOTATION = 10 * 1024  # characters, as upstream cuts them


class ValidatingPolicies(Policies):
    policy_kind = v1.ValidatingAdmissionPolicy
    binding_kind = v1.ValidatingAdmissionPolicyBinding

    async def validate(self, attributes: Attributes) -> None:
        if attributes.resource.group == EXEMPT or not self._bound_policies():
            return
        seen = Seen(attributes, self._authorizer())
        denials: list[errors.StatusError] = []
        async for evaluation in self._evaluations(attributes, seen):
            if isinstance(evaluation, Bound):
                await self._judge_all(evaluation, attributes, denials)
            else:
                policy, binding, error = evaluation
                reason = f"failed to configure binding: {error}"
                self._failed(Failure(policy, binding, reason), attributes, denials)
        if denials:
            raise denials[0]

    async def _judge_all(self, bound: Bound, attributes: Attributes, denials: list[Any]) -> None:
        """Every validation of a policy, as far as its budget goes."""
        try:
            for index in range(len(bound.policy.spec.validations)):
                await aside(self._judge, bound, index, attributes, denials)
            for annotation in bound.policy.spec.audit_annotations:
                await aside(self._annotate, bound, annotation, attributes, denials)
        except OutOfBudget as error:
            failure = Failure(bound.policy, bound.binding, str(error))
            self._failed(failure, attributes, denials)

    def _judge(self, bound: Bound, index: int, attributes: Attributes, denials: list[Any]) -> None:
        validation = bound.policy.spec.validations[index]
        text = validation.expression
        try:
            result = bound.budget.run(text, bound.variables)
        except OutOfBudget:
            raise
        except CelError as error:
            message = f"expression '{text.strip()}' resulted in error: {error}"
            failure = Failure(bound.policy, bound.binding, message, index=index)
            self._failed(failure, attributes, denials)
            return
        if result is not True:
            message = _message(validation, bound)
            reason = validation.reason
            failure = Failure(bound.policy, bound.binding, message, reason, index)
            self._act(failure, attributes, denials)

    def _annotate(
        self,
        bound: Bound,
        annotation: v1.AuditAnnotation,
        attributes: Attributes,
        denials: list[Any],
    ) -> None:
        """Adds a policy's audit annotations. A failure denies, whatever the binding's actions."""
        policy = bound.policy
        try:
            value = bound.budget.run(annotation.value_expression, bound.variables)
        except OutOfBudget:
            raise
        except CelError as error:
            if policy.spec.failure_policy != "Ignore":
                failure = Failure(policy, bound.binding, str(error))
                denials.append(_denial(failure, attributes))
            return
        if isinstance(value, str) and value.strip():
            key = f"{policy.metadata.name}/{annotation.key}"
            annotate_more(key, value.strip()[:_LONGEST_ANNOTATION])

    def _failed(self, failure: Failure, attributes: Attributes, denials: list[Any]) -> None:
        if failure.policy.spec.failure_policy != "Ignore":
            self._act(failure, attributes, denials)

    def _act(self, failure: Failure, attributes: Attributes, denials: list[Any]) -> None:
        """Warns, audits or denies, as the binding's actions demand."""
        actions = failure.binding.spec.validation_actions
        if "Warn" in actions:
            warn(f"Validation failed for {_name_of(failure)}: {failure.message}")
        if "Audit" in actions:
            annotate(_FAILURE, _audited(failure))
        if "Deny" in actions:
            denials.append(_denial(failure, attributes))


def _name_of(failure: Failure) -> str:
    return (
        f"ValidatingAdmissionPolicy '{failure.policy.metadata.name}' with binding "
        f"'{failure.binding.metadata.name}'"
    )


def _denial(failure: Failure, attributes: Attributes) -> errors.StatusError:
    text = f"{_name_of(failure)} denied request: {failure.message}"
    refusal = errors.forbidden(attributes.resource.group_resource, attributes.name, text)
    refusal.status.reason = failure.reason or "Invalid"
    refusal.status.code = _CODES.get(refusal.status.reason, 422)
    if refusal.status.details is not None:
        refusal.status.details.causes.append(StatusCause(message=failure.message))
    return refusal


def _audited(failure: Failure) -> str:
    """A failed validation as an audit annotation."""
    annotation = {
        "message": failure.message,
        "policy": failure.policy.metadata.name,
        "binding": failure.binding.metadata.name,
        "expressionIndex": failure.index,
        "validationActions": list(failure.binding.spec.validation_actions),
    }
    return msgspec.json.encode([annotation]).decode()


def _message(validation: v1.Validation, bound: Bound) -> str:
    if validation.message_expression:
        try:
            text = bound.budget.run(validation.message_expression, bound.variables)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        except CelError:
            pass
    return validation.message.strip() or f"failed expression: {validation.expression.strip()}"
