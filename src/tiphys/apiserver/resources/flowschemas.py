"""Flow schemas: which requests are of which priority level."""

from __future__ import annotations

from tiphys.api.flowcontrol_v1 import (
    FlowSchema,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    ResourcePolicyRule,
    ServiceAccountSubject,
    Subject,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import conditions, errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors

_DEFAULT_PRECEDENCE = 1000
_LAST_PRECEDENCE = 10000
_DISTINGUISHERS = ("ByNamespace", "ByUser")
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


def _distinguisher(schema: FlowSchema) -> str:
    method = schema.spec.distinguisher_method
    return method.type if method is not None else "<none>"


def _missing_level(schema: FlowSchema) -> str:
    return conditions.state_of(schema.status.conditions, "Dangling", absent="?")


class FlowSchemaStrategy(Strategy[FlowSchema]):
    columns = (
        NAME,
        Column("PriorityLevel", lambda o: o.spec.priority_level_configuration.name),
        Column("MatchingPrecedence", lambda o: o.spec.matching_precedence, type="integer"),
        Column("DistinguisherMethod", _distinguisher),
        AGE,
        Column("MissingPL", _missing_level),
    )
    generation = True

    def default(self, obj: FlowSchema) -> None:
        obj.spec.matching_precedence = obj.spec.matching_precedence or _DEFAULT_PRECEDENCE

    def validate(self, obj: FlowSchema) -> list[FieldError]:
        spec = obj.spec
        violations = _precedence(spec.matching_precedence, obj.metadata.name)
        method = spec.distinguisher_method
        if method is not None and method.type not in _DISTINGUISHERS:
            field = "spec.distinguisherMethod.type"
            violations.append(errors.not_supported(field, method.type, _DISTINGUISHERS))
        level = spec.priority_level_configuration.name
        field = "spec.priorityLevelConfiguration.name"
        violations += checks.required(level, field, "must reference a priority level")
        violations += checks.subdomain(level, field)
        for index, rules in enumerate(spec.rules):
            violations += _rules(rules, f"spec.rules[{index}]")
        return violations


def _precedence(precedence: int, name: str) -> list[FieldError]:
    field = "spec.matchingPrecedence"
    if precedence <= 0:
        return [errors.invalid_value(field, precedence, "must be a positive value")]
    if precedence > _LAST_PRECEDENCE:
        return [errors.invalid_value(field, precedence, "must not be greater than 10000")]
    if precedence == 1 and name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        return [errors.invalid_value(field, 1, detail)]
    return []


def _rules(rules: PolicyRulesWithSubjects, path: str) -> list[FieldError]:
    detail = "subjects must contain at least one value"
    violations = checks.required(rules.subjects, f"{path}.subjects", detail)
    for index, subject in enumerate(rules.subjects):
        violations += _subject(subject, f"{path}.subjects[{index}]")
    if not rules.resource_rules and not rules.non_resource_rules:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        violations.append(errors.required(path, detail))
    for index, rule in enumerate(rules.resource_rules):
        violations += _resource_rule(rule, f"{path}.resourceRules[{index}]")
    for index, other in enumerate(rules.non_resource_rules):
        violations += _path_rule(other, f"{path}.nonResourceRules[{index}]")
    return violations


def _or_all(values: list[str], noun: str, path: str) -> list[FieldError]:
    """Some, or all of them: a list that has `*` has nothing else."""
    if "*" in values and len(values) > 1:
        detail = f"if '*' is present, must not specify other {noun}"
        return [errors.invalid_value(path, values, detail)]
    return []


def _verbs(verbs: list[str], path: str) -> list[FieldError]:
    violations = checks.required(verbs, path, "verbs must contain at least one value")
    violations += _or_all(verbs, "verbs", path)
    if "*" not in verbs and any(verb not in _VERBS for verb in verbs):
        violations.append(errors.not_supported(path, verbs, _VERBS))
    return violations


def _resource_rule(rule: ResourcePolicyRule, path: str) -> list[FieldError]:
    violations = _verbs(rule.verbs, f"{path}.verbs")
    detail = "resource rules must supply at least one api group"
    violations += checks.required(rule.api_groups, f"{path}.apiGroups", detail)
    violations += _or_all(rule.api_groups, "api groups", f"{path}.apiGroups")
    detail = "resource rules must supply at least one resource"
    violations += checks.required(rule.resources, f"{path}.resources", detail)
    violations += _or_all(rule.resources, "resources", f"{path}.resources")
    if not rule.namespaces and not rule.cluster_scope:
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        violations.append(errors.required(f"{path}.namespaces", detail))
    violations += _or_all(rule.namespaces, "namespaces", f"{path}.namespaces")
    for index, namespace in enumerate(rule.namespaces):
        if namespace != "*":
            field = f"{path}.namespaces[{index}]"
            violations += checks.obeys(namespace, dns_label_errors, field)
    return violations


def _path_rule(rule: NonResourcePolicyRule, path: str) -> list[FieldError]:
    violations = _verbs(rule.verbs, f"{path}.verbs")
    urls = rule.non_resource_urls
    field = f"{path}.nonResourceURLs"
    violations += checks.required(urls, field, "nonResourceURLs must contain at least one value")
    violations += _or_all(urls, "non-resource URLs", field)
    for index, url in enumerate(urls):
        if url != "*" and (detail := _path_problem(url)):
            violations.append(errors.invalid_value(f"{field}[{index}]", url, detail))
    return violations


def _path_problem(path: str) -> str:
    """What is wrong with the path of a request, or the beginning of one: ``/healthz/*``; "" when
    nothing is."""
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
    if "*" in path[:-1]:
        return "wildcard can only do suffix matching"
    if path.endswith("*") and not path.endswith("/*"):
        return 'should end with "/*" if it has a wildcard'
    return ""


# --- subjects ---


def _subject(subject: Subject, path: str) -> list[FieldError]:
    parts = {
        "User": ("user", subject.user),
        "Group": ("group", subject.group),
        "ServiceAccount": ("serviceAccount", subject.service_account),
    }
    if subject.kind not in parts:
        return [errors.not_supported(f"{path}.kind", subject.kind, tuple(parts))]
    violations = []
    for kind, (name, part) in parts.items():
        field = f"{path}.{name}"
        if kind == subject.kind and part is None:
            detail = f"{name} is required when subject kind is '{kind}'"
            violations.append(errors.required(field, detail))
        elif kind != subject.kind and part is not None:
            detail = f"{name} is forbidden when subject kind is not '{kind}'"
            violations.append(errors.forbidden_field(field, detail))
    if subject.kind == "User" and subject.user is not None:
        violations += checks.required(subject.user.name, f"{path}.user.name")
    if subject.kind == "Group" and subject.group is not None:
        violations += checks.required(subject.group.name, f"{path}.group.name")
    if subject.kind == "ServiceAccount" and subject.service_account is not None:
        violations += _account(subject.service_account, f"{path}.serviceAccount")
    return violations


def _account(account: ServiceAccountSubject, path: str) -> list[FieldError]:
    """`*` is every account of the namespace."""
    violations = checks.required(account.name, f"{path}.name")
    if account.name != "*":
        violations += checks.named(account.name, dns_subdomain_errors, f"{path}.name")
    detail = "must specify namespace for service account"
    violations += checks.required(account.namespace, f"{path}.namespace", detail)
    return violations + checks.named(account.namespace, dns_label_errors, f"{path}.namespace")
