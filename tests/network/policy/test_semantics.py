"""What policies allow, and which rule says so. That it is what is documented: `test_table`."""

from __future__ import annotations

from tests.network.policies import facts, policy
from tiphys.network.policy.model import PodFacts, read
from tiphys.network.policy.semantics import Connection, Semantics, Verdict

WEB = facts("web", "10.0.0.1", app="web")
FRONT = facts("front", "10.0.0.2", app="front")
HOST = PodFacts("x", "agent", {"app": "front"})  # in its node's network

INGRESS = policy(
    "in",
    podSelector={"matchLabels": {"app": "web"}},
    ingress=[
        {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
        {"from": [{"podSelector": {"matchLabels": {"app": "front"}}}], "ports": [{"port": 80}]},
    ],
)
SEMANTICS = Semantics([read(INGRESS)], {"x": {}})


def verdict(source: PodFacts | str, port: int = 80, direction: str = "ingress") -> Verdict:
    return SEMANTICS.verdict(direction, Connection(source, WEB, "TCP", port))


def test_a_verdict_names_what_isolates_and_which_rule_allows() -> None:
    assert verdict(FRONT) == Verdict(("x/in",), (("x/in", 2),))
    assert verdict("192.0.2.7") == Verdict(("x/in",), (("x/in", 1),))
    assert verdict(FRONT, 81) == Verdict(("x/in",)) and not verdict(FRONT, 81).allowed


def test_a_pod_in_its_nodes_network_is_none_to_policies() -> None:
    assert not verdict(HOST).allowed
    assert SEMANTICS.isolating(HOST, "ingress") == []


def test_a_direction_that_no_policy_is_about_is_open() -> None:
    assert verdict(WEB, direction="egress") == Verdict() and Verdict().allowed


def test_an_address_has_nothing_to_say() -> None:
    outward = Connection(WEB, "192.0.2.9", "TCP", 80)
    assert SEMANTICS.verdict("ingress", outward) == Verdict() and SEMANTICS.allows(outward)


def test_a_pod_reaches_itself_whatever_policies_say() -> None:
    assert SEMANTICS.allows(Connection(WEB, WEB, "TCP", 81))
    assert not SEMANTICS.allows(Connection(FRONT, WEB, "TCP", 81))
