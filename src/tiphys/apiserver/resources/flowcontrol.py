"""Flow schemas and priority levels: which requests belong together, and how much of the server they may have."""

from __future__ import annotations

from typing import Any

from tiphys.api import flowcontrol_v1 as v1
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import given, named, one_of
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
_MOST_QUEUES = 10_000_000


class FlowSchemaStrategy(Strategy):
    generation = True

    def default(self, obj: v1.FlowSchema) -> None:
        obj.spec.matching_precedence = obj.spec.matching_precedence or 1000

    def validate(self, obj: v1.FlowSchema) -> list[FieldError]:
        spec, found, at = obj.spec, list[FieldError](), "spec.matchingPrecedence"
        if spec.matching_precedence <= 0:
            found.append(
                errors.invalid_value(at, spec.matching_precedence, "must be a positive value")
            )
        elif spec.matching_precedence > 10000:
            found.append(
                errors.invalid_value(at, spec.matching_precedence, "must not be greater than 10000")
            )
        elif spec.matching_precedence == 1 and obj.metadata.name != "exempt":
            why = "only the schema named 'exempt' may have matchingPrecedence 1"
            found.append(errors.invalid_value(at, 1, why))
        if spec.distinguisher_method is not None:
            kinds = ("ByNamespace", "ByUser")
            if spec.distinguisher_method.type not in kinds:
                kind = spec.distinguisher_method.type
                found.append(errors.not_supported("spec.distinguisherMethod.type", kind, kinds))
        level, at = spec.priority_level_configuration.name, "spec.priorityLevelConfiguration.name"
        found += given(level, at, "must reference a priority level") + named(
            level, dns_subdomain_errors, at
        )
        for index, rules in enumerate(spec.rules):
            found += _rules(rules, f"spec.rules[{index}]")
        return found


def _rules(rules: v1.PolicyRulesWithSubjects, at: str) -> list[FieldError]:
    found = given(rules.subjects, f"{at}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(rules.subjects):
        found += _subject(subject, f"{at}.subjects[{index}]")
    if not rules.resource_rules and not rules.non_resource_rules:
        found.append(
            errors.required(
                at, "at least one of resourceRules and nonResourceRules has to be non-empty"
            )
        )
    for index, rule in enumerate(rules.resource_rules):
        found += _resources(rule, f"{at}.resourceRules[{index}]")
    for index, other in enumerate(rules.non_resource_rules):
        where = f"{at}.nonResourceRules[{index}]"
        found += _verbs(other.verbs, f"{where}.verbs")
        found += given(
            other.non_resource_urls,
            f"{where}.nonResourceURLs",
            "nonResourceURLs must contain at least one value",
        )
        found += _alone(other.non_resource_urls, f"{where}.nonResourceURLs", "non-resource URLs")
        for number, path in enumerate(other.non_resource_urls):
            if path != "*" and (why := _path_error(path)):
                found.append(errors.invalid_value(f"{where}.nonResourceURLs[{number}]", path, why))
    return found


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


def _alone(values: list[str], at: str, what: str) -> list[FieldError]:
    """The value for all stands alone."""
    if "*" in values and len(values) > 1:
        return [
            errors.invalid_value(at, values, f"if '*' is present, must not specify other {what}")
        ]
    return []


def _verbs(verbs: list[str], at: str) -> list[FieldError]:
    found = given(verbs, at, "verbs must contain at least one value") + _alone(verbs, at, "verbs")
    if "*" not in verbs and any(verb not in _VERBS for verb in verbs):
        found.append(errors.not_supported(at, verbs, _VERBS))
    return found


def _resources(rule: v1.ResourcePolicyRule, at: str) -> list[FieldError]:
    found = _verbs(rule.verbs, f"{at}.verbs")
    found += given(
        rule.api_groups, f"{at}.apiGroups", "resource rules must supply at least one api group"
    )
    found += _alone(rule.api_groups, f"{at}.apiGroups", "api groups")
    found += given(
        rule.resources, f"{at}.resources", "resource rules must supply at least one resource"
    )
    found += _alone(rule.resources, f"{at}.resources", "resources")
    if not rule.namespaces and not rule.cluster_scope:
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        found.append(errors.required(f"{at}.namespaces", why))
    found += _alone(rule.namespaces, f"{at}.namespaces", "namespaces")
    for index, space in enumerate(rule.namespaces):
        if space != "*":
            where = f"{at}.namespaces[{index}]"
            found += [errors.invalid_value(where, space, why) for why in dns_label_errors(space)]
    return found


def _subject(subject: v1.Subject, at: str) -> list[FieldError]:
    parts: dict[str, tuple[str, Any]] = {
        "User": ("user", subject.user),
        "Group": ("group", subject.group),
        "ServiceAccount": ("serviceAccount", subject.service_account),
    }
    if subject.kind not in parts:
        return [errors.not_supported(f"{at}.kind", subject.kind, tuple(parts))]
    found: list[FieldError] = []
    for kind, (name, part) in parts.items():
        where = f"{at}.{name}"
        if kind != subject.kind:
            if part is not None:
                found.append(
                    errors.forbidden_field(
                        where, f"{name} is forbidden when subject kind is not '{kind}'"
                    )
                )
        elif part is None:
            found.append(
                errors.required(where, f"{name} is required when subject kind is '{kind}'")
            )
        else:
            found += given(part.name, f"{where}.name")
    if subject.kind == "ServiceAccount" and (account := subject.service_account) is not None:
        where = f"{at}.serviceAccount"
        if account.name != "*":
            found += named(account.name, dns_subdomain_errors, f"{where}.name")
        found += given(
            account.namespace, f"{where}.namespace", "must specify namespace for service account"
        )
        found += named(account.namespace, dns_label_errors, f"{where}.namespace")
    return found


class PriorityLevelStrategy(Strategy):
    generation = True

    def default(self, obj: v1.PriorityLevelConfiguration) -> None:
        if (exempt := obj.spec.exempt) is not None:
            exempt.nominal_concurrency_shares = exempt.nominal_concurrency_shares or 0
            exempt.lendable_percent = exempt.lendable_percent or 0
        if (limited := obj.spec.limited) is not None:
            if limited.nominal_concurrency_shares is None:
                limited.nominal_concurrency_shares = 30
            limited.lendable_percent = limited.lendable_percent or 0
            if (queuing := limited.limit_response.queuing) is not None:
                queuing.queues, queuing.hand_size = queuing.queues or 64, queuing.hand_size or 8
                queuing.queue_length_limit = queuing.queue_length_limit or 50

    def validate(self, obj: v1.PriorityLevelConfiguration) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        if (obj.metadata.name == "exempt") != (spec.type == "Exempt") and spec.type in (
            "Exempt",
            "Limited",
        ):
            why = "must be 'Exempt' if and only if `name` is 'exempt'"
            found.append(errors.invalid_value("spec.type", spec.type, why))
        if spec.type == "Exempt":
            if spec.limited is not None:
                found.append(
                    errors.forbidden_field("spec.limited", "must be nil if the type is not Limited")
                )
            if spec.exempt is not None:
                found += _shares(spec.exempt, "spec.exempt")
        elif spec.type == "Limited":
            if spec.exempt is not None:
                found.append(
                    errors.forbidden_field("spec.exempt", "must be nil if the type is Limited")
                )
            if spec.limited is None:
                found.append(
                    errors.required("spec.limited", "must not be empty when type is Limited")
                )
            else:
                found += _limited(spec.limited, "spec.limited")
        else:
            found.append(errors.not_supported("spec.type", spec.type, ("Exempt", "Limited")))
        return found


def _shares(part: Any, at: str) -> list[FieldError]:
    shares, lent, found = part.nominal_concurrency_shares, part.lendable_percent, list[FieldError]()
    if shares is not None and shares < 0:
        why = "must be a non-negative integer"
        found.append(errors.invalid_value(f"{at}.nominalConcurrencyShares", shares, why))
    if lent is not None and not 0 <= lent <= 100:
        found.append(
            errors.invalid_value(
                f"{at}.lendablePercent", lent, "must be between 0 and 100, inclusive"
            )
        )
    return found


def _limited(part: v1.LimitedPriorityLevelConfiguration, at: str) -> list[FieldError]:
    found, borrowed = _shares(part, at), part.borrowing_limit_percent
    if borrowed is not None and borrowed < 0:
        why = "if specified, must be a non-negative integer"
        found.append(errors.invalid_value(f"{at}.borrowingLimitPercent", borrowed, why))
    at, answer = f"{at}.limitResponse", part.limit_response
    queuing = answer.queuing
    if answer.type == "Reject":
        if queuing is not None:
            why = "must be nil if limited.limitResponse.type is not Limited"
            found.append(errors.forbidden_field(f"{at}.queuing", why))
    elif answer.type == "Queue":
        if queuing is None:
            why = "must not be empty if limited.limitResponse.type is Limited"
            return [*found, errors.required(f"{at}.queuing", why)]
        for name, value in (
            ("queueLengthLimit", queuing.queue_length_limit),
            ("queues", queuing.queues),
        ):
            if value <= 0:
                found.append(
                    errors.invalid_value(f"{at}.queuing.{name}", value, "must be positive")
                )
        if queuing.queues > _MOST_QUEUES:
            why = f"must not be greater than {_MOST_QUEUES}"
            found.append(errors.invalid_value(f"{at}.queuing.queues", queuing.queues, why))
        if queuing.hand_size <= 0:
            found.append(
                errors.invalid_value(
                    f"{at}.queuing.handSize", queuing.hand_size, "must be positive"
                )
            )
        elif queuing.hand_size > queuing.queues:
            why = f"should not be greater than queues ({queuing.queues})"
            found.append(errors.invalid_value(f"{at}.queuing.handSize", queuing.hand_size, why))
    else:
        found += given(answer.type, f"{at}.type") + one_of(
            answer.type, ("Queue", "Reject"), f"{at}.type"
        )
    return found
