"""Escalation check: a role's rules are compared with what its writer may do.

The verbs `escalate` (on roles) and `bind` (on the role that is bound) lift this.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable
from typing import Any

from tiphys.api import rbac_v1
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.coverage import Owned, size
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.http.request import MASTERS
from tiphys.machinery import errors

_GROUP = "rbac.authorization.k8s.io"
_LARGE = 5_000  # names and words in rules that take some milliseconds to check
_MOST_LISTED = 200  # rules that an error lists
_FULL = [
    rbac_v1.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
    rbac_v1.PolicyRule(verbs=["*"], non_resource_urls=["*"]),
]


class RBACEscalation(Base):
    resources = frozenset(
        f"{plural}.{_GROUP}"
        for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
    )

    def __init__(self, authorizer: Callable[[], Authorizer]) -> None:
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.obj is None or MASTERS in a.user.groups:
            return
        if a.old is not None and _without_bookkeeping(a.obj) == _without_bookkeeping(a.old):
            return
        if a.resource.plural.endswith("roles"):
            await self._check_role(a)
        else:
            await self._check_binding(a)

    async def _check_role(self, a: Attributes) -> None:
        authorizer = self._authorizer()
        name = "" if a.operation == "CREATE" else a.name  # a path that creates names nothing
        asked = Asked("escalate", _GROUP, a.resource.plural, "", a.namespace, name)
        allowed, _ = authorizer.authorize(a.user, asked)
        if allowed:
            return
        await self._confirm(a, list(a.obj.rules))
        # An aggregating role may gather anything, also later.
        if (_gathers(a.obj) or _gathers(a.old)) and await self._missing(authorizer, a, _FULL):
            raise _forbidden(a, "must have cluster-admin privileges to use the aggregationRule")

    async def _check_binding(self, a: Attributes) -> None:
        """Raises 403, and 404 for a role that does not exist: it could be created with any rules
        afterwards."""
        authorizer = self._authorizer()
        ref = a.obj.role_ref
        plural = "clusterroles" if ref.kind == "ClusterRole" else "roles"
        asked = Asked("bind", _GROUP, plural, "", a.namespace, ref.name)
        allowed, _ = authorizer.authorize(a.user, asked)
        if allowed:
            return
        rules = authorizer.find_rules(a.namespace, ref)
        if rules is None:
            raise errors.not_found(f"{plural}.{_GROUP}", ref.name)
        await self._confirm(a, rules)

    async def _confirm(self, a: Attributes, rules: list[rbac_v1.PolicyRule]) -> None:
        missing = await self._missing(self._authorizer(), a, rules)
        if missing:
            groups = ", ".join(f'"{g}"' for g in a.user.groups)
            heading = (
                f'user "{a.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
                "not currently held:"
            )
            raise _forbidden(a, "\n".join([heading, *missing]))

    @staticmethod
    async def _missing(
        authorizer: Authorizer, a: Attributes, rules: list[rbac_v1.PolicyRule]
    ) -> list[str]:
        """What the writer does not have of some rules, in words; the first of it, when it is
        much."""
        owned: list[rbac_v1.PolicyRule] = []
        for grant in authorizer.grants(a.user):
            if grant.namespace is None or (a.namespace and grant.namespace == a.namespace):
                owned += grant.rules
        if sum(map(size, rules)) > _LARGE:
            # On a thread: the event loop goes on meanwhile.
            return await asyncio.to_thread(_missing_rules, owned, rules)
        return _missing_rules(owned, rules)


def _missing_rules(owned: list[rbac_v1.PolicyRule], rules: list[rbac_v1.PolicyRule]) -> list[str]:
    missing = Owned(owned).missing(rules)
    return list(dict.fromkeys(_shown(rule) for rule in itertools.islice(missing, _MOST_LISTED)))


def _gathers(role: Any) -> bool:
    rule = getattr(role, "aggregation_rule", None)
    return rule is not None and bool(rule.cluster_role_selectors)


def _without_bookkeeping(obj: Any) -> Any:
    """The object without what the garbage collector changes to delete it, which gives nobody
    anything. Labels count: they carry a role's rules into the roles that gather them."""
    kept = copy.deepcopy(obj)
    kept.metadata.owner_references = []
    kept.metadata.finalizers = []
    kept.metadata.managed_fields = []
    kept.metadata.resource_version = ""
    return kept


def _forbidden(a: Attributes, reason: str) -> errors.StatusError:
    return errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, reason)


def _shown(rule: rbac_v1.PolicyRule) -> str:
    parts = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("ResourceNames", rule.resource_names),
        ("NonResourceURLs", rule.non_resource_urls),
        ("Verbs", rule.verbs),
    )
    shown = [f"{name}:[{', '.join(_quote(v) for v in values)}]" for name, values in parts if values]
    return "{" + ", ".join(shown) + "}"


def _quote(text: Any) -> str:
    return f'"{text}"'
