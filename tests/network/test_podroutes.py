"""The ways to other nodes' pods: directly to neighbours, by tunnel to the others."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest

from tests.builders import node as plain_node
from tiphys.api import core_v1
from tiphys.network.podroutes import (
    AUTO,
    HOST,
    VXLAN,
    HostRoute,
    Link,
    Peer,
    Routes,
    Tunnel,
    mac_of,
    peers,
    pod_mtu,
    routes,
)

NETWORKS = [IPv4Network("10.244.0.0/24"), IPv4Network("10.244.128.0/17")]
LINKS = [
    Link("lan", IPv4Interface("192.168.1.1/24")),
    Link("pod", IPv4Interface("192.168.2.9/32")),
]


def node(name: str, range: str, address: str = "", created: int = 0) -> core_v1.Node:
    made = plain_node(name)
    made.metadata.creation_timestamp = f"2026-01-01T00:00:{created:02}Z"
    made.spec.pod_cidrs = [range] if range else []
    if address:
        made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=address)]
    return made


def others(*nodes: core_v1.Node) -> dict[str, str]:
    """The ranges of the other nodes that `me` believes."""
    return {peer.node: str(peer.range) for peer in peers(nodes, "me", NETWORKS)}


ME = node("me", "10.244.0.0/24", "192.168.1.1")
A = node("a", "10.244.128.0/24", "192.168.1.2", created=1)


@pytest.mark.parametrize(
    ("claimed", "address"),
    [
        ("", "192.168.1.9"),
        ("10.244.129.0/24", ""),
        ("10.244.129.0/24", "fd00::9"),
        ("10.244.129.0/24", "127.0.0.1"),
        ("10.244.0.0/24", "192.168.1.9"),
        ("10.244.128.128/25", "192.168.1.9"),
        ("10.244.128.0/17", "192.168.1.9"),
        ("0.0.0.0/0", "192.168.1.9"),
        ("192.168.1.0/24", "192.168.1.9"),
        ("fd00::/64", "192.168.1.9"),
        ("nonsense", "192.168.1.9"),
    ],
)
def test_a_node_draws_no_traffic_but_that_of_its_own_range(claimed: str, address: str) -> None:
    assert others(ME, A, node("thief", claimed, address, created=2)) == {"a": "10.244.128.0/24"}


def test_of_two_nodes_with_one_range_the_older_has_it() -> None:
    young, old = (node(n, "10.244.130.0/24", f"192.168.1.{c}", c) for n, c in (("x", 9), ("y", 3)))
    assert others(young, old) == {"y": "10.244.130.0/24"}


NEAR = Peer("near", "192.168.1.2", IPv4Network("10.244.128.0/24"))
FAR = Peer("far", "192.168.2.3", IPv4Network("10.244.129.0/24"))
TO_NEAR = HostRoute(NEAR.range, "192.168.1.2", "lan")


def tunnel(peer: Peer, gateway: str, mac: str) -> Tunnel:
    return Tunnel(peer.range, gateway, mac, peer.address)


BY_TUNNEL = tunnel(FAR, "10.244.129.1", "0a:58:0a:f4:81:01")
NEAR_BY_TUNNEL = tunnel(NEAR, "10.244.128.1", "0a:58:0a:f4:80:01")


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (AUTO, Routes(frozenset({TO_NEAR}), frozenset({BY_TUNNEL}))),
        (HOST, Routes(frozenset({TO_NEAR}), unreachable=frozenset({"far"}))),
        (VXLAN, Routes(tunnels=frozenset({BY_TUNNEL, NEAR_BY_TUNNEL}))),
    ],
)
def test_neighbours_are_reached_directly_and_others_by_tunnel(mode: str, wanted: Routes) -> None:
    assert routes([NEAR, FAR], LINKS, mode) == wanted


def test_every_end_of_a_tunnel_has_a_hardware_address_of_its_own() -> None:
    ends = {mac_of(f"10.244.{n}.1") for n in range(256)}
    assert len(ends) == 256 and all(end.startswith("0a:58:") for end in ends)


@pytest.mark.parametrize(
    ("link", "path", "mode", "mtu"),
    [
        (1500, 1500, AUTO, 1450),
        (1500, 1400, VXLAN, 1350),
        (9000, 1500, AUTO, 1450),
        (1500, 1400, HOST, 1500),
        (600, 600, AUTO, 576),
    ],
)
def test_a_pods_packet_fits_into_the_tunnel_on_the_narrowest_path(
    link: int, path: int, mode: str, mtu: int
) -> None:
    assert pod_mtu(link, path, mode) == mtu
