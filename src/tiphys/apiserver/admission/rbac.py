"""Nobody gives away more than they have: roles and bindings are held against what their writer may do.

Who has the verb `escalate` (on roles) or `bind` (on the role that is bound) may all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api import rbac_v1
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.authorization import Asked, Authorizer
from tiphys.apiserver.request import MASTERS
from tiphys.machinery import errors

_GROUP = "rbac.authorization.k8s.io"


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
        authorizer = self._authorizer()
        if a.resource.plural.endswith("roles"):
            if (
                a.old is not None
                and a.obj.rules == a.old.rules
                and getattr(a.obj, "aggregation_rule", None) == getattr(a.old, "aggregation_rule", None)
            ):
                return
            asked = Asked("escalate", _GROUP, a.resource.plural, "", a.namespace, a.name)
            if authorizer.authorize(a.user, asked)[0]:
                return
            rules = list(a.obj.rules)
            if getattr(a.obj, "aggregation_rule", None) is not None:
                rules.append(rbac_v1.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]))
        else:
            if a.old is not None and a.obj.subjects == a.old.subjects and a.obj.role_ref == a.old.role_ref:
                return
            ref = a.obj.role_ref
            plural = "clusterroles" if ref.kind == "ClusterRole" else "roles"
            if authorizer.authorize(a.user, Asked("bind", _GROUP, plural, "", a.namespace, ref.name))[0]:
                return
            rules = authorizer.rules(a.namespace, ref)
        missing = self._missing(authorizer, a, rules)
        if missing:
            groups = ", ".join(f'"{g}"' for g in a.user.groups)
            why = f'user "{a.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
            raise errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, why + "\n".join(missing))

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


def _shown(rule: rbac_v1.PolicyRule) -> str:
    parts = (("APIGroups", rule.api_groups), ("Resources", rule.resources), ("ResourceNames", rule.resource_names),
             ("NonResourceURLs", rule.non_resource_urls), ("Verbs", rule.verbs))  # fmt: skip
    shown = [f"{name}:[{', '.join(_quote(v) for v in values)}]" for name, values in parts if values]
    return "{" + ", ".join(shown) + "}"


def _quote(text: Any) -> str:
    return f'"{text}"'
