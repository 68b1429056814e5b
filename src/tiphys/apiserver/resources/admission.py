"""What webhook configurations and admission policies obey."""

from __future__ import annotations

from typing import Any

from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import label_selector, one_of
from tiphys.apiserver.resources.clients import client_errors
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.cel.checker import DYN, check
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors, label_key_errors

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_CONDITION_VARIABLES = frozenset(("object", "oldObject", "request", "authorizer"))
_POLICY_VARIABLES = _CONDITION_VARIABLES | {"params", "namespaceObject", "variables"}


class WebhookStrategy(Strategy):
    """Both kinds of webhook configurations."""

    generation = True

    def desired(self, obj: Any) -> Any:
        return obj.webhooks

    def default(self, obj: Any) -> None:
        for hook in obj.webhooks:
            hook.failure_policy = hook.failure_policy or "Fail"
            hook.match_policy = hook.match_policy or "Equivalent"
            hook.namespace_selector = hook.namespace_selector or LabelSelector()
            hook.object_selector = hook.object_selector or LabelSelector()
            hook.timeout_seconds = 10 if hook.timeout_seconds is None else hook.timeout_seconds
            if hasattr(hook, "reinvocation_policy"):
                hook.reinvocation_policy = hook.reinvocation_policy or "Never"
            if hook.client_config.service is not None:
                hook.client_config.service.port = hook.client_config.service.port or 443
            for rule in hook.rules:
                rule.scope = rule.scope or "*"

    def validate(self, obj: Any) -> list[FieldError]:
        found: list[FieldError] = []
        seen: set[str] = set()
        for index, hook in enumerate(obj.webhooks):
            path = f"webhooks[{index}]"
            if hook.name in seen:
                found.append(errors.duplicate(f"{path}.name", hook.name))
            seen.add(hook.name)
            found += _webhook(hook, path)
        return found


def _webhook(hook: Any, path: str) -> list[FieldError]:
    found = [
        errors.invalid_value(f"{path}.name", hook.name, why)
        for why in dns_subdomain_errors(hook.name)
    ]
    if not found and hook.name.count(".") < 2:
        why = "should be a domain with at least three segments separated by dots"
        found.append(errors.invalid_value(f"{path}.name", hook.name, why))
    if hook.side_effects not in ("None", "NoneOnDryRun"):
        if hook.side_effects is None:
            found.append(
                errors.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
            )
        else:
            allowed = ("None", "NoneOnDryRun")
            found.append(errors.not_supported(f"{path}.sideEffects", hook.side_effects, allowed))
    if hook.failure_policy not in ("Fail", "Ignore"):
        found.append(
            errors.not_supported(f"{path}.failurePolicy", hook.failure_policy, ("Fail", "Ignore"))
        )
    found += one_of(
        getattr(hook, "reinvocation_policy", None),
        ("IfNeeded", "Never"),
        f"{path}.reinvocationPolicy",
    )
    found += label_selector(hook.namespace_selector, f"{path}.namespaceSelector")
    found += label_selector(hook.object_selector, f"{path}.objectSelector")
    if hook.match_policy not in ("Equivalent", "Exact"):
        found.append(
            errors.not_supported(f"{path}.matchPolicy", hook.match_policy, ("Equivalent", "Exact"))
        )
    if not 1 <= hook.timeout_seconds <= 30:
        why = "the timeout value must be between 1 and 30 seconds"
        found.append(errors.invalid_value(f"{path}.timeoutSeconds", hook.timeout_seconds, why))
    versions = hook.admission_review_versions
    if not versions:
        found.append(
            errors.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
        )
    elif not {"v1", "v1beta1"} & set(versions):
        why = "must include at least one of v1, v1beta1"
        found.append(errors.invalid_value(f"{path}.admissionReviewVersions", list(versions), why))
    found += client_errors(hook.client_config, f"{path}.clientConfig")
    for index, rule in enumerate(hook.rules):
        found += rule_errors(rule, f"{path}.rules[{index}]")
    return found + condition_errors(hook.match_conditions, f"{path}.matchConditions")


def rule_errors(rule: Any, path: str) -> list[FieldError]:
    """What is wrong with a rule of operations and resources."""
    found = []
    for key, values in (
        ("operations", rule.operations),
        ("apiGroups", rule.api_groups),
        ("apiVersions", rule.api_versions),
        ("resources", rule.resources),
    ):
        if not values:
            found.append(errors.required(f"{path}.{key}"))
        elif "*" in values and len(values) > 1 and key != "resources":
            found.append(
                errors.invalid_value(
                    f"{path}.{key}",
                    list(values),
                    "if '*' is present, must not specify other "
                    + (
                        "operations"
                        if key == "operations"
                        else "API groups"
                        if key == "apiGroups"
                        else "API versions"
                    ),
                )
            )
    for index, operation in enumerate(rule.operations):
        if operation not in _OPERATIONS:
            found.append(
                errors.not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS)
            )
    if rule.scope not in (None, "*", "Cluster", "Namespaced"):
        found.append(
            errors.not_supported(f"{path}.scope", rule.scope, ("*", "Cluster", "Namespaced"))
        )
    return found


def condition_errors(
    conditions: list[Any], path: str, variables: frozenset[str] = _CONDITION_VARIABLES
) -> list[FieldError]:
    """What is wrong with match conditions."""
    found: list[FieldError] = []
    if len(conditions) > 64:
        found.append(errors.too_many(path, len(conditions), 64))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where = f"{path}[{index}]"
        if not condition.name:
            found.append(errors.required(f"{where}.name"))
        else:
            found += [
                errors.invalid_value(f"{where}.name", condition.name, why)
                for why in label_key_errors(condition.name)
            ]
        if condition.name in seen:
            found.append(errors.duplicate(f"{where}.name", condition.name))
        seen.add(condition.name)
        if not condition.expression.strip():
            found.append(errors.required(f"{where}.expression"))
        else:
            found += expression_errors(
                condition.expression, f"{where}.expression", variables, "bool"
            )
    return found


def expression_errors(
    text: str, path: str, variables: frozenset[str], wanted: str = ""
) -> list[FieldError]:
    """Why an expression does not compile."""
    try:
        if wanted:
            check(text, dict.fromkeys(variables, DYN), wanted)
        else:
            compile_expression(text, variables)
    except CelError as error:
        return [errors.invalid_value(path, text, f"compilation failed: {error}")]
    return []


def _default_match(match: Any) -> None:
    if match is None:
        return
    match.match_policy = match.match_policy or "Equivalent"
    match.namespace_selector = match.namespace_selector or LabelSelector()
    match.object_selector = match.object_selector or LabelSelector()
    for rule in match.resource_rules + match.exclude_resource_rules:
        rule.scope = rule.scope or "*"


def _match_errors(match: Any, path: str) -> list[FieldError]:
    """What is wrong with the resources that a policy or a binding is about."""
    found = one_of(match.match_policy, ("Equivalent", "Exact"), f"{path}.matchPolicy")
    found += label_selector(match.namespace_selector, f"{path}.namespaceSelector")
    found += label_selector(match.object_selector, f"{path}.objectSelector")
    for key, rules in (
        ("resourceRules", match.resource_rules),
        ("excludeResourceRules", match.exclude_resource_rules),
    ):
        for index, rule in enumerate(rules):
            found += rule_errors(rule, f"{path}.{key}[{index}]")
    return found


class PolicyStrategy(Strategy):
    """Validating and mutating admission policies."""

    generation = True
    status_alone = True

    def default(self, obj: Any) -> None:
        obj.spec.failure_policy = obj.spec.failure_policy or "Fail"
        if hasattr(obj.spec, "reinvocation_policy"):
            obj.spec.reinvocation_policy = obj.spec.reinvocation_policy or "Never"
        _default_match(obj.spec.match_constraints)

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        if spec.failure_policy not in ("Fail", "Ignore"):
            found.append(
                errors.not_supported("spec.failurePolicy", spec.failure_policy, ("Fail", "Ignore"))
            )
        if spec.param_kind is not None:
            if not spec.param_kind.api_version:
                found.append(errors.required("spec.paramKind.apiVersion"))
            if not spec.param_kind.kind:
                found.append(errors.required("spec.paramKind.kind"))
        if spec.match_constraints is None:
            found.append(errors.required("spec.matchConstraints"))
        else:
            if not spec.match_constraints.resource_rules:
                found.append(errors.required("spec.matchConstraints.resourceRules"))
            found += _match_errors(spec.match_constraints, "spec.matchConstraints")
        if hasattr(spec, "reinvocation_policy"):
            found += one_of(
                spec.reinvocation_policy, ("IfNeeded", "Never"), "spec.reinvocationPolicy"
            )
        found += condition_errors(
            spec.match_conditions, "spec.matchConditions", _CONDITION_VARIABLES | {"params"}
        )
        for index, variable in enumerate(spec.variables):
            where = f"spec.variables[{index}]"
            if not variable.name:
                found.append(errors.required(f"{where}.name", "name is not specified"))
            found += expression_errors(
                variable.expression, f"{where}.expression", _POLICY_VARIABLES
            )
        return found + self._body(spec)

    @staticmethod
    def _body(spec: Any) -> list[FieldError]:
        found: list[FieldError] = []
        if hasattr(spec, "mutations"):
            if not spec.mutations:
                found.append(
                    errors.required("spec.mutations", "mutations must contain at least one item")
                )
            for index, mutation in enumerate(spec.mutations):
                where = f"spec.mutations[{index}]"
                if mutation.patch_type not in ("ApplyConfiguration", "JSONPatch"):
                    found.append(
                        errors.not_supported(
                            f"{where}.patchType",
                            mutation.patch_type,
                            ("ApplyConfiguration", "JSONPatch"),
                        )
                    )
                for key, part in (
                    ("applyConfiguration", mutation.apply_configuration),
                    ("jsonPatch", mutation.json_patch),
                ):
                    if part is not None:
                        found += expression_errors(
                            part.expression, f"{where}.{key}.expression", _POLICY_VARIABLES
                        )
            return found
        if not spec.validations and not spec.audit_annotations:
            found.append(
                errors.required(
                    "spec.validations",
                    "validations or auditAnnotations must contain at least one item",
                )
            )
        for index, annotation in enumerate(spec.audit_annotations):
            where = f"spec.auditAnnotations[{index}]"
            if not annotation.key:
                found.append(errors.required(f"{where}.key"))
            found += [
                errors.invalid_value(f"{where}.key", annotation.key, why)
                for why in label_key_errors(annotation.key)
            ]
            if not annotation.value_expression.strip():
                found.append(
                    errors.required(f"{where}.valueExpression", "valueExpression is not specified")
                )
            else:
                found += expression_errors(
                    annotation.value_expression, f"{where}.valueExpression", _POLICY_VARIABLES
                )
        for index, validation in enumerate(spec.validations):
            where = f"spec.validations[{index}]"
            if not validation.expression.strip():
                found.append(errors.required(f"{where}.expression", "expression is not specified"))
            else:
                found += expression_errors(
                    validation.expression, f"{where}.expression", _POLICY_VARIABLES, "bool"
                )
            reasons = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
            found += one_of(validation.reason, reasons, f"{where}.reason")
            if "\n" in validation.message:
                why = "message must not contain line breaks"
                found.append(errors.invalid_value(f"{where}.message", validation.message, why))
            if validation.message_expression:
                found += expression_errors(
                    validation.message_expression,
                    f"{where}.messageExpression",
                    _POLICY_VARIABLES,
                    "string",
                )
        return found


class PolicyBindingStrategy(Strategy):
    generation = True

    def default(self, obj: Any) -> None:
        _default_match(obj.spec.match_resources)

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        if not spec.policy_name:
            found.append(errors.required("spec.policyName"))
        if spec.match_resources is not None:
            found += _match_errors(spec.match_resources, "spec.matchResources")
        if hasattr(spec, "validation_actions"):
            actions = spec.validation_actions
            if not actions:
                found.append(
                    errors.required(
                        "spec.validationActions", "at least one validation action is required"
                    )
                )
            for index, action in enumerate(actions):
                if action not in ("Deny", "Warn", "Audit"):
                    found.append(
                        errors.not_supported(
                            f"spec.validationActions[{index}]", action, ("Audit", "Deny", "Warn")
                        )
                    )
            if "Deny" in actions and "Warn" in actions:
                found.append(
                    errors.invalid_value(
                        "spec.validationActions",
                        list(actions),
                        "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
                    )
                )
        ref = spec.param_ref
        if ref is not None:
            if bool(ref.name) == (ref.selector is not None):
                found.append(
                    errors.required(
                        "spec.paramRef.name", "one of name or selector must be specified"
                    )
                )
            if ref.parameter_not_found_action is None:
                found.append(errors.required("spec.paramRef.parameterNotFoundAction"))
        return found
