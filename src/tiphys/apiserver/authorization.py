"""May they: system:masters, RBAC, and what `nodeauthorizer` allows nodes. Nothing else allows anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tiphys.api import rbac_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.request import MASTERS, User
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_label_selector
from tiphys.store.store import Store

_G = "rbac.authorization.k8s.io"
_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS = (
    BY_PATH[_G, "v1", plural] for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the authorizers. `path` is set for what is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""
    fields: str = ""  # the field selector of a list or watch, where somebody looks at it


def refusal(user: User, asked: Asked) -> StatusError:
    """What a user is told who may not do what was asked."""
    if asked.path:
        error = errors.forbidden("", "", "")
        error.status.message = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        error.status.details = None
        return error
    what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{what}" in API group "{asked.group}" {where}'
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    return errors.forbidden(resource, asked.name, why)


@dataclass(slots=True)
class Grant:
    """Rules that hold in one namespace, or everywhere (namespace None), and where they come from."""

    namespace: str | None
    rules: list[rbac_v1.PolicyRule]
    source: str


class Authorizer:
    """`nodes` says what a node may do."""

    def __init__(self, store: Store, nodes: Callable[[User, Asked], bool] = lambda user, asked: False) -> None:
        self._store = store
        self._nodes = nodes
        self._seen: tuple[int, ...] = ()
        self._grants: dict[tuple[str, tuple[str, ...]], list[Grant]] = {}
        self._answers: dict[tuple[str, tuple[str, ...], Asked], tuple[bool, str]] = {}
        self._caches = [store.cache(r.prefix) for r in (_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS)]

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        """(allowed, why)."""
        if MASTERS in user.groups:
            return True, ""
        self._refresh()
        key = (user.name, user.groups, asked)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._decide(user, asked)
            if len(self._answers) > 50_000:
                self._answers.clear()
            self._answers[key] = answer
        if not answer[0] and "system:nodes" in user.groups:
            return self._nodes(user, asked), ""
        return answer

    def _refresh(self) -> None:
        seen = tuple([cache.revision for cache in self._caches])
        if seen != self._seen:
            self._seen = seen
            self._grants.clear()
            self._answers.clear()

    def _decide(self, user: User, asked: Asked) -> tuple[bool, str]:
        for grant in self.grants(user):
            if grant.namespace is not None and (grant.namespace != asked.namespace or asked.path):
                continue
            if any(rule_allows(rule, asked) for rule in grant.rules):
                return True, f"RBAC: allowed by {grant.source}"
        return False, ""

    def grants(self, user: User) -> list[Grant]:
        """Everything RBAC gives to a user, cluster-wide grants first."""
        self._refresh()
        key = (user.name, user.groups)
        found = self._grants.get(key)
        if found is None:
            found = self._grants[key] = list(self._collect(user))
        return found

    def _collect(self, user: User) -> Iterable[Grant]:
        for entry in self._caches[3]:
            binding = decode(entry.data, rbac_v1.ClusterRoleBinding)
            if subject := _applies(binding.subjects, user, ""):
                source = f'ClusterRoleBinding "{binding.metadata.name}" of ClusterRole "{binding.role_ref.name}" to {subject}'
                yield Grant(None, self.rules("", binding.role_ref), source)
        for entry in self._caches[2]:
            scoped = decode(entry.data, rbac_v1.RoleBinding)
            namespace = scoped.metadata.namespace
            if subject := _applies(scoped.subjects, user, namespace):
                source = f'RoleBinding "{scoped.metadata.name}/{namespace}" of {scoped.role_ref.kind} "{scoped.role_ref.name}" to {subject}'
                yield Grant(namespace, self.rules(namespace, scoped.role_ref), source)

    def rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule]:
        """The rules behind a role reference; none when the role is missing."""
        return self.find_rules(namespace, ref) or []

    def find_rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule] | None:
        """The same, but None when the role is missing."""
        resource, kind = (_CLUSTER_ROLES, rbac_v1.ClusterRole) if ref.kind == "ClusterRole" else (_ROLES, rbac_v1.Role)
        entry = self._store.cache(resource.prefix).get(resource.key(namespace, ref.name))
        return decode(entry.data, kind).rules if entry else None  # type: ignore[attr-defined]


def _applies(subjects: list[rbac_v1.Subject], user: User, namespace: str) -> str:
    for subject in subjects:
        if subject.kind == "User" and subject.name == user.name:
            return f'User "{subject.name}"'
        if subject.kind == "Group" and subject.name in user.groups:
            return f'Group "{subject.name}"'
        if subject.kind == "ServiceAccount":
            where = subject.namespace or namespace
            if user.name == f"system:serviceaccount:{where}:{subject.name}":
                return f'ServiceAccount "{subject.name}/{where}"'
    return ""


def rule_allows(rule: rbac_v1.PolicyRule, asked: Asked) -> bool:
    if "*" not in rule.verbs and asked.verb not in rule.verbs:
        return False
    if asked.path:
        return any(
            url in ("*", asked.path) or (url.endswith("*") and asked.path.startswith(url[:-1]))
            for url in rule.non_resource_urls
        )
    if "*" not in rule.api_groups and asked.group not in rule.api_groups:
        return False
    if rule.resource_names and asked.name not in rule.resource_names:
        return False
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    return any(r in ("*", wanted) or (asked.subresource and r == f"*/{asked.subresource}") for r in rule.resources)


def aggregated(role: rbac_v1.ClusterRole, roles: Iterable[rbac_v1.ClusterRole]) -> list[Any]:
    """The rules an aggregating role gathers from the roles its selectors choose."""
    selectors = [
        from_label_selector(s) for s in (role.aggregation_rule.cluster_role_selectors if role.aggregation_rule else [])
    ]
    rules: list[Any] = []
    for other in sorted(roles, key=lambda r: r.metadata.name):
        if other.metadata.name != role.metadata.name and any(s and s.matches(other.metadata.labels) for s in selectors):
            rules += [rule for rule in other.rules if rule not in rules]
    return rules
