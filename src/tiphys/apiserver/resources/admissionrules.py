"""Which requests admission webhooks and policies are about: rules, selectors, match conditions."""

from __future__ import annotations

from tiphys.api.admissionregistration_v1 import (
    MatchCondition,
    MatchResources,
    NamedRuleWithOperations,
    RuleWithOperations,
)
from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.cel.checker import check
from tiphys.machinery.cel.fitting import DYN
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
REINVOCATION_POLICIES = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_MOST_CONDITIONS = 64

CONDITION_VARIABLES = frozenset(("object", "oldObject", "request", "authorizer"))
"""What the match conditions of a webhook see."""


def default_match(match: MatchResources | None) -> None:
    if match is None:
        return
    match.match_policy = match.match_policy or "Equivalent"
    match.namespace_selector = match.namespace_selector or LabelSelector()
    match.object_selector = match.object_selector or LabelSelector()
    for rule in [*match.resource_rules, *match.exclude_resource_rules]:
        rule.scope = rule.scope or "*"


def match_errors(match: MatchResources, path: str) -> list[FieldError]:
    """What is wrong with the resources that a policy or a binding is about."""
    violations = checks.one_of(match.match_policy, MATCH_POLICIES, f"{path}.matchPolicy")
    violations += checks.label_selector(match.namespace_selector, f"{path}.namespaceSelector")
    violations += checks.label_selector(match.object_selector, f"{path}.objectSelector")
    for index, rule in enumerate(match.resource_rules):
        violations += rule_errors(rule, f"{path}.resourceRules[{index}]")
    for index, rule in enumerate(match.exclude_resource_rules):
        violations += rule_errors(rule, f"{path}.excludeResourceRules[{index}]")
    return violations


def rule_errors(rule: RuleWithOperations | NamedRuleWithOperations, path: str) -> list[FieldError]:
    """What is wrong with a rule of operations and resources."""
    violations = _or_all(rule.operations, "operations", f"{path}.operations")
    violations += _or_all(rule.api_groups, "API groups", f"{path}.apiGroups")
    violations += _or_all(rule.api_versions, "API versions", f"{path}.apiVersions")
    violations += checks.required(rule.resources, f"{path}.resources")
    for index, operation in enumerate(rule.operations):
        if operation not in _OPERATIONS:
            field = f"{path}.operations[{index}]"
            violations.append(errors.not_supported(field, operation, _OPERATIONS))
    if rule.scope is not None and rule.scope not in _SCOPES:
        violations.append(errors.not_supported(f"{path}.scope", rule.scope, _SCOPES))
    return violations


def _or_all(values: list[str], noun: str, path: str) -> list[FieldError]:
    """Some, or all of them: a list that has `*` has nothing else."""
    if not values:
        return [errors.required(path)]
    if "*" in values and len(values) > 1:
        detail = f"if '*' is present, must not specify other {noun}"
        return [errors.invalid_value(path, list(values), detail)]
    return []


# --- expressions ---


def condition_errors(
    conditions: list[MatchCondition], path: str, variables: frozenset[str] = CONDITION_VARIABLES
) -> list[FieldError]:
    """What is wrong with match conditions that see the `variables`."""
    violations = []
    if len(conditions) > _MOST_CONDITIONS:
        violations.append(errors.too_many(path, len(conditions), _MOST_CONDITIONS))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        field = f"{path}[{index}]"
        violations += checks.required(condition.name, f"{field}.name")
        violations += checks.named(condition.name, label_key_errors, f"{field}.name")
        if condition.name in seen:
            violations.append(errors.duplicate(f"{field}.name", condition.name))
        seen.add(condition.name)
        text = condition.expression
        if text.strip():
            violations += expression_errors(text, f"{field}.expression", variables, "bool")
        else:
            violations.append(errors.required(f"{field}.expression"))
    return violations


def expression_errors(
    text: str, path: str, variables: frozenset[str], result: str = ""
) -> list[FieldError]:
    """Why an expression does not compile, or does not give a `result` of that type."""
    try:
        if result:
            check(text, dict.fromkeys(variables, DYN), result)
        else:
            compile_expression(text, variables)
    except CelError as error:
        return [errors.invalid_value(path, text, f"compilation failed: {error}")]
    return []
