"""Network policies about pods' IPv6 addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import pod as build_pod
from tests.network.policies import policy
from tests.network.services import CLUSTER_IP, OUTSIDE, PODS, PORT, ServiceNode, backed
from tiphys.api import core_v1
from tiphys.network.policy.model import BlockPeer, PodFacts, facts_of, read
from tiphys.network.policy.script import IPV6, base, blocks, script
from tiphys.network.policy.table import PolicyTable

BLOCKS = [
    ([BlockPeer("fd00::/8")], ["ip6 saddr { fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }"]),
    ([BlockPeer("10.0.0.0/8")], []),
    ([BlockPeer("::/0")], [""]),
    (
        [BlockPeer("2001:db8::/126", ("2001:db8::2/128", "10.0.0.0/8"))],
        ["ip6 saddr { 2001:db8::-2001:db8::3 } ip6 saddr != { 2001:db8::2 }"],
    ),
]


@pytest.mark.parametrize(("peers", "matches"), BLOCKS)
def test_networks_of_the_other_version_match_nothing(
    peers: list[BlockPeer], matches: list[str]
) -> None:
    assert blocks(peers, "saddr", IPV6) == matches


def test_a_pod_is_known_by_its_address_of_the_version() -> None:
    one = build_pod("p")
    one.status.pod_ip = "10.1.0.1"
    one.status.pod_ips = [core_v1.PodIP(ip="10.1.0.1"), core_v1.PodIP(ip="fd01::1")]
    assert facts_of(one).address == "10.1.0.1"
    assert facts_of(one, version=6).address == "fd01::1"
    one.status.pod_ips = one.status.pod_ips[:1]
    assert facts_of(one, version=6).address == ""


@pytest.fixture(scope="module")
def node() -> Iterator[ServiceNode]:
    made = ServiceNode()
    yield made
    made.close()


def enforce(node: ServiceNode, **spec: Any) -> None:
    """A policy about pod 0; the others have the label of their number."""
    table = PolicyTable("n1", IPV6)
    table.put_namespace("x", {})
    for number, address in enumerate(PODS[6]):
        table.put_pod(PodFacts("x", f"p{number}", {"pod": str(number)}, address, "n1"))
    about = {"matchLabels": {"pod": "0"}}
    table.put_policy("x/p", read(policy("p", podSelector=about, **spec)))
    node.kernel.script(base("t-policy", IPV6) + script("t-policy", table.everything(), IPV6))


@pytest.mark.root
@pytest.mark.needs("nft", "ip", "nsenter")
def test_pods_are_let_in_by_label_and_network_and_nobody_else(node: ServiceNode) -> None:
    peers = [
        {"podSelector": {"matchLabels": {"pod": "1"}}},
        {"ipBlock": {"cidr": f"{OUTSIDE[6]}/128"}},
    ]
    enforce(node, ingress=[{"from": peers, "ports": [{"port": PORT}]}])
    target = PODS[6][0]
    assert node.connect(node.pods[1], target, PORT) == [0]
    assert node.connect(node.outside, target, PORT) == [0]
    assert node.connect(node.node, target, PORT) == [0], "what the node sends is let in"
    assert node.is_closed(node.pods[2], target, PORT)
    assert node.connect(node.pods[2], PODS[6][1], PORT) == [1], "no policy is about this one"


@pytest.mark.root
@pytest.mark.needs("nft", "ip", "nsenter")
def test_policies_see_the_pods_behind_a_service(node: ServiceNode) -> None:
    from tests.network.proxy.kernels import dual

    enforce(node, policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])
    node.proxy(dual(), [backed("s", 6, [0])])
    assert node.connect(node.pods[2], CLUSTER_IP[6], 80) == [0]
    assert node.is_closed(node.outside, CLUSTER_IP[6], 80)
