"""The ruleset in a real kernel: a node, its pods on point-to-point links, and somebody outside, as
network namespaces.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.network.cluster import NAMESPACES, OUTSIDE, PODS, policies_of, policy_lists, table_of
from tests.network.node import HERE, Node
from tests.network.policies import allowed, policy
from tests.network.sockets import Try, inside
from tiphys.network.policy.model import read
from tiphys.network.policy.script import script

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip")]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made_node = Node()
    yield made_node
    made_node.close()


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(policy_lists)
def test_packets_fare_as_is_documented(node: Node, rows: Any) -> None:
    policies = policies_of(rows)
    node.enforce(table_of(policies))
    names = node.pods | {OUTSIDE.address: node.outside}
    ends = [*HERE, OUTSIDE]
    tries = {
        Try(names[source.address], target.address, protocol, port): allowed(
            policies, NAMESPACES, source, target, protocol, port
        )
        for source in ends
        for target in ends
        if source is not target
        for protocol, port in (("TCP", 80), ("TCP", 81), ("UDP", 80), ("SCTP", 8500))
    }
    expected = {one for one, passes in tries.items() if passes}
    reached = node.servers.reached(tries)
    assert (
        reached | node.servers.reached(expected - reached) == expected
    )  # a busy machine may be late, once


DENY = policy("deny", policyTypes=["Ingress", "Egress"])


def test_the_node_reaches_its_pods_and_they_reach_it(node: Node) -> None:
    """What probes need."""
    node.enforce(table_of([DENY]))
    tries = {
        Try(node.node, HERE[0].address, "TCP", 80),
        Try(node.pods[HERE[0].address], "10.0.255.1", "TCP", 80),
    }
    assert node.servers.reached(tries) == tries
    assert not node.servers.reached({Try(node.outside, HERE[0].address, "TCP", 80)})


def test_connections_that_stand_are_kept_and_new_ones_refused(node: Node) -> None:
    node.enforce(table_of([]))
    with inside(node.pods[HERE[1].address]):
        talk = socket.create_connection((HERE[0].address, 80), timeout=5)
    server = next(s for s in node.servers._open if s.type == socket.SOCK_STREAM)
    other, _ = server.accept()
    node.enforce(table_of([DENY]))
    talk.send(b"still here")
    assert other.recv(10) == b"still here"
    assert not node.servers.reached({Try(node.pods[HERE[1].address], HERE[0].address, "TCP", 80)})
    talk.close()
    other.close()


def test_steps_are_taken_by_the_kernel(node: Node) -> None:
    table = table_of([])
    node.enforce(table)
    steps = [
        lambda: table.put_policy("x/deny", read(DENY)),
        lambda: table.put_policy(
            "x/p",
            read(
                policy("p", ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}])
            ),
        ),
        lambda: table.put_dns(["10.0.255.1"]),
        lambda: table.drop_pod("x/a"),
        lambda: table.put_pod(PODS[0]),
        lambda: table.put_policy("x/p", None),
        lambda: table.put_policy("x/deny", None),
    ]
    for step in steps:
        step()
        text = script("t-policy", table.changes())
        assert text
        node.nft(text)
    assert not table.changes()
