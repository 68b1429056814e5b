"""Nobody gives away more than they have: roles and bindings are held against what their writer may do.

Who has the verb `escalate` (on roles) or `bind` (on the role that is bound) may all the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api import rbac_v1
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.authorization import Asked, Authorizer
from tiphys.apiserver.request import MASTERS
from tiphys.machinery import errors

_GROUP = "rbac.authorization.k8s.io"
_FULL = [
    rbac_v1.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
    rbac_v1.PolicyRule(verbs=["*"], non_resource_urls=["*"]),
]


def single_rules(rules: list[rbac_v1.PolicyRule]) -> Iterator[rbac_v1.PolicyRule]:
    """Rules of one verb on one thing each."""
    for rule in rules:
        for verb in rule.verbs:
            for url in rule.non_resource_urls:
                yield rbac_v1.PolicyRule(verbs=[verb], non_resource_urls=[url])
            for group in rule.api_groups:
                for resource in rule.resources:
                    for name in rule.resource_names or [""]:
                        names = [name] if name else []
                        yield rbac_v1.PolicyRule(
                            verbs=[verb], api_groups=[group], resources=[resource], resource_names=names
                        )


def covers(owned: rbac_v1.PolicyRule, wanted: rbac_v1.PolicyRule) -> bool:
    """Whether a rule gives everything that a single rule gives."""
    if not _has(owned.verbs, wanted.verbs[0]):
        return False
    if wanted.non_resource_urls:
        url = wanted.non_resource_urls[0]
        return any(u in ("*", url) or (u.endswith("*") and url.startswith(u[:-1])) for u in owned.non_resource_urls)
    if not _has(owned.api_groups, wanted.api_groups[0]):
        return False
    resource = wanted.resources[0]
    sub = resource.partition("/")[2]
    if not (_has(owned.resources, resource) or (sub and f"*/{sub}" in owned.resources)):
        return False
    return not owned.resource_names or (
        bool(wanted.resource_names) and wanted.resource_names[0] in owned.resource_names
    )


def covered(owned: list[rbac_v1.PolicyRule], wanted: rbac_v1.PolicyRule) -> bool:
    """Whether rules together give everything that a rule gives."""
    return all(any(covers(rule, single) for rule in owned) for single in single_rules([wanted]))


def _has(values: list[str], value: str) -> bool:
    return "*" in values or value in values


class RBACEscalation(Base):
    resources = frozenset(
        f"{plural}.{_GROUP}" for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
    )

    def __init__(self, authorizer: Callable[[], Authorizer]) -> None:
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.obj is None or MASTERS in a.user.groups:
            return
        if a.old is not None and _without_bookkeeping(a.obj) == _without_bookkeeping(a.old):
            return
        if a.resource.plural.endswith("roles"):
            self._check_role(a)
        else:
            self._check_binding(a)

    def _check_role(self, a: Attributes) -> None:
        authorizer = self._authorizer()
        name = "" if a.operation == "CREATE" else a.name  # a path that creates names nothing
        if authorizer.authorize(a.user, Asked("escalate", _GROUP, a.resource.plural, "", a.namespace, name))[0]:
            return
        self._confirm(a, list(a.obj.rules))
        # It gathers anything, and what it gathered cannot be tightened.
        if (_gathers(a.obj) or _gathers(a.old)) and self._missing(authorizer, a, _FULL):
            raise _forbidden(a, "must have cluster-admin privileges to use the aggregationRule")

    def _check_binding(self, a: Attributes) -> None:
        """Raises 403, and 404 for a role that is not there: who could bind it once it is, could bind anything."""
        authorizer, ref = self._authorizer(), a.obj.role_ref
        plural = "clusterroles" if ref.kind == "ClusterRole" else "roles"
        if authorizer.authorize(a.user, Asked("bind", _GROUP, plural, "", a.namespace, ref.name))[0]:
            return
        rules = authorizer.find_rules(a.namespace, ref)
        if rules is None:
            raise errors.not_found(f"{plural}.{_GROUP}", ref.name)
        self._confirm(a, rules)

    def _confirm(self, a: Attributes, rules: list[rbac_v1.PolicyRule]) -> None:
        missing = self._missing(self._authorizer(), a, rules)
        if missing:
            groups = ", ".join(f'"{g}"' for g in a.user.groups)
            why = f'user "{a.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
            raise _forbidden(a, why + "\n".join(missing))

    @staticmethod
    def _missing(authorizer: Authorizer, a: Attributes, rules: list[rbac_v1.PolicyRule]) -> list[str]:
        owned = [
            rule for grant in authorizer.grants(a.user)
            if grant.namespace is None or (a.namespace and grant.namespace == a.namespace) for rule in grant.rules
        ]  # fmt: skip
        found = []
        for wanted in single_rules(rules):
            if not any(covers(rule, wanted) for rule in owned):
                found.append(_shown(wanted))
        return list(dict.fromkeys(found))


def _gathers(role: Any) -> bool:
    rule = getattr(role, "aggregation_rule", None)
    return rule is not None and bool(rule.cluster_role_selectors)


def _without_bookkeeping(obj: Any) -> Any:
    """The object without what the garbage collector changes to delete it, which gives nobody anything. Labels count:
    they carry a role's rules into the roles that gather them."""
    kept = copy.deepcopy(obj)
    meta = kept.metadata
    meta.owner_references, meta.finalizers, meta.managed_fields = [], [], []
    meta.resource_version = ""
    return kept


def _forbidden(a: Attributes, why: str) -> errors.StatusError:
    return errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, why)


def _shown(rule: rbac_v1.PolicyRule) -> str:
    parts = (("APIGroups", rule.api_groups), ("Resources", rule.resources), ("ResourceNames", rule.resource_names),
             ("NonResourceURLs", rule.non_resource_urls), ("Verbs", rule.verbs))  # fmt: skip
    shown = [f"{name}:[{', '.join(_quote(v) for v in values)}]" for name, values in parts if values]
    return "{" + ", ".join(shown) + "}"


def _quote(text: Any) -> str:
    return f'"{text}"'
