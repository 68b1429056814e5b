"""Which flow a request belongs to, by the FlowSchemas. Pure."""

from __future__ import annotations

from tiphys.api import flowcontrol_v1 as v1
from tiphys.apiserver.http.request import RequestInfo, User

_ACCOUNT = "system:serviceaccount:"


def _has(values: list[str], value: str) -> bool:
    return "*" in values or value in values


def _is_subject(subject: v1.Subject, user: User) -> bool:
    match subject.kind:
        case "User" if subject.user is not None:
            return subject.user.name in ("*", user.name)
        case "Group" if subject.group is not None:
            return subject.group.name == "*" or subject.group.name in user.groups
        case "ServiceAccount" if subject.service_account is not None:
            namespace = subject.service_account.namespace
            name = subject.service_account.name
            head = f"{_ACCOUNT}{namespace}:"
            return user.name.startswith(head) if name == "*" else user.name == head + name
    return False


def _is_about(rule: v1.PolicyRulesWithSubjects, info: RequestInfo) -> bool:
    if info.is_resource:
        return any(_is_about_resource(resource_rule, info) for resource_rule in rule.resource_rules)
    return any(_is_about_path(resource_rule, info) for resource_rule in rule.non_resource_rules)


def _is_about_resource(rule: v1.ResourcePolicyRule, info: RequestInfo) -> bool:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not _has(rule.verbs, info.verb) or not _has(rule.api_groups, info.group):
        return False
    if not _has(rule.resources, resource):
        return False
    return _has(rule.namespaces, info.namespace) if info.namespace else bool(rule.cluster_scope)


def _is_about_path(rule: v1.NonResourcePolicyRule, info: RequestInfo) -> bool:
    if not _has(rule.verbs, info.verb):
        return False
    for url in rule.non_resource_urls:
        if url in ("*", info.path) or (url.endswith("*") and info.path.startswith(url[:-1])):
            return True
    return False


def matches(schema: v1.FlowSchema, user: User, info: RequestInfo) -> bool:
    """Whether a schema is about a request."""
    for rule in schema.spec.rules:
        if _is_about(rule, info) and any(_is_subject(subject, user) for subject in rule.subjects):
            return True
    return False
