"""Cluster roles that gather the rules of others, chosen by label."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api.rbac_v1 import ClusterRole
from tiphys.controllers.shell import Controller
from tiphys.machinery.selectors import from_label_selector


def gathered(role: ClusterRole, others: list[ClusterRole]) -> list[Any]:
    """The rules an aggregating role should have: those of the roles it selects, by name, each once."""
    rule = role.aggregation_rule
    selectors = (
        [from_label_selector(s) for s in rule.cluster_role_selectors] if rule is not None else []
    )
    found: list[Any] = []
    for selector in selectors:
        for other in sorted(others, key=lambda r: r.metadata.name):
            if other.metadata.name == role.metadata.name or selector is None:
                continue
            if selector.matches(other.metadata.labels):
                found += [entry for entry in other.rules if entry not in found]
    return found


class ClusterRoleAggregationController(Controller):
    name = "clusterrole-aggregation"
    workers = 1

    def watch(self) -> None:
        self._roles = self.informer(ClusterRole)
        self._roles.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
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
