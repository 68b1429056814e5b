"""The ruleset in a real kernel: a node, its pods on point-to-point links, and somebody outside, as
network namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.network.policies import allowed, policy
from tests.network.sockets import Servers, Try, inside, ip
from tests.network.test_policy import NAMESPACES, OUTSIDE, PODS, _policies, made, table_of
from tiphys.network.policy.model import read
from tiphys.network.policy.script import base, script
from tiphys.network.policy.table import PolicyTable

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip")]
HERE = [pod for pod in PODS if pod.node == "n1"][:4]


class Node:
    """Namespaces: `node` forwards between those of the pods and `outside`."""

    def __init__(self) -> None:
        self._prefix = f"tp{os.getpid()}"
        self.node, self.outside = self.name("node"), self.name("outside")
        self.pods = {pod.address: self.name(str(number)) for number, pod in enumerate(HERE)}
        ip("netns", "add", self.node)
        ip("-n", self.node, "link", "set", "lo", "up")
        for number, (address, name) in enumerate(self.pods.items()):
            self._link(name, address, f"veth{number}")
        self._link(self.outside, OUTSIDE.address, "uplink")
        ip("-n", self.node, "addr", "add", "10.0.255.1/32", "dev", "lo")
        with inside(self.node), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
            forward.write("1")
        self.servers = Servers([*self.pods.values(), self.outside, self.node])

    def name(self, what: str) -> str:
        return f"{self._prefix}-{what}"

    def _link(self, name: str, address: str, device: str) -> None:
        ip("netns", "add", name)
        ip(
            "link",
            "add",
            device,
            "netns",
            self.node,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            name,
        )
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "addr", "add", f"{address}/32", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", self.node, "link", "set", device, "up")
        ip("-n", self.node, "route", "add", f"{address}/32", "dev", device)
        ip("-n", name, "route", "add", "default", "via", "10.0.255.1", "dev", "eth0", "onlink")

    def nft(self, text: str) -> None:
        with inside(self.node):
            done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + text

    def enforce(self, table: PolicyTable) -> None:
        self.nft(base("t-policy") + script("t-policy", table.whole()))

    def close(self) -> None:
        self.servers.close()
        for name in (*self.pods.values(), self.outside, self.node):
            ip("netns", "del", name)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made_node = Node()
    yield made_node
    made_node.close()


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_policies)
def test_packets_fare_as_is_documented(node: Node, rows: Any) -> None:
    policies = made(rows)
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
