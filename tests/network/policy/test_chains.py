"""Policies as chains of rules."""

from __future__ import annotations

from typing import Any

from tests.network.policies import policy
from tiphys.network.policy.chains import compile_policy, group_chain, group_rules, policy_chain
from tiphys.network.policy.model import read

BACK = {"podSelector": {"matchLabels": {"tier": "back"}}}
FRONT = {"podSelector": {"matchLabels": {"tier": "front"}}}


def chain(*rules: dict[str, Any], direction: str = "ingress") -> tuple[dict[str, Any], list[str]]:
    """(all that was compiled, the rules of the policy's own chain)"""
    one = read(policy("p", policyTypes=[direction.capitalize()], **{direction: list(rules)}))
    compiled = compile_policy(one, direction, {})
    return vars(compiled), list(compiled.chains[policy_chain(direction, one.key)])


def test_a_rule_without_peers_and_ports_lets_everything_in() -> None:
    compiled, rules = chain({})
    assert compiled["chains"] == {policy_chain("ingress", "x/p"): ("accept",)}
    assert not compiled["peers"] and not compiled["names"] and rules == ["accept"]


def test_no_rules_let_nothing_in() -> None:
    assert chain()[1] == []


def test_a_peer_is_a_set_of_sources_or_of_targets() -> None:
    compiled, [rule] = chain({"from": [BACK]})
    [name] = compiled["peers"]
    assert rule == f"ip saddr @{name} accept"
    assert chain({"to": [BACK]}, direction="egress")[1] == [f"ip daddr @{name} accept"]


def test_peers_that_are_the_same_share_a_set_and_rules_stand_once() -> None:
    compiled, rules = chain({"from": [BACK, BACK]}, {"from": [BACK]})
    assert len(compiled["peers"]) == len(rules) == 1


def test_several_peers_at_one_port_are_a_rule_each() -> None:
    compiled, rules = chain({"from": [BACK, FRONT], "ports": [{"port": 80}]})
    first, second = compiled["peers"]
    assert rules == [
        f"meta l4proto tcp th dport {{ 80 }} ip saddr @{first} accept",
        f"meta l4proto tcp th dport {{ 80 }} ip saddr @{second} accept",
    ]


def test_several_peers_at_several_ports_are_a_chain_of_their_own() -> None:
    """In place of a product."""
    ports = [{"port": 80}, {"protocol": "UDP", "port": 53}]
    compiled, rules = chain({"from": [BACK, FRONT], "ports": ports})
    first, second = compiled["peers"]
    inner = policy_chain("ingress", "x/p") + "-0"
    assert compiled["chains"][inner] == (f"ip saddr @{first} accept", f"ip saddr @{second} accept")
    assert rules == [
        f"meta l4proto tcp th dport {{ 80 }} jump {inner}",
        f"meta l4proto udp th dport {{ 53 }} jump {inner}",
    ]


def test_a_named_port_is_a_set_of_addresses_with_their_numbers() -> None:
    compiled, [rule] = chain({"ports": [{"port": "http"}]})
    [name] = compiled["names"]
    assert rule == f"meta l4proto tcp ip daddr . th dport @{name} accept"


def test_the_policies_about_a_pod_come_one_after_the_other_then_all_is_dropped() -> None:
    rules = group_rules("egress", ("x/a", "x/b"))
    assert rules == (
        f"jump {policy_chain('egress', 'x/a')}",
        f"jump {policy_chain('egress', 'x/b')}",
        "drop",
    )
    assert group_chain("egress", ("x/a", "x/b")) != group_chain("ingress", ("x/a", "x/b"))
    assert group_chain("egress", ("x/a", "x/b")) != group_chain("egress", ("x/a",))
