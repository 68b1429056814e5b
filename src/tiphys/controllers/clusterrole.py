"""Cluster roles that gather the rules of others, chosen by label."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api.rbac_v1 import ClusterRole, PolicyRule
from tiphys.controllers.shell import Controller
from tiphys.machinery.selectors import from_label_selector


def gathered(role: ClusterRole, others: list[ClusterRole]) -> list[PolicyRule]:
    """The rules that an aggregating role should have: those of the roles that it selects, by name,
    each once. A role does not gather its own: a rule could then never go again."""
    if role.aggregation_rule is None:
        return []
    by_name = sorted(others, key=lambda other: other.metadata.name)
    by_name = [other for other in by_name if other.metadata.name != role.metadata.name]
    rules: list[PolicyRule] = []
    for label_selector in role.aggregation_rule.cluster_role_selectors:
        selector = from_label_selector(label_selector)
        for other in by_name:
            if selector is not None and selector.matches(other.metadata.labels):
                rules += [rule for rule in other.rules if rule not in rules]
    return rules


class ClusterRoleAggregationController(Controller):
    name = "clusterrole-aggregation"
    workers = 1

    def watch(self) -> None:
        self._roles = self.informer(ClusterRole)
        self._roles.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        """Any role may be, or have been, a part of any that aggregates."""
        for role in self._roles:
            if role.aggregation_rule is not None:
                self.enqueue(None, role)

    async def reconcile(self, key: str) -> float | None:
        role = self._roles.get(key)
        if role is None or role.aggregation_rule is None:
            return None
        rules = gathered(role, list(self._roles))
        if rules != role.rules:
            changed = copy.copy(role)
            changed.rules = rules
            await self.client.update(changed)
        return None
