"""Routes and the tunnel in the kernel, between machines that are network namespaces."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

import pytest

from tests.network.sockets import inside, ip
from tiphys.network import rtnetlink, tunnel
from tiphys.network.podroutes import OVERHEAD, VXLAN, Link, Network, Peer, Routes, routes
from tiphys.network.tunnel import Device

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip", "bridge")]

METRIC = 7
PORT = 9999


class Lan:
    """Machines on one network: number N has the address 10.98.0.N or fd98::N, as `version` is,
    and pods in 10.97.N.0/24 and fd97:0:0:N::/64."""

    def __init__(self, version: int) -> None:
        self._prefix = f"tt{os.getpid()}"
        self.version = version
        self.mtu = 1500 - OVERHEAD[version]
        self.names = [self.add(str(number)) for number in range(4)]  # the first is the switch
        ip("-n", self.names[0], "link", "add", "switch", "type", "bridge")
        ip("-n", self.names[0], "link", "set", "switch", "up")
        for number in (1, 2, 3):
            self.plug(self.names[number], "eth0", number)

    def address(self, number: int) -> str:
        return f"10.98.0.{number}" if self.version == 4 else f"fd98::{number}"

    def pods(self, number: int) -> tuple[str, str]:
        """The machine's addresses among its pods."""
        return f"10.97.{number}.1", f"fd97:0:0:{number}::1"

    def add(self, name: str) -> str:
        full = f"{self._prefix}-{name}"
        ip("netns", "add", full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def plug(self, name: str, link: str, number: int) -> None:
        port = f"p-{name.rpartition('-')[2]}"
        peer = ("type", "veth", "peer", "name", port, "netns", self.names[0])
        ip("link", "add", link, "netns", name, *peer)
        ip("-n", self.names[0], "link", "set", port, "master", "switch", "up")
        ip("-n", name, "link", "set", link, "up")
        length = {4: ("/24",), 6: ("/64", "nodad")}[self.version]
        address = self.address(number) + length[0]
        ip("-n", name, "addr", "add", address, *length[1:], "dev", link)

    def connect(self, number: int, *others: int) -> Routes:
        """Has a machine reach the pods of others by tunnel."""
        device = Device("vx", self.pods(number), self.address(number), METRIC, self.mtu)
        peers = [Peer(str(n), (self.address(n),), self._ranges(n)) for n in others]
        wanted = routes(peers, list[Link](), VXLAN, self.version)
        with inside(self.names[number]):
            tunnel.apply(device, wanted)
            tunnel.guard(device, wanted.tunnels)
        return wanted

    def _ranges(self, number: int) -> tuple[Network, ...]:
        return IPv4Network(f"10.97.{number}.0/24"), IPv6Network(f"fd97:0:0:{number}::/64")

    def listener(self, number: int, family: int = socket.AF_INET) -> socket.socket:
        with inside(self.names[number]):
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.bind(("", PORT))
            made.settimeout(5)
            return made

    def send(self, source: int, target: int, data: bytes, family: int = socket.AF_INET) -> None:
        """From the machine's address among its pods to that of another one."""
        way = {socket.AF_INET: (socket.IPPROTO_IP, 10, 0), socket.AF_INET6: (41, 23, 1)}[family]
        with inside(self.names[source]), socket.socket(family, socket.SOCK_DGRAM) as made:
            made.setsockopt(way[0], way[1], 2)  # path MTU discovery: nobody may cut it
            made.sendto(data, (self.pods(target)[way[2]], PORT))

    def shown(self, number: int, *words: str) -> str:
        return ip("-n", self.names[number], *words)


@pytest.fixture(params=[4, 6])
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    made = Lan(request.param)
    yield made
    for name in made.names:
        ip("netns", "del", name)


def test_packets_of_full_length_pass_the_tunnel_under_the_nodes_address(lan: Lan) -> None:
    lan.connect(1, 2)
    lan.connect(2, 1)
    for family, headers, place in ((socket.AF_INET, 28, 0), (socket.AF_INET6, 48, 1)):
        whole = b"x" * (lan.mtu - headers)  # of IP and UDP
        with lan.listener(2, family) as heard:
            lan.send(1, 2, whole, family)
            data, sender = heard.recvfrom(65536)
            assert data == whole and sender[0] == lan.pods(1)[place]
        with pytest.raises(OSError, match="Message too long"):
            lan.send(1, 2, whole + b"x", family)


def test_nobody_but_nodes_machines_sends_into_the_tunnel(lan: Lan) -> None:
    lan.connect(1, 2)
    lan.connect(2, 1)
    lan.connect(3, 1)  # a stranger on the network, who knows everything that nodes know
    with lan.listener(1) as heard:
        lan.send(3, 1, b"stranger")
        lan.send(2, 1, b"node")
        assert heard.recv(100) == b"node"
        lan.connect(1, 2, 3)
        lan.send(3, 1, b"no stranger any more")
        assert heard.recv(100) == b"no stranger any more"


def test_what_is_as_it_should_be_is_not_touched_and_what_went_comes_back(lan: Lan) -> None:
    lan.connect(1, 2, 3)
    before = [lan.shown(1, family, "route", "show", "proto", "84") for family in ("-4", "-6")]
    with inside(lan.names[1]):
        news = rtnetlink.listen()
    with news:
        lan.connect(1, 2, 3)
        assert not is_told(news)
        ip("-n", lan.names[1], "route", "del", "10.97.2.0/24")
        assert is_told(news)
        ip("-n", lan.names[1], "-6", "route", "del", "fd97:0:0:2::/64")
    lan.connect(1, 2, 3)
    after = [lan.shown(1, family, "route", "show", "proto", "84") for family in ("-4", "-6")]
    assert [sorted(one.splitlines()) for one in after] == [
        sorted(one.splitlines()) for one in before
    ]


def test_links_are_known_by_what_is_good_beyond_them(lan: Lan) -> None:
    length = {4: 24, 6: 64}[lan.version]
    with inside(lan.names[1]):
        found = tunnel.links()
    assert [str(link.interface) for link in found] == [f"{lan.address(1)}/{length}"]


def is_told(news: socket.socket) -> bool:
    """Whether the kernel has told something that routes rest on since it was asked last."""
    told = False
    with contextlib.suppress(BlockingIOError):
        while True:
            for each in rtnetlink.messages(news.recv(65536)):
                told = told or rtnetlink.concerns(each, set(), tunnel.PROTOCOL)
    return told


def test_a_node_that_goes_is_forgotten_and_the_last_takes_the_tunnel_with_it(lan: Lan) -> None:
    lan.connect(1, 2, 3)
    lan.connect(1, 3)
    assert "10.97.2.0/24" not in lan.shown(1, "route")
    assert "10.97.2.1" not in lan.shown(1, "neigh", "show", "dev", "vx")
    assert "fd97:0:0:2::" not in lan.shown(1, "-6", "route")
    lan.connect(1)
    assert is_clean(lan)
    lan.connect(1, 2)
    with inside(lan.names[1]):
        tunnel.remove("vx", METRIC)
    assert is_clean(lan)


def is_clean(lan: Lan) -> bool:
    ways = lan.shown(1, "route") + lan.shown(1, "-6", "route")
    return "vx" not in lan.shown(1, "-o", "link") and "97:0:0" not in ways and "10.97" not in ways


@pytest.mark.parametrize("lan", [4], indirect=True)
def test_the_narrowest_link_on_the_way_to_another_machine_is_found(lan: Lan) -> None:
    far = lan.add("far")
    lan.names.append(far)
    peer = ("type", "veth", "peer", "name", "line", "netns", lan.names[2])
    ip("link", "add", "eth0", "netns", far, *peer)
    for name, link, address in (
        (far, "eth0", "10.95.0.1/24"),
        (lan.names[2], "line", "10.95.0.2/24"),
    ):
        ip("-n", name, "link", "set", link, "mtu", "1300", "up")
        ip("-n", name, "addr", "add", address, "dev", link)
    ip("-n", far, "route", "add", "default", "via", "10.95.0.2")
    ip("-n", lan.names[1], "route", "add", "10.95.0.0/24", "via", "10.98.0.2")
    with inside(lan.names[2]), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
        forward.write("1")
    with inside(lan.names[1]):
        assert tunnel.link_mtu("10.98.0.1") == 1500
        assert tunnel.path_mtu("10.98.0.2", 1500) == 1500
        assert tunnel.path_mtu("10.95.0.1", 1500) == 1300
        assert tunnel.mtu_between("10.98.0.1", "10.95.0.1", VXLAN, (4,)) == 1250


@pytest.mark.parametrize("lan", [6], indirect=True)
def test_the_narrowest_link_of_ipv6_is_found(lan: Lan) -> None:
    far = lan.add("far")
    lan.names.append(far)
    peer = ("type", "veth", "peer", "name", "line", "netns", lan.names[2])
    ip("link", "add", "eth0", "netns", far, *peer)
    for name, link, number in ((far, "eth0", 1), (lan.names[2], "line", 2)):
        ip("-n", name, "link", "set", link, "mtu", "1300", "up")
        ip("-n", name, "addr", "add", f"fd95::{number}/64", "nodad", "dev", link)
    ip("-n", far, "route", "add", "default", "via", "fd95::2")
    ip("-n", lan.names[1], "route", "add", "fd95::/64", "via", "fd98::2")
    with inside(lan.names[2]), open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as forward:
        forward.write("1")
    with inside(lan.names[1]):
        assert tunnel.mtu_between("fd98::1", "fd98::2", VXLAN, (6,)) == 1430
        assert tunnel.path_mtu("fd95::1", 1500) == 1300
        assert tunnel.mtu_between("fd98::1", "fd95::1", VXLAN, (6,)) == 1280
