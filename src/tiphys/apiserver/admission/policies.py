"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: CEL in the path of a write, bound by their
bindings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import StatusCause
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.admission.matching import (
    EXEMPT,
    Rounds,
    Seen,
    conditions_hold,
    matching_resource,
    rule_matches,
    selects_namespace,
    selects_object,
)
from tiphys.apiserver.admission.webhooks import replaced
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.eventloop.turns import Steps
from tiphys.apiserver.http.request import annotate, annotate_more, warn
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.apiserver.registry.ownership import node_for
from tiphys.machinery import errors, patch, typed
from tiphys.machinery.cel import Budget, CelError, OutOfBudget
from tiphys.machinery.selectors import from_label_selector

_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}


_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_LONGEST_ANNOTATION = 10 * 1024  # characters, as upstream cuts them


class PolicyError(Exception):
    """A policy that cannot be evaluated: its failure policy says what that means."""


@dataclass
class Bound:
    """A policy with one of its bindings and one of its parameters, about to be evaluated."""

    policy: Any
    binding: Any
    resource: Resource
    """The row of the version that the policy was written for."""
    variables: dict[str, Any]
    budget: Budget


@dataclass(frozen=True)
class Failure:
    """A validation that did not hold, or could not be evaluated. `index`: of its expression."""

    policy: Any
    binding: Any
    message: str
    reason: str | None = None
    index: int = 0


class _Policies(Base):
    """What both kinds share."""

    policy_kind: Any
    binding_kind: Any

    def __init__(self, registry: Callable[[], Any], authorizer: Callable[[], Authorizer]) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._mirrors: tuple[Mirror[Any], Mirror[Any]] | None = None
        self._known: list[tuple[Any, list[Any]]] = []

    def _bound_policies(self) -> list[tuple[Any, list[Any]]]:
        """Each policy with its bindings."""
        if self._mirrors is None:
            cache = self._registry().cache
            kinds = (self.policy_kind, self.binding_kind)
            self._mirrors = tuple(Mirror(cache(resource_of(kind)), kind) for kind in kinds)  # type: ignore[assignment]
        policies, bindings = self._mirrors  # type: ignore[misc]
        changes = (*policies.refresh(), *bindings.refresh())
        if any(changes):
            bound = dict[str, list[Any]]()
            for binding in bindings:
                bound.setdefault(binding.spec.policy_name, []).append(binding)
            self._known = [
                (p, bound[p.metadata.name]) for p in policies if p.metadata.name in bound
            ]
        return self._known

    def _matches(self, wanted: v1.MatchResources | None, attributes: Attributes) -> Resource | None:
        """The resource as which the request matches, None when it does not."""
        requested = attributes.asked_as
        if wanted is None:
            return requested
        registry = self._registry()
        if not selects_namespace(wanted.namespace_selector, attributes, registry.labels_of):
            return None
        if not selects_object(wanted.object_selector, attributes):
            return None
        if any(rule_matches(rule, attributes, requested) for rule in wanted.exclude_resource_rules):
            return None
        if not wanted.resource_rules:
            return requested
        equivalents = registry.served.equivalents
        return matching_resource(
            wanted.resource_rules, attributes, wanted.match_policy, equivalents
        )

    async def _evaluations(
        self, attributes: Attributes, seen: Seen, rounds: Rounds | None = None
    ) -> AsyncGenerator[Bound | tuple[Any, Any, PolicyError], None]:
        """Every policy, binding and parameter that is about the request, or why it cannot be
        evaluated."""
        steps = Steps()
        for policy, bindings in self._bound_policies():
            await steps.next()
            if rounds is not None and not rounds.wanted(attributes, policy.metadata.name):
                continue
            constraints = policy.spec.match_constraints
            resource = None if constraints is None else self._matches(constraints, attributes)
            if resource is None:
                continue
            if not resource.built_in:  # a webhook might have to convert it: seen as it was sent
                resource = attributes.asked_as
            for binding in bindings:
                if self._matches(binding.spec.match_resources, attributes) is None:
                    continue
                try:
                    for params in self._params(policy, binding, attributes):
                        bound = await self._bound(policy, binding, params, resource, seen)
                        if bound is not None:
                            yield bound
                except (PolicyError, CelError) as error:
                    yield policy, binding, PolicyError(str(error))

    async def _bound(
        self, policy: Any, binding: Any, params: Any, resource: Resource, seen: Seen
    ) -> Bound | None:
        """The policy with one parameter, None when its match conditions do not hold. Raises
        CelError."""
        variables = {
            **seen.variables(resource),
            "params": params,
            "namespaceObject": lambda: self._namespace(seen.attributes),
        }
        if not await conditions_hold(policy.spec.match_conditions, variables):
            return None
        budget = Budget()
        variables["variables"] = Composed(policy.spec.variables, variables, budget)
        return Bound(policy, binding, resource, variables, budget)

    def _namespace(self, attributes: Attributes) -> Any:
        if not attributes.resource.namespaced:
            return None
        namespace = self._registry().lookup("namespaces", "", attributes.namespace)
        return to_builtins(namespace) if namespace is not None else None

    def _params(self, policy: Any, binding: Any, attributes: Attributes) -> list[Any]:
        """The parameters a binding names, plain; [None] when the policy takes none."""
        kind = policy.spec.param_kind
        ref = binding.spec.param_ref
        if kind is None or ref is None:
            return [None]
        registry = self._registry()
        resource = registry.served.of_kind(kind.api_version, kind.kind)
        if resource is None:
            referenced = f"'{kind.api_version}, Kind={kind.kind}'"
            raise PolicyError(f"failed to find resource referenced by paramKind: {referenced}")
        namespace = ref.namespace or attributes.namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            raise PolicyError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                "resources"
            )
        selector = from_label_selector(ref.selector)
        parameters = registry.select_plain(resource, namespace, ref.name, selector)
        if not parameters and ref.parameter_not_found_action != "Allow":
            raise PolicyError(
                "no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return list(parameters)


class Composed:
    """`variables` of a policy: each is evaluated when it is first asked for."""

    def __init__(self, declared: list[v1.Variable], given: dict[str, Any], budget: Budget) -> None:
        self._budget = budget
        self._declared = {variable.name: variable.expression for variable in declared}
        self._given = given
        self._values: dict[str, Any] = {}

    def cel_field(self, name: str) -> Any:
        if name not in self._values:
            if name not in self._declared:
                raise CelError(f"no such key: {name}")
            variables = {**self._given, "variables": self}
            self._values[name] = self._budget.run(self._declared[name], variables)
        return self._values[name]


class ValidatingPolicies(_Policies):
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
        """What a policy has to say to audit events. A failure denies, whatever the binding says."""
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
        """Warns, tells audit events or denies, as the binding says."""
        actions = failure.binding.spec.validation_actions
        if "Warn" in actions:
            warn(f"Validation failed for {_named(failure)}: {failure.message}")
        if "Audit" in actions:
            annotate(_FAILURE, _audited(failure))
        if "Deny" in actions:
            denials.append(_denial(failure, attributes))


def _named(failure: Failure) -> str:
    return (
        f"ValidatingAdmissionPolicy '{failure.policy.metadata.name}' with binding "
        f"'{failure.binding.metadata.name}'"
    )


def _denial(failure: Failure, attributes: Attributes) -> errors.StatusError:
    text = f"{_named(failure)} denied request: {failure.message}"
    refusal = errors.forbidden(attributes.resource.group_resource, attributes.name, text)
    refusal.status.reason = failure.reason or "Invalid"
    refusal.status.code = _CODES.get(refusal.status.reason, 422)
    if refusal.status.details is not None:
        refusal.status.details.causes.append(StatusCause(message=failure.message))
    return refusal


def _audited(failure: Failure) -> str:
    """A failed validation as audit events tell it."""
    told = {
        "message": failure.message,
        "policy": failure.policy.metadata.name,
        "binding": failure.binding.metadata.name,
        "expressionIndex": failure.index,
        "validationActions": list(failure.binding.spec.validation_actions),
    }
    return msgspec.json.encode([told]).decode()


def _message(validation: v1.Validation, bound: Bound) -> str:
    if validation.message_expression:
        try:
            text = bound.budget.run(validation.message_expression, bound.variables)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        except CelError:
            pass
    return validation.message.strip() or f"failed expression: {validation.expression.strip()}"


class MutatingPolicies(_Policies):
    policy_kind = v1.MutatingAdmissionPolicy
    binding_kind = v1.MutatingAdmissionPolicyBinding

    async def mutate(self, attributes: Attributes) -> None:
        if (
            attributes.resource.group == EXEMPT
            or attributes.obj is None
            or not self._bound_policies()
        ):
            return
        seen = Seen(attributes, self._authorizer())
        rounds = Rounds.of(attributes, self.policy_kind, seen.plain("obj"))
        async with contextlib.aclosing(self._evaluations(attributes, seen, rounds)) as evaluations:
            async for evaluation in evaluations:
                if isinstance(evaluation, Bound):
                    await self._mutate(evaluation, attributes, seen, rounds)
                else:
                    policy, binding, error = evaluation
                    self._failed(policy, binding, str(error), attributes)
        rounds.left(seen.plain("obj"))

    async def _mutate(
        self, bound: Bound, attributes: Attributes, seen: Seen, rounds: Rounds
    ) -> None:
        """Every mutation of one policy, each on what the one before it has left."""
        before = seen.plain("obj")
        policy = bound.policy
        for mutation in policy.spec.mutations:
            obj = seen.in_version(bound.resource, seen.plain("obj"))
            bound.variables["object"] = obj
            try:
                after = await aside(_mutated, mutation, bound, obj)
            except (CelError, ValueError, TypeError, KeyError) as error:
                self._failed(policy, bound.binding, str(error), attributes)
                continue
            if after != obj:
                after = seen.in_version(attributes.resource, after)
                strategy = self._registry().strategy_of(attributes.resource)
                by = f"policy {policy.metadata.name}"
                attributes.obj = replaced(attributes, after, strategy, by)
        changed = seen.plain("obj") != before
        rounds.done(attributes, policy.metadata.name, policy.spec.reinvocation_policy, changed)

    def _failed(self, policy: Any, binding: Any, message: str, attributes: Attributes) -> None:
        if policy.spec.failure_policy == "Ignore":
            return
        text = (
            f"policy '{policy.metadata.name}' with binding '{binding.metadata.name}' denied "
            f"request: {message}"
        )
        refusal = errors.forbidden(attributes.resource.group_resource, attributes.name, text)
        refusal.status.reason = "Invalid"
        refusal.status.code = 422
        try:
            raise refusal
        finally:
            del refusal  # it would be in a cycle with this frame


def _mutated(mutation: v1.Mutation, bound: Bound, obj: Any) -> Any:
    if mutation.patch_type == "ApplyConfiguration" and mutation.apply_configuration is not None:
        config = bound.budget.run(mutation.apply_configuration.expression, bound.variables)
        if not isinstance(config, dict):
            raise CelError("must evaluate to Object")
        return typed.merge(obj, config, node_for(bound.resource))
    if mutation.patch_type == "JSONPatch" and mutation.json_patch is not None:
        return patch.json_patch(
            obj, bound.budget.run(mutation.json_patch.expression, bound.variables)
        )
    raise CelError(f"unsupported patchType {mutation.patch_type!r}")
