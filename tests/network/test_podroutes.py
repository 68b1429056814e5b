"""The ways to other nodes' pods: directly to neighbours, by tunnel to the others."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

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

NETWORKS = [
    IPv4Network("10.244.0.0/24"),
    IPv4Network("10.244.128.0/17"),
    IPv6Network("fd10:244:8000::/48"),
]
LINKS = [
    Link("lan", IPv4Interface("192.168.1.1/24")),
    Link("lan", IPv6Interface("2001:db8:1::1/64")),
    Link("pod", IPv4Interface("192.168.2.9/32")),
    Link("pod", IPv6Interface("2001:db8:2::9/128")),
]


def node(name: str, range: str, address: str = "", created: int = 0) -> core_v1.Node:
    made = plain_node(name)
    made.metadata.creation_timestamp = f"2026-01-01T00:00:{created:02}Z"
    made.spec.pod_cidrs = range.split(",") if range else []
    made.status.addresses = [
        core_v1.NodeAddress(type="InternalIP", address=one) for one in address.split(",") if one
    ]
    return made


def others(*nodes: core_v1.Node) -> dict[str, str]:
    """The ranges of the other nodes that `me` believes."""
    believed = peers(nodes, "me", NETWORKS)
    return {peer.node: ",".join(map(str, peer.ranges)) for peer in believed}


ME = node("me", "10.244.0.0/24", "192.168.1.1")
A = node("a", "10.244.128.0/24", "192.168.1.2", created=1)


@pytest.mark.parametrize(
    ("claimed", "address"),
    [
        ("", "192.168.1.9"),
        ("10.244.129.0/24", ""),
        ("10.244.129.0/24", "here"),
        ("10.244.129.0/24", "127.0.0.1"),
        ("fd10:244:8000:1::/64", "::1"),
        ("fd10:244::/64", "192.168.1.9"),
        ("fd10:244:8000::/47", "192.168.1.9"),
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


def test_of_each_family_a_node_has_one_range() -> None:
    greedy = node("x", "10.244.130.0/24,10.244.131.0/24,fd10:244:8000:9::/64", "192.168.1.9")
    assert others(greedy) == {"x": "10.244.130.0/24,fd10:244:8000:9::/64"}


NEAR = Peer("near", ("192.168.1.2",), (IPv4Network("10.244.128.0/24"),))
FAR = Peer("far", ("192.168.2.3",), (IPv4Network("10.244.129.0/24"),))
TO_NEAR = HostRoute(NEAR.ranges[0], "192.168.1.2", "lan")


def tunnel(peer: Peer, gateway: str, mac: str) -> Tunnel:
    return Tunnel(peer.ranges[0], gateway, mac, peer.addresses[0])


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
    assert routes([NEAR, FAR], LINKS, mode, 4) == wanted


SIX = IPv6Network("fd10:244:8000:7::/64")
BOTH = (IPv4Network("10.244.130.0/24"), SIX)


def test_each_family_goes_by_the_address_that_the_node_has_of_it() -> None:
    peer = Peer("both", ("192.168.1.7", "2001:db8:1::7"), BOTH)
    direct = {HostRoute(BOTH[0], "192.168.1.7", "lan"), HostRoute(SIX, "2001:db8:1::7", "lan")}
    assert routes([peer], LINKS, AUTO, 4) == Routes(frozenset(direct))
    alone = Peer("alone", ("2001:db8:1::7",), (SIX,))
    assert routes([alone], LINKS, AUTO, 6).direct == {HostRoute(SIX, "2001:db8:1::7", "lan")}
    far = Peer("far", ("2001:db8:2::7",), (SIX,))
    (way,) = routes([far], LINKS, AUTO, 6).tunnels
    assert (way.gateway, way.peer) == ("fd10:244:8000:7::1", "2001:db8:2::7")


def test_a_family_that_the_machine_has_no_address_of_goes_by_tunnel() -> None:
    """As where the machines' networks know IPv4 alone, and pods have both."""
    peer = Peer("both", ("192.168.1.7", "fd10:244:8000:7::1"), BOTH)
    found = routes([peer], LINKS, AUTO, 4)
    assert found.direct == {HostRoute(BOTH[0], "192.168.1.7", "lan")}
    mac = "0a:58:0a:f4:82:01"  # of the IPv4 range: one end has one
    assert found.tunnels == {Tunnel(SIX, "fd10:244:8000:7::1", mac, "192.168.1.7")}
    assert routes([peer], LINKS, HOST, 4).unreachable == {"both"}


def test_every_end_of_a_tunnel_has_a_hardware_address_of_its_own() -> None:
    ends = {mac_of([f"10.244.{n}.1"]) for n in range(256)}
    assert len(ends) == 256 and all(end.startswith("0a:58:") for end in ends)
    joined = {mac_of([f"fd10:244:8000:{n:x}::1"]) for n in range(65536)}
    first = {mac_of([f"fd10:244:{n}::1"]) for n in range(128)}
    assert len(joined | first) == 65536 + 128


@pytest.mark.parametrize(
    ("link", "path", "mode", "versions", "mtu"),
    [
        (1500, 1500, AUTO, (4,), 1450),
        (1500, 1500, AUTO, (4, 6), 1450),
        (1500, 1500, AUTO, (6, 4), 1430),
        (1500, 1400, VXLAN, (4,), 1350),
        (9000, 1500, AUTO, (6,), 1430),
        (1500, 1400, HOST, (6,), 1500),
        (600, 600, AUTO, (4,), 576),
        (1320, 1320, AUTO, (4, 6), 1280),
    ],
)
def test_a_pods_packet_fits_into_the_tunnel_on_the_narrowest_path(
    link: int, path: int, mode: str, versions: tuple[int, ...], mtu: int
) -> None:
    assert pod_mtu(link, path, mode, versions) == mtu
