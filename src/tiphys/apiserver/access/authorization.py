"""Who may do what: system:masters everything, others what RBAC allows, and nodes what
`nodeauthorizer` does.

There are no deny rules: what no rule allows is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tiphys.api import rbac_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorizers import Chain, Decision
from tiphys.apiserver.access.rbacrules import account_user, applies, rule_allows
from tiphys.apiserver.http.request import MASTERS, User
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.machinery.derived import Derived
from tiphys.store.cache import ResourceCache
from tiphys.store.store import Store

B = TypeVar("B", rbac_v1.RoleBinding, rbac_v1.ClusterRoleBinding)
_MOST_ROLES = 20_000  # whose rules are remembered, deleted ones included
_MOST_ANSWERS = 50_000  # that are remembered until a role or binding changes
_MOST_USERS = 10_000  # likewise, whose grants are
_LONGEST = 4096  # characters of a cache key: clients choose most of it
_NODE = "system:node:"
_NODES = "system:nodes"  # the group of every node
_DEFAULT = frozenset(("Node", "RBAC"))  # who is asked where no chain is configured
_G = "rbac.authorization.k8s.io"
_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS = (
    BY_PATH[_G, "v1", plural]
    for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
)


@dataclass(slots=True)
class Grant:
    """Rules that hold in one namespace, or everywhere (namespace None). `source` says which
    binding gives them."""

    namespace: str | None
    rules: list[rbac_v1.PolicyRule]
    source: str


class _Bindings(Generic[B]):
    """The bindings of one kind, indexed by subject."""

    def __init__(self, cache: ResourceCache, kind: type[B]) -> None:
        self._mirror: Mirror[B] = Mirror(cache, kind)
        # (kind, name) of a subject → bindings by their key in the store
        self._about: dict[tuple[str, str], dict[str, B]] = {}

    def refresh(self) -> bool:
        """Whether anything changed."""
        removed, added = self._mirror.refresh()
        for key, binding in removed:
            for subject in _subjects(binding):
                self._about.get(subject, {}).pop(key, None)
        for key, binding in added:
            for subject in _subjects(binding):
                self._about.setdefault(subject, {})[key] = binding
        return bool(removed or added)

    def about(self, user: User) -> list[B]:
        """Those that name the user or one of his groups, in the order of their keys."""
        bindings = dict(self._about.get(("User", user.name), ()))
        for group in user.groups:
            bindings |= self._about.get(("Group", group), {})
        return [bindings[key] for key in sorted(bindings)]

    def groups(self) -> set[str]:
        """Those that any binding names."""
        return {name for kind, name in self._about if kind == "Group"}


def _subjects(
    binding: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding,
) -> Iterable[tuple[str, str]]:
    """(User or Group, name) of each subject; a service account is a user."""
    for subject in binding.subjects:
        if subject.kind == "ServiceAccount":
            namespace = subject.namespace or binding.metadata.namespace
            yield "User", account_user(namespace, subject.name)
        else:
            yield subject.kind, subject.name


class _Granted:
    """What one user has.

    `within` has the grants of each namespace, and under None those that hold everywhere. A role
    that several bindings give is there once.
    """

    def __init__(self, grants: list[Grant]) -> None:
        self.all = grants
        self.within: dict[str | None, list[Grant]] = {}
        seen = set[tuple[str | None, int]]()
        for grant in grants:
            role = (grant.namespace, id(grant.rules))
            if role not in seen:
                seen.add(role)
                self.within.setdefault(grant.namespace, []).append(grant)
        self._named = {
            grant.namespace for grant in grants if any(rule.resource_names for rule in grant.rules)
        }

    def depends_on_name(self, namespace: str) -> bool:
        """Whether what is allowed in a namespace may depend on an object's name."""
        return None in self._named or namespace in self._named


class _Known:
    """What was worked out from the roles and bindings as they are."""

    __slots__ = ("answers", "granted")

    def __init__(self) -> None:
        self.granted: dict[tuple[str, tuple[str, ...]], _Granted] = {}
        self.answers: dict[tuple[Any, ...], tuple[bool, str]] = {}  # by all that matters to them


def _is_long(user: User, asked: Asked | None = None) -> bool:
    """Whether they are too long for a cache key."""
    length = len(user.name) + sum(map(len, user.groups))
    if asked is not None:
        texts = (asked.group, asked.resource, asked.subresource, asked.namespace, asked.name)
        length += len(asked.verb) + len(asked.path) + sum(map(len, texts))
    return length > _LONGEST


def _no_node(user: User, asked: Asked) -> bool:
    return False


class Authorizer:
    """Answers from the roles and bindings in the store. `nodes` decides for users in the group
    system:nodes what RBAC does not allow. Where a `chain` is configured, that is asked instead."""

    def __init__(self, store: Store, nodes: Callable[[User, Asked], bool] = _no_node) -> None:
        self._store = store
        self._nodes = nodes
        self.chain: Chain | None = None
        self._caches = [
            store.cache(r.prefix) for r in (_ROLES, _CLUSTER_ROLES, _BINDINGS, _CLUSTER_BINDINGS)
        ]
        self._scoped = _Bindings(self._caches[2], rbac_v1.RoleBinding)
        self._wide = _Bindings(self._caches[3], rbac_v1.ClusterRoleBinding)
        # Rules of a role by its key in the store, with the role's revision.
        self._rules: dict[str, tuple[int, list[rbac_v1.PolicyRule]]] = {}
        self._known = Derived(self._revisions, self._refreshed)

    def decide(self, user: User, asked: Asked) -> Decision:
        """The whole decision. Raises Unanswered when a webhook has to be asked."""
        if self.chain is None or MASTERS in user.groups:
            allowed, reason = self.authorize(user, asked)
            return Decision(allowed, reason=reason)
        self.refresh()
        return self.chain.decide(user, asked)

    def by_node(self, user: User, asked: Asked) -> tuple[bool, str]:
        """The node authorizer's decision alone."""
        return _NODES in user.groups and self._nodes(user, asked), ""

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        """(allowed, reason). Raises Unanswered when a webhook has to be asked."""
        # For masters as well: unread changes would pile up until they take
        # long.
        known = self._known.get()
        if MASTERS in user.groups:
            return True, ""
        if self.chain is not None:
            decision = self.chain.decide(user, asked)
            return decision.allowed, decision.reason
        answer = self._by_rules(user, asked, known)
        if not answer[0] and _NODES in user.groups:
            return self._nodes(user, asked), ""
        return answer

    def by_rules(self, user: User, asked: Asked) -> tuple[bool, str]:
        """RBAC's decision alone."""
        return self._by_rules(user, asked, self._known.get())

    def _by_rules(self, user: User, asked: Asked, known: _Known) -> tuple[bool, str]:
        # Where no rule speaks of names, one answer holds for every object: those about 20,000 pods
        # that are deleted one by one took 15 MiB.
        by_name = self._granted_to(user, known).depends_on_name(asked.namespace)
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
        answer = known.answers.get(key)
        if answer is None:
            answer = self._decide(self._granted_to(user, known), asked)
            if _is_long(user, asked):
                return answer
            if len(known.answers) > _MOST_ANSWERS:
                known.answers.clear()
            known.answers[key] = answer
        return answer

    def refresh(self) -> None:
        """Applies changes of roles and bindings since the last call."""
        self._known.get()

    def deciding_groups(self) -> frozenset[str] | None:
        """The groups that may make a difference to a decision; None where every group may."""
        if self.chain is not None:
            return None
        self.refresh()
        return frozenset({MASTERS, _NODES} | self._wide.groups() | self._scoped.groups())

    def _revisions(self) -> tuple[int, ...]:
        return tuple([cache.revision for cache in self._caches])

    def _refreshed(self) -> _Known:
        self._scoped.refresh()
        self._wide.refresh()
        if len(self._rules) > _MOST_ROLES:
            self._rules.clear()
        return _Known()

    def _decide(self, granted: _Granted, asked: Asked) -> tuple[bool, str]:
        # A grant in a namespace opens no paths, which are in none.
        namespaces = (None,) if asked.path else (None, asked.namespace)
        for namespace in namespaces:
            for grant in granted.within.get(namespace, ()):
                if any(rule_allows(rule, asked) for rule in grant.rules):
                    return True, f"RBAC: allowed by {grant.source}"
        return False, ""

    def grants(self, user: User) -> list[Grant]:
        """Everything RBAC gives to a user, cluster-wide grants first."""
        if self.chain is not None and "RBAC" not in self.chain.kinds:
            return []
        return self._granted_to(user, self._known.get()).all

    def unknown_rules(self, user: User) -> list[str]:
        """Why `grants` is not all that a user may do; empty if it is."""
        kinds = self.chain.kinds if self.chain is not None else _DEFAULT
        reasons = []
        if "Node" in kinds and _NODES in user.groups and user.name.startswith(_NODE):
            reasons.append("node authorizer does not support user rule resolution")
        if "Webhook" in kinds:
            reasons.append("webhook authorizer does not support user rule resolution")
        return reasons

    def _granted_to(self, user: User, known: _Known) -> _Granted:
        key = (user.name, user.groups)
        granted = known.granted.get(key)
        if granted is None:
            granted = _Granted(list(self._collect(user)))
            if _is_long(user):
                return granted
            if len(known.granted) >= _MOST_USERS:
                known.granted.clear()
            known.granted[key] = granted
        return granted

    def _collect(self, user: User) -> Iterable[Grant]:
        for binding in self._wide.about(user):
            subject = applies(binding.subjects, user, "")
            source = (
                f'ClusterRoleBinding "{binding.metadata.name}" '
                f'of ClusterRole "{binding.role_ref.name}" to {subject}'
            )
            yield Grant(None, self.rules("", binding.role_ref), source)
        for scoped in self._scoped.about(user):
            namespace = scoped.metadata.namespace
            subject = applies(scoped.subjects, user, namespace)
            source = (
                f'RoleBinding "{scoped.metadata.name}/{namespace}" '
                f'of {scoped.role_ref.kind} "{scoped.role_ref.name}" to {subject}'
            )
            yield Grant(namespace, self.rules(namespace, scoped.role_ref), source)

    def rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule]:
        """The rules behind a role reference; none when the role is missing."""
        return self.find_rules(namespace, ref) or []

    def find_rules(self, namespace: str, ref: rbac_v1.RoleRef) -> list[rbac_v1.PolicyRule] | None:
        """The same, but None when the role is missing. The list is shared: callers must not change
        it."""
        kind: type[rbac_v1.ClusterRole] | type[rbac_v1.Role]
        if ref.kind == "ClusterRole":
            resource = _CLUSTER_ROLES
            kind = rbac_v1.ClusterRole
        else:
            resource = _ROLES
            kind = rbac_v1.Role
        entry = self._store.cache(resource.prefix).get(resource.key(namespace, ref.name))
        if entry is None:
            return None
        known = self._rules.get(entry.key)
        if known is None or known[0] != entry.revision:
            known = self._rules[entry.key] = (entry.revision, decode(entry.data, kind).rules)
        return known[1]
