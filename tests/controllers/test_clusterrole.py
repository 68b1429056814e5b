"""Cluster roles that gather the rules of others."""

from __future__ import annotations

from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from tiphys.controllers.clusterrole import gathered


def role(name: str, *verbs: str, label: str = "") -> ClusterRole:
    labels = {"gather": label} if label else {}
    rules = [PolicyRule(verbs=[verb]) for verb in verbs]
    return ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=rules)


def test_rules_are_gathered_by_name_and_each_once() -> None:
    selectors = [LabelSelector(match_labels={"gather": value}) for value in ("yes", "also")]
    all_of_them = role("all", "own", label="yes")
    all_of_them.aggregation_rule = AggregationRule(cluster_role_selectors=selectors)
    others = [
        role("b", "get", "list", label="yes"),
        role("a", "get", label="yes"),
        role("c", "delete"),
        role("d", "list", "watch", label="also"),
        all_of_them,
    ]
    assert [rule.verbs for rule in gathered(all_of_them, others)] == [["get"], ["list"], ["watch"]]
    assert gathered(role("plain", "get"), others) == []
