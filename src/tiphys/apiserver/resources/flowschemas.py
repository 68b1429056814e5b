"""Flow schemas: which requests are of which priority level."""

from __future__ import annotations

from typing import Any

from tiphys.api import flowcontrol_v1 as v1
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import given, named
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors

_VERBS = (
    "get",
    "list",
    "create",
    "update",
    "delete",
    "deletecollection",
    "patch",
    "watch",
    "proxy",
    "connect",
    "head",
    "post",
    "put",
    "options",
    "bind",
    "escalate",
    "impersonate",
    "sign",
    "use",
    "approve",
)


class FlowSchemaStrategy(Strategy[v1.FlowSchema]):
    columns = (
        NAME,
        Column("PriorityLevel", lambda o: o.spec.priority_level_configuration.name),
        Column("MatchingPrecedence", lambda o: o.spec.matching_precedence, type="integer"),
        Column(
            "DistinguisherMethod",
            lambda o: o.spec.distinguisher_method.type if o.spec.distinguisher_method else "<none>",
        ),
        AGE,
        Column(
            "MissingPL",
            lambda o: next((c.status for c in o.status.conditions if c.type == "Dangling"), "?"),
        ),
    )

    generation = True

    def default(self, obj: v1.FlowSchema) -> None:
        obj.spec.matching_precedence = obj.spec.matching_precedence or 1000

    def validate(self, obj: v1.FlowSchema) -> list[FieldError]:
        spec, violations, path = obj.spec, list[FieldError](), "spec.matchingPrecedence"
        if spec.matching_precedence <= 0:
            violations.append(
                errors.invalid_value(path, spec.matching_precedence, "must be a positive value")
            )
        elif spec.matching_precedence > 10000:
            violations.append(
                errors.invalid_value(
                    path, spec.matching_precedence, "must not be greater than 10000"
                )
            )
        elif spec.matching_precedence == 1 and obj.metadata.name != "exempt":
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            violations.append(errors.invalid_value(path, 1, detail))
        if spec.distinguisher_method is not None:
            kinds = ("ByNamespace", "ByUser")
            if spec.distinguisher_method.type not in kinds:
                kind = spec.distinguisher_method.type
                violations.append(
                    errors.not_supported("spec.distinguisherMethod.type", kind, kinds)
                )
        level = spec.priority_level_configuration.name
        path = "spec.priorityLevelConfiguration.name"
        violations += given(level, path, "must reference a priority level") + named(
            level, dns_subdomain_errors, path
        )
        for index, rules in enumerate(spec.rules):
            violations += _rules(rules, f"spec.rules[{index}]")
        return violations


def _rules(rules: v1.PolicyRulesWithSubjects, field: str) -> list[FieldError]:
    violations = given(
        rules.subjects, f"{field}.subjects", "subjects must contain at least one value"
    )
    for index, subject in enumerate(rules.subjects):
        violations += _subject(subject, f"{field}.subjects[{index}]")
    if not rules.resource_rules and not rules.non_resource_rules:
        violations.append(
            errors.required(
                field, "at least one of resourceRules and nonResourceRules has to be non-empty"
            )
        )
    for index, rule in enumerate(rules.resource_rules):
        violations += _resources(rule, f"{field}.resourceRules[{index}]")
    for index, other in enumerate(rules.non_resource_rules):
        subpath = f"{field}.nonResourceRules[{index}]"
        violations += _verbs(other.verbs, f"{subpath}.verbs")
        violations += given(
            other.non_resource_urls,
            f"{subpath}.nonResourceURLs",
            "nonResourceURLs must contain at least one value",
        )
        violations += _alone(
            other.non_resource_urls, f"{subpath}.nonResourceURLs", "non-resource URLs"
        )
        for number, path in enumerate(other.non_resource_urls):
            if path != "*" and (detail := _path_error(path)):
                violations.append(
                    errors.invalid_value(f"{subpath}.nonResourceURLs[{number}]", path, detail)
                )
    return violations


def _path_error(path: str) -> str:
    if not path:
        return "must not be empty"
    if path == "/":
        return ""
    if not path.startswith("/"):
        return "must start with slash"
    if " " in path:
        return "must not contain white-space"
    if "//" in path:
        return "must not contain double slash"
    if "*" in path[:-1] or (path.endswith("*") and not path.endswith("/*")):
        return (
            "wildcard can only do suffix matching"
            if "*" in path[:-1]
            else 'should end with "/*" if it has a wildcard'
        )
    return ""


def _alone(values: list[str], path: str, what: str) -> list[FieldError]:
    """The value for all stands alone."""
    if "*" in values and len(values) > 1:
        return [
            errors.invalid_value(path, values, f"if '*' is present, must not specify other {what}")
        ]
    return []


def _verbs(verbs: list[str], path: str) -> list[FieldError]:
    violations = given(verbs, path, "verbs must contain at least one value") + _alone(
        verbs, path, "verbs"
    )
    if "*" not in verbs and any(verb not in _VERBS for verb in verbs):
        violations.append(errors.not_supported(path, verbs, _VERBS))
    return violations


def _resources(rule: v1.ResourcePolicyRule, path: str) -> list[FieldError]:
    violations = _verbs(rule.verbs, f"{path}.verbs")
    violations += given(
        rule.api_groups, f"{path}.apiGroups", "resource rules must supply at least one api group"
    )
    violations += _alone(rule.api_groups, f"{path}.apiGroups", "api groups")
    violations += given(
        rule.resources, f"{path}.resources", "resource rules must supply at least one resource"
    )
    violations += _alone(rule.resources, f"{path}.resources", "resources")
    if not rule.namespaces and not rule.cluster_scope:
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        violations.append(errors.required(f"{path}.namespaces", detail))
    violations += _alone(rule.namespaces, f"{path}.namespaces", "namespaces")
    for index, space in enumerate(rule.namespaces):
        if space != "*":
            field = f"{path}.namespaces[{index}]"
            violations += [
                errors.invalid_value(field, space, detail) for detail in dns_label_errors(space)
            ]
    return violations


def _subject(subject: v1.Subject, path: str) -> list[FieldError]:
    parts: dict[str, tuple[str, Any]] = {
        "User": ("user", subject.user),
        "Group": ("group", subject.group),
        "ServiceAccount": ("serviceAccount", subject.service_account),
    }
    if subject.kind not in parts:
        return [errors.not_supported(f"{path}.kind", subject.kind, tuple(parts))]
    violations: list[FieldError] = []
    for kind, (name, part) in parts.items():
        field = f"{path}.{name}"
        if kind != subject.kind:
            if part is not None:
                violations.append(
                    errors.forbidden_field(
                        field, f"{name} is forbidden when subject kind is not '{kind}'"
                    )
                )
        elif part is None:
            violations.append(
                errors.required(field, f"{name} is required when subject kind is '{kind}'")
            )
        else:
            violations += given(part.name, f"{field}.name")
    if subject.kind == "ServiceAccount" and (account := subject.service_account) is not None:
        field = f"{path}.serviceAccount"
        if account.name != "*":
            violations += named(account.name, dns_subdomain_errors, f"{field}.name")
        violations += given(
            account.namespace, f"{field}.namespace", "must specify namespace for service account"
        )
        violations += named(account.namespace, dns_label_errors, f"{field}.namespace")
    return violations
