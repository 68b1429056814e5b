"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy: CEL in the path of a write, bound by their
bindings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.api.catalog import Resource, resource_of
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.admission.matching import (
    Rounds,
    Seen,
    conditions_hold,
    matching_resource,
    rule_matches,
    selects_namespace,
    selects_object,
)
from tiphys.apiserver.eventloop.turns import Steps
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.machinery.cel import Budget, CelError
from tiphys.machinery.selectors import from_label_selector


class PolicyError(Exception):
    """A policy that cannot be evaluated: its failure policy decides."""


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


class Policies(Base):
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

    def __init__(
        self, declared: list[v1.Variable], variables: dict[str, Any], budget: Budget
    ) -> None:
        self._budget = budget
        self._declared = {variable.name: variable.expression for variable in declared}
        self._variables = variables
        self._values: dict[str, Any] = {}

    def cel_field(self, name: str) -> Any:
        if name not in self._values:
            if name not in self._declared:
                raise CelError(f"no such key: {name}")
            variables = {**self._variables, "variables": self}
            self._values[name] = self._budget.run(self._declared[name], variables)
        return self._values[name]
