"""The audit policy: the level of a request. The first rule that matches decides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.api.base import Struct, named
from tiphys.apiserver.http.request import RequestInfo, User
from tiphys.machinery import errors
from tiphys.machinery.configfiles import ConfigFileError, check, read
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors

log = logging.getLogger(__name__)
VERSION = "audit.k8s.io/v1"
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_MOST_KNOWN = 20_000  # kinds of requests whose rule is remembered


class Level(IntEnum):
    """How much is recorded. The names are those of the API."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


LEVELS = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}


class GroupResources(Struct):
    group: str = ""
    resources: list[str] = []
    resource_names: list[str] = []


class PolicyRule(Struct):
    level: str = ""
    users: list[str] = []
    user_groups: list[str] = []
    verbs: list[str] = []
    resources: list[GroupResources] = []
    namespaces: list[str] = []
    non_resource_urls: list[str] = named("nonResourceURLs", factory=list)
    omit_stages: list[str] = []
    omit_managed_fields: bool | None = None


class Policy(Struct):
    api_version: str = ""
    kind: str = ""
    metadata: dict[str, Any] = {}
    rules: list[PolicyRule] = []
    omit_stages: list[str] = []
    omit_managed_fields: bool = False


def load(file: Path) -> Policy:
    """The policy of a file. Unknown fields are logged, as upstream does it. Raises
    ConfigFileError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigFileError(
            f'loading audit policy file: failed to read file path "{file}": {error.strerror}'
        ) from None
    try:
        policy, problems = read(data, (VERSION,), Policy)
        check(policy_errors(policy))
        if not policy.rules:
            raise ConfigFileError("loaded illegal policy with 0 rules")
    except ConfigFileError as error:
        raise ConfigFileError(f"loading audit policy file: {error}: from file {file}") from None
    for problem in problems:
        log.warning("The audit policy %s contains an error that is ignored: %s", file, problem)
    return policy


# --- what is wrong with a policy ---


def policy_errors(policy: Policy) -> list[FieldError]:
    violations = list(_stage_errors(policy.omit_stages, "omitStages"))
    for index, rule in enumerate(policy.rules):
        violations += _rule_errors(rule, f"rules[{index}]")
    return violations


def _rule_errors(rule: PolicyRule, path: str) -> Iterator[FieldError]:
    if not rule.level:
        yield errors.required(f"{path}.level")
    elif rule.level not in LEVELS:
        yield errors.not_supported(f"{path}.level", rule.level, LEVELS)
    yield from _url_errors(rule.non_resource_urls, f"{path}.nonResourceURLs")
    yield from _resource_errors(rule.resources, f"{path}.resources")
    yield from _stage_errors(rule.omit_stages, f"{path}.omitStages")
    if rule.non_resource_urls and (rule.resources or rule.namespaces):
        detail = "rules cannot apply to both regular resources and non-resource URLs"
        yield errors.invalid_value(f"{path}.nonResourceURLs", rule.non_resource_urls, detail)


def _url_errors(urls: list[str], path: str) -> Iterator[FieldError]:
    for index, url in enumerate(urls):
        field = f"{path}[{index}]"
        if url == "*":
            continue
        if not url.startswith("/"):
            detail = "non-resource URL rules must begin with a '/' character"
            yield errors.invalid_value(field, url, detail)
        if "*" in url[:-1]:
            detail = "non-resource URL wildcards '*' must be the final character of the rule"
            yield errors.invalid_value(field, url, detail)


def _resource_errors(rows: list[GroupResources], path: str) -> Iterator[FieldError]:
    """Upstream's paths have no index of the row."""
    for row in rows:
        if row.group not in ("", "*") and (problems := dns_subdomain_errors(row.group)):
            yield errors.invalid_value(f"{path}.group", row.group, ",".join(problems))
        if row.resource_names and not row.resources:
            detail = "using resourceNames requires at least one resource"
            yield errors.invalid_value(f"{path}.resourceNames", row.resource_names, detail)


def _stage_errors(stages: list[str], path: str) -> Iterator[FieldError]:
    for index, stage in enumerate(stages):
        if stage not in STAGES:
            detail = f"allowed stages are {','.join(STAGES)}"
            yield errors.invalid_value(f"{path}[{index}]", stage, detail)


# --- which rule is about a request ---


class Applied(NamedTuple):
    """What a policy decides for a request: its level, the omitted stages, and whether
    managed fields are left out of objects."""

    level: Level
    omitted: frozenset[str]
    omit_managed_fields: bool


class Rules:
    """The rules of a policy. An answer is remembered by all that it depends on."""

    def __init__(self, policy: Policy) -> None:
        stages = frozenset(policy.omit_stages)
        self._rules: list[tuple[PolicyRule, Applied]] = []
        for rule in policy.rules:
            omit_fields = rule.omit_managed_fields
            if omit_fields is None:
                omit_fields = policy.omit_managed_fields
            omitted = stages.union(rule.omit_stages)
            self._rules.append((rule, Applied(LEVELS[rule.level], omitted, omit_fields)))
        self._otherwise = Applied(Level.NONE, stages, policy.omit_managed_fields)
        self._by_name = any(row.resource_names for rule in policy.rules for row in rule.resources)
        self._known: dict[tuple[Any, ...], Applied] = {}

    def applied_to(self, user: User | None, info: RequestInfo) -> Applied:
        """The decision for a request; `user` is None when it is not authenticated."""
        key = (
            (user.name, user.groups) if user is not None else None,
            info.verb,
            info.path if not info.is_resource else "",
            info.group,
            info.resource,
            info.subresource,
            info.namespace,
            info.name if self._by_name else "",
        )
        applied = self._known.get(key)
        if applied is None:
            if info.is_long:
                return self._decide(user, info)
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            applied = self._known[key] = self._decide(user, info)
        return applied

    def _decide(self, user: User | None, info: RequestInfo) -> Applied:
        for rule, applied in self._rules:
            if is_about(rule, user, info):
                return applied
        return self._otherwise


def is_about(rule: PolicyRule, user: User | None, info: RequestInfo) -> bool:
    """Whether a rule is about a request: upstream's `ruleMatches`."""
    if rule.users and (user is None or user.name not in rule.users):
        return False
    if rule.user_groups:
        if user is None or not any(group in rule.user_groups for group in user.groups):
            return False
    if rule.verbs and info.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return _is_about_resource(rule, info)
    if rule.non_resource_urls:
        return not info.is_resource and any(
            _covers(url, info.path) for url in rule.non_resource_urls
        )
    return True


def _covers(url: str, path: str) -> bool:
    if url in ("*", path):
        return True
    return url.endswith("*") and path.startswith(url.rstrip("*"))


def _is_about_resource(rule: PolicyRule, info: RequestInfo) -> bool:
    if not info.is_resource:
        return False
    if rule.namespaces and info.namespace not in rule.namespaces:
        return False
    if not rule.resources:
        return True
    return any(
        row.group in (info.group, "*") and _has_resource(row, info) for row in rule.resources
    )


def _has_resource(row: GroupResources, info: RequestInfo) -> bool:
    if not row.resources:
        return True
    if row.resource_names and info.name not in row.resource_names:
        return False
    requested = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    wanted = {requested, "*", f"{info.resource}/*"}
    if info.subresource:
        wanted.add(f"*/{info.subresource}")
    return any(resource in wanted for resource in row.resources)
