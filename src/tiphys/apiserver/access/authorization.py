"""May they: system:masters, RBAC, and what `nodeauthorizer` allows nodes. Nothing else allows anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tiphys.api import rbac_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.http.request import MASTERS, User
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_label_selector
from tiphys.store.cache import ResourceCache
from tiphys.store.store import Store

B = TypeVar("B", rbac_v1.RoleBinding, rbac_v1.ClusterRoleBinding)
_MOST_ROLES = 20_000  # whose rules are remembered, those that are gone among them
_G = "rbac.authorization.k8s.io"
_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS = (
    BY_PATH[_G, "v1", plural]
    for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
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


def refusal(user: User, asked: Asked, reason: str = "") -> StatusError:
    """The 403 for a user who may not do what was asked, with the `reason` where there is more to say."""
    if asked.path:
        error = errors.forbidden("", "", "")
        error.status.message = (
            f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        )
        error.status.details = None
        return error
    what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    sentence = (
        f'User "{user.name}" cannot {asked.verb} resource "{what}" '
        f'in API group "{asked.group}" {where}'
    )
    if reason:
        sentence = f"{sentence}: {reason}"
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    return errors.forbidden(resource, asked.name, sentence)


@dataclass(slots=True)
class Grant:
    """Rules that hold in one namespace, or everywhere (namespace None), and where they come from."""

    namespace: str | None
    rules: list[rbac_v1.PolicyRule]
    source: str


class _Bindings(Generic[B]):
    """The bindings of one kind, by whom they are about."""

    def __init__(self, cache: ResourceCache, kind: type[B]) -> None:
        self._mirror: Mirror[B] = Mirror(cache, kind)
        self._about: dict[
            tuple[str, str], dict[str, B]
        ] = {}  # (kind, name) of a subject → bindings by key

    def refresh(self) -> bool:
        """Whether anything changed."""
        gone, come = self._mirror.refresh()
        for key, binding in gone:
            for subject in _subjects(binding):
                self._about.get(subject, {}).pop(key, None)
        for key, binding in come:
            for subject in _subjects(binding):
                self._about.setdefault(subject, {})[key] = binding
        return bool(gone or come)

    def about(self, user: User) -> list[B]:
        """Those that name the user or one of his groups, in the order of their keys."""
        found = dict(self._about.get(("User", user.name), ()))
        for group in user.groups:
            found |= self._about.get(("Group", group), {})
        return [found[key] for key in sorted(found)]


def _subjects(binding: Any) -> Iterable[tuple[str, str]]:
    for subject in binding.subjects:
        if subject.kind == "ServiceAccount":
            where = subject.namespace or binding.metadata.namespace
            yield "User", f"system:serviceaccount:{where}:{subject.name}"
        else:
            yield subject.kind, subject.name


class _Granted:
    """What one user has. `within` are the grants of each namespace, None for those that hold everywhere; a role that several
    bindings give is there once."""

    def __init__(self, grants: list[Grant]) -> None:
        self.all = grants
        self.within: dict[str | None, list[Grant]] = {}
        once = set[tuple[str | None, int]]()
        for grant in grants:
            role = (grant.namespace, id(grant.rules))
            if role not in once:
                once.add(role)
                self.within.setdefault(grant.namespace, []).append(grant)
        self._named = {
            grant.namespace for grant in grants if any(rule.resource_names for rule in grant.rules)
        }

    def depends_on_name(self, namespace: str) -> bool:
        """Whether what is allowed in a namespace may depend on an object's name."""
        return None in self._named or namespace in self._named


class Authorizer:
    """`nodes` says what a node may do."""

    def __init__(
        self, store: Store, nodes: Callable[[User, Asked], bool] = lambda user, asked: False
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._seen: tuple[int, ...] = ()
        self._granted: dict[tuple[str, tuple[str, ...]], _Granted] = {}
        self._answers: dict[tuple[Any, ...], tuple[bool, str]] = {}  # by all that matters to them
        self._caches = [
            store.cache(r.prefix) for r in (_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS)
        ]
        self._scoped = _Bindings(self._caches[2], rbac_v1.RoleBinding)
        self._wide = _Bindings(self._caches[3], rbac_v1.ClusterRoleBinding)
        self._rules: dict[
            str, tuple[int, list[rbac_v1.PolicyRule]]
        ] = {}  # by key of a role, with its revision

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        """(allowed, why)."""
        self.refresh()  # whoever asks: many changes at once would take long
        if MASTERS in user.groups:
            return True, ""
        # Where no rule speaks of names, one answer holds for every object: those about 20,000 pods
        # that are deleted one by one took 15 MiB.
        by_name = self._of(user).depends_on_name(asked.namespace)
        key = (
            user.name,
            user.groups,
            asked.verb,
            asked.group,
            asked.resource,
            asked.subresource,
            asked.namespace,
            asked.name if by_name else "",
            asked.path,
        )
        answer = self._answers.get(key)
        if answer is None:
            answer = self._decide(user, asked)
            if len(self._answers) > 50_000:
                self._answers.clear()
            self._answers[key] = answer
        if not answer[0] and "system:nodes" in user.groups:
            return self._nodes(user, asked), ""
        return answer

    def refresh(self) -> None:
        """Takes note of roles and bindings that changed."""
        seen = tuple([cache.revision for cache in self._caches])
        if seen != self._seen:
            self._seen = seen
            self._scoped.refresh()
            self._wide.refresh()
            if len(self._rules) > _MOST_ROLES:
                self._rules.clear()
            self._granted.clear()
            self._answers.clear()

    def _decide(self, user: User, asked: Asked) -> tuple[bool, str]:
        within = self._of(user).within
        for namespace in (None,) if asked.path else (None, asked.namespace):
            for grant in within.get(namespace, ()):
                if any(rule_allows(rule, asked) for rule in grant.rules):
                    return True, f"RBAC: allowed by {grant.source}"
        return False, ""

    def grants(self, user: User) -> list[Grant]:
        """Everything RBAC gives to a user, cluster-wide grants first."""
        self.refresh()
        return self._of(user).all

    def _of(self, user: User) -> _Granted:
        key = (user.name, user.groups)
        found = self._granted.get(key)
        if found is None:
            found = self._granted[key] = _Granted(list(self._collect(user)))
        return found

    def _collect(self, user: User) -> Iterable[Grant]:
        for binding in self._wide.about(user):
            subject = _applies(binding.subjects, user, "")
            source = f'ClusterRoleBinding "{binding.metadata.name}" of ClusterRole "{binding.role_ref.name}" to {subject}'
            yield Grant(None, self.rules("", binding.role_ref), source)
        for scoped in self._scoped.about(user):
            namespace = scoped.metadata.namespace
            subject = _applies(scoped.subjects, user, namespace)
            source = f'RoleBinding "{scoped.metadata.name}/{namespace}" of {scoped.role_ref.kind} "{scoped.role_ref.name}" to {subject}'
            yield Grant(namespace, self.rules(namespace, scoped.role_ref), source)

    def rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule]:
        """The rules behind a role reference; none when the role is missing."""
        return self.find_rules(namespace, ref) or []

    def find_rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule] | None:
        """The same, but None when the role is missing. Nobody changes them."""
        resource, kind = (
            (_CLUSTER_ROLES, rbac_v1.ClusterRole)
            if ref.kind == "ClusterRole"
            else (_ROLES, rbac_v1.Role)
        )
        entry = self._store.cache(resource.prefix).get(resource.key(namespace, ref.name))
        if entry is None:
            return None
        known = self._rules.get(entry.key)
        if known is None or known[0] != entry.revision:
            known = self._rules[entry.key] = (entry.revision, decode(entry.data, kind).rules)  # type: ignore[attr-defined]
        return known[1]


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
    return any(
        r in ("*", wanted) or (asked.subresource and r == f"*/{asked.subresource}")
        for r in rule.resources
    )


def aggregated(role: rbac_v1.ClusterRole, roles: Iterable[rbac_v1.ClusterRole]) -> list[Any]:
    """The rules an aggregating role gathers from the roles its selectors choose."""
    selectors = [
        from_label_selector(s)
        for s in (role.aggregation_rule.cluster_role_selectors if role.aggregation_rule else [])
    ]
    rules: list[Any] = []
    for other in sorted(roles, key=lambda r: r.metadata.name):
        if other.metadata.name != role.metadata.name and any(
            s and s.matches(other.metadata.labels) for s in selectors
        ):
            rules += [rule for rule in other.rules if rule not in rules]
    return rules
