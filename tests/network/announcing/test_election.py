"""Who answers for a load balancer's address, and who does when that one is silent."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import node
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.announcing.election import Say, Turn, Wanted, order, wanted

POOL = [ipaddress.ip_network("192.0.2.64/28")]
LAN = ipaddress.ip_network("192.0.2.0/24")
IP = ipaddress.ip_address("192.0.2.65")
TICK = 0.25


def balancer(ip: str = str(IP), policy: str = "Cluster", mode: str = "VIP") -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name="web", namespace="default"))
    made.spec.type = "LoadBalancer"
    made.spec.external_traffic_policy = policy
    made.status.load_balancer.ingress = [core_v1.LoadBalancerIngress(ip=ip, ip_mode=mode)]
    return made


def endpoints(*nodes: str, ready: bool = True) -> discovery_v1.EndpointSlice:
    labels = {"kubernetes.io/service-name": "web"}
    made = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="default", labels=labels)
    )
    conditions = discovery_v1.EndpointConditions(ready=ready)
    made.endpoints = [
        discovery_v1.Endpoint(addresses=["10.0.0.1"], node_name=name, conditions=conditions)
        for name in nodes
    ]
    return made


def machine(name: str, address: str, ready: str = "True", **labels: str) -> core_v1.Node:
    made = node(name, **labels)
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=address)]
    made.status.conditions = [core_v1.NodeCondition(type="Ready", status=ready)]
    return made


# --- which addresses, which nodes ---


def test_addresses_of_the_pools_alone_are_claimed() -> None:
    router = balancer("192.0.2.254")
    assert wanted([balancer(), router, balancer(mode="Proxy")], [], POOL) == [Wanted(IP, None)]


def test_of_a_local_service_nodes_with_endpoints_answer() -> None:
    there = [endpoints("a"), endpoints("b", ready=False)]
    [want] = wanted([balancer(policy="Local")], there, POOL)
    machines = [machine("a", "192.0.2.1"), machine("b", "192.0.2.2")]
    assert order(want, machines, LAN) == ["a"]


def test_nodes_that_are_elsewhere_or_not_ready_or_excluded_do_not_answer() -> None:
    machines = [
        machine("a", "192.0.2.1"),
        machine("far", "198.51.100.1"),
        machine("down", "192.0.2.3", ready="Unknown"),
        machine(
            "not", "192.0.2.4", **{"node.kubernetes.io/exclude-from-external-load-balancers": ""}
        ),
    ]
    assert order(Wanted(IP, None), machines, LAN) == ["a"]


@given(st.sets(st.sampled_from("abcdefgh"), min_size=2), st.integers(65, 78))
def test_a_node_that_goes_moves_no_address_of_another(names: set[str], last: int) -> None:
    want = Wanted(ipaddress.ip_address(f"192.0.2.{last}"), None)
    machines = [machine(name, "192.0.2.1") for name in names]
    before = order(want, machines, LAN)
    gone = before[-1]
    assert order(want, [one for one in machines if one.metadata.name != gone], LAN) == before[:-1]
    assert order(want, reversed(machines), LAN) == before


# --- by turns, on a wire ---


class Wire:
    """Turns that hear each other, and a clock."""

    def __init__(self, ranks: Iterable[int]) -> None:
        self.now = 100.0
        self.turns = [Turn(rank, self.now) for rank in ranks]
        self.silent: set[Turn] = set()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for turn in self.turns:
                if turn not in self.silent:
                    self._speak(turn)
            self.now += TICK

    def _speak(self, turn: Turn) -> None:
        say = turn.say(self.now)
        others = [one for one in self.turns if one is not turn and one not in self.silent]
        if say is Say.CLAIM:
            for other in others:
                other.note_claim(self.now)
        elif say is Say.ASK and any(other.answers for other in others):
            turn.note_claim(self.now)

    @property
    def answering(self) -> list[int]:
        return [turn.rank for turn in self.turns if turn.answers and turn not in self.silent]


@pytest.fixture
def wire() -> Wire:
    made = Wire((0, 1, 2))
    made.run(20)
    return made


def test_the_first_answers_and_no_other(wire: Wire) -> None:
    assert wire.answering == [0]


def test_another_answers_within_four_seconds_when_the_first_is_silent(wire: Wire) -> None:
    wire.silent.add(wire.turns[0])
    wire.run(4)
    assert wire.answering == [1]
    wire.silent.add(wire.turns[1])
    wire.run(6)
    assert wire.answering == [2]


def test_the_first_has_the_address_again_when_it_is_back(wire: Wire) -> None:
    wire.silent.add(wire.turns[0])
    wire.run(10)
    wire.turns[0] = Turn(0, wire.now)
    wire.run(2)
    assert wire.answering == [0]


def test_who_answers_goes_on_until_the_new_first_says_so(wire: Wire) -> None:
    wire.turns[0].move(1, wire.now)
    assert wire.answering == [0 + 1]
    wire.turns[1].move(0, wire.now)
    wire.run(2)
    assert wire.answering == [0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), st.integers(0, 40))
def test_whoever_is_there_one_of_them_answers_in_the_end(ranks: list[int], quarters: int) -> None:
    wire = Wire(ranks)
    wire.run(quarters * TICK)
    wire.silent.add(wire.turns[0])
    wire.run(15)
    left = [turn.rank for turn in wire.turns[1:]]
    assert len(wire.answering) == (1 if left else 0)
