"""What a rule of a role allows, and whom a binding is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api import rbac_v1
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.http.request import User
from tiphys.machinery.selectors import from_label_selector


def account_user(namespace: str, name: str) -> str:
    """The user that a service account is."""
    return f"system:serviceaccount:{namespace}:{name}"


def applies(subjects: list[rbac_v1.Subject], user: User, namespace: str) -> str:
    """The first subject that the user is, in words; empty when there is none. `namespace` is that
    of service accounts that name none."""
    for subject in subjects:
        if subject.kind == "User" and subject.name == user.name:
            return f'User "{subject.name}"'
        if subject.kind == "Group" and subject.name in user.groups:
            return f'Group "{subject.name}"'
        if subject.kind == "ServiceAccount":
            where = subject.namespace or namespace
            if user.name == account_user(where, subject.name):
                return f'ServiceAccount "{subject.name}/{where}"'
    return ""


def rule_allows(rule: rbac_v1.PolicyRule, asked: Asked) -> bool:
    """Whether one rule allows what is asked: upstream's RuleAllows."""
    if "*" not in rule.verbs and asked.verb not in rule.verbs:
        return False
    if asked.path:
        return any(_is_path(url, asked.path) for url in rule.non_resource_urls)
    if "*" not in rule.api_groups and asked.group not in rule.api_groups:
        return False
    # A request without a name (list, create) is not about one of the names.
    if rule.resource_names and asked.name not in rule.resource_names:
        return False
    if "*" in rule.resources:
        return True
    if not asked.subresource:
        return asked.resource in rule.resources
    resource = f"{asked.resource}/{asked.subresource}"
    return resource in rule.resources or f"*/{asked.subresource}" in rule.resources


def _is_path(url: str, path: str) -> bool:
    """Whether a rule's URL, which may end with a wildcard, covers a path."""
    return url == path or (url.endswith("*") and path.startswith(url[:-1]))


def aggregated(
    role: rbac_v1.ClusterRole, roles: Iterable[rbac_v1.ClusterRole]
) -> list[rbac_v1.PolicyRule]:
    """The rules an aggregating role gathers from the roles its selectors choose, in the order of
    their names, each rule once."""
    if role.aggregation_rule is None:
        return []
    selectors = [
        from_label_selector(selector) for selector in role.aggregation_rule.cluster_role_selectors
    ]
    rules: list[rbac_v1.PolicyRule] = []
    for other in sorted(roles, key=lambda role: role.metadata.name):
        if other.metadata.name == role.metadata.name:
            continue
        labels = other.metadata.labels
        if any(selector and selector.matches(labels) for selector in selectors):
            rules += [rule for rule in other.rules if rule not in rules]
    return rules
