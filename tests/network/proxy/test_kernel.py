"""What the kernel does with packets for services: pods, a node and a host outside, over both
versions of IP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.builders import port
from tests.network.proxy.kernels import dual
from tests.network.services import (
    CLUSTER_IP,
    NODE,
    OUTSIDE,
    PODS,
    ServiceNode,
    backed,
    node_alone,
)
from tiphys.api import core_v1
from tiphys.network.proxy.rules import Part

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip", "nsenter")]
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def shared() -> Iterator[ServiceNode]:
    node = ServiceNode()
    yield node
    node.close()


@pytest.fixture
def node(shared: ServiceNode) -> Iterator[ServiceNode]:
    yield shared
    for version in (4, 6):
        for owner in shared.tables[version].owners():
            if owner:
                shared.put(version, owner, Part())


def node_port(number: int = 30123, protocol: str = "TCP", **spec: object) -> core_v1.Service:
    ports = [port("http", 80, protocol, node_port=number)]
    return dual(type="NodePort", ports=ports, **spec)


@BOTH
def test_400_connections_are_spread_over_4_endpoints_within_15_percent(
    node: ServiceNode, version: int
) -> None:
    node.proxy(dual(), [backed("s", version)])
    counts = node.counts(node.node, CLUSTER_IP[version], 80, 400)
    assert len(counts) == 4 and all(85 <= count <= 115 for count in counts.values()), counts


@BOTH
def test_a_pod_is_led_to_itself_and_does_not_see_its_own_address(
    node: ServiceNode, version: int
) -> None:
    node.proxy(dual(), [backed("s", version, [0])])
    assert node.seen_from(node.pods[0], CLUSTER_IP[version], 80) == NODE[version]
    assert node.seen_from(node.pods[1], CLUSTER_IP[version], 80) == PODS[version][1]


@BOTH
def test_a_client_stays_with_its_endpoint_until_that_is_gone(
    node: ServiceNode, version: int
) -> None:
    sticky = dual(session_affinity="ClientIP")
    node.proxy(sticky, [backed("s", version)])
    first, *others = node.connect(node.outside, CLUSTER_IP[version], 80, 10)
    assert first >= 0 and set(others) == {first}
    left = [number for number in range(4) if number != first]
    node.proxy(sticky, [backed("s", version, left)])
    second, *others = node.connect(node.outside, CLUSTER_IP[version], 80, 10)
    assert second in left and set(others) == {second}
    node.proxy(sticky, [backed("s", version)])
    assert set(node.connect(node.outside, CLUSTER_IP[version], 80, 5)) == {second}


@BOTH
def test_a_node_port_leads_to_every_endpoint_and_hides_the_client(
    node: ServiceNode, version: int
) -> None:
    node.proxy(node_port(), [backed("s", version)])
    assert set(node.connect(node.outside, NODE[version], 30123, 8)) == {0, 1, 2, 3}
    assert node.seen_from(node.outside, NODE[version], 30123) == NODE[version]


@BOTH
def test_a_local_node_port_keeps_the_clients_address_and_stays_on_the_node(
    node: ServiceNode, version: int
) -> None:
    here = backed("s", version, [0])
    there = backed("s", version, [1], node="n2")
    node.proxy(node_port(external_traffic_policy="Local"), [here, there])
    assert set(node.connect(node.outside, NODE[version], 30123, 4)) == {0}
    assert node.seen_from(node.outside, NODE[version], 30123) == OUTSIDE[version]
    assert set(node.connect(node.pods[2], NODE[version], 30123, 4)) == {0, 1}


@BOTH
def test_a_load_balancers_address_is_for_its_source_ranges(node: ServiceNode, version: int) -> None:
    addresses = {4: "198.51.100.5", 6: "2001:db8:5::5"}
    balanced = dual(type="LoadBalancer")
    ingress = [core_v1.LoadBalancerIngress(ip=address) for address in addresses.values()]
    balanced.status.load_balancer.ingress = ingress
    balanced.spec.load_balancer_source_ranges = [f"{OUTSIDE[4]}/32", f"{OUTSIDE[6]}/128"]
    node.proxy(balanced, [backed("s", version)])
    assert node.connect(node.outside, addresses[version], 80)[0] >= 0
    assert node.is_closed(node.pods[0], addresses[version], 80)


@BOTH
def test_a_service_without_endpoints_is_refused(node: ServiceNode, version: int) -> None:
    node.proxy(dual(), [])
    with pytest.raises(ConnectionRefusedError):
        node.refused(node.outside, CLUSTER_IP[version], 80)
    with pytest.raises(ConnectionRefusedError):
        node.refused(node.node, CLUSTER_IP[version], 80)


@BOTH
@pytest.mark.needs("conntrack")
@pytest.mark.parametrize("by_node_port", [False, True])
def test_udp_flows_move_when_their_endpoint_is_gone_and_only_then(
    node: ServiceNode, version: int, by_node_port: bool
) -> None:
    one = node_port(protocol="UDP")
    way = (NODE[version], 30123) if by_node_port else (CLUSTER_IP[version], 80)
    node.proxy(one, [backed("s", version, [0, 1], "UDP")])
    with node.udp_client(node.outside, way[0]) as client:
        first = node.send(client, *way)
        node.proxy(one, [backed("s", version, [0, 1, 2], "UDP")])
        assert node.send(client, *way) == first
        left = [number for number in (0, 1, 2) if number != first]
        node.proxy(one, [backed("s", version, left, "UDP")])
        assert node.send(client, *way) in left


def test_nft_lists_whatever_rules_there_are(node: ServiceNode) -> None:
    """It ends with a failed assertion at some that the kernel takes."""
    sticky = node_port(session_affinity="ClientIP", external_traffic_policy="Local")
    for version in (4, 6):
        node.proxy(sticky, [backed("s", version)])
        listed = node.kernel.list()
        assert "stick-10800" in listed and "numgen inc mod 4" in listed


@BOTH
def test_a_client_of_a_local_node_port_stays_with_an_endpoint_of_the_node_as_long_as_is_said(
    node: ServiceNode, version: int
) -> None:
    sticky = node_port(session_affinity="ClientIP", external_traffic_policy="Local")
    client = core_v1.ClientIPConfig(timeout_seconds=120)
    sticky.spec.session_affinity_config = core_v1.SessionAffinityConfig(client_ip=client)
    there = backed("s", version, [3], node="n2")
    node.proxy(sticky, [backed("s", version, [0, 1]), there])
    first, *others = node.connect(node.outside, NODE[version], 30123, 5)
    assert first in (0, 1) and set(others) == {first}
    assert f". {OUTSIDE[version]} timeout 2m expires" in node.kernel.list()


@BOTH
def test_connections_of_a_node_to_itself_outlive_its_first_rules(version: int) -> None:
    """Those of an agent to the API server of its machine, which is an endpoint as well. The kernel
    does not know them when the rules come, and takes the next packet for the first of a connection
    that a service leads back."""
    with node_alone(version) as alone:
        ours, theirs = alone.connected()
        alone.install(backed("s", version, [0]), dual())
        theirs.sendall(b"news")
        assert ours.recv(10) == b"news"
