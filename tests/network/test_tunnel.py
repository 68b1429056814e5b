"""Routes and the tunnel in the kernel, between machines that are network namespaces."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from tests.network.sockets import inside, ip
from tiphys.network import rtnetlink, tunnel
from tiphys.network.podroutes import VXLAN, Link, Peer, Routes, routes
from tiphys.network.tunnel import Device

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip", "bridge")]

METRIC = 7
PORT = 9999


class Lan:
    """Machines on one network: number N has the address 10.98.0.N and pods in 10.97.N.0/24."""

    def __init__(self) -> None:
        self._prefix = f"tt{os.getpid()}"
        self.names = [self.add(str(number)) for number in range(4)]  # the first is the switch
        ip("-n", self.names[0], "link", "add", "switch", "type", "bridge")
        ip("-n", self.names[0], "link", "set", "switch", "up")
        for number in (1, 2, 3):
            self.plug(self.names[number], "eth0", f"10.98.0.{number}/24")

    def add(self, name: str) -> str:
        full = f"{self._prefix}-{name}"
        ip("netns", "add", full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def plug(self, name: str, link: str, address: str) -> None:
        port = f"p-{name.rpartition('-')[2]}"
        peer = ("type", "veth", "peer", "name", port, "netns", self.names[0])
        ip("link", "add", link, "netns", name, *peer)
        ip("-n", self.names[0], "link", "set", port, "master", "switch", "up")
        ip("-n", name, "link", "set", link, "up")
        ip("-n", name, "addr", "add", address, "dev", link)

    def connect(self, number: int, *others: int) -> Routes:
        """Has a machine reach the pods of others by tunnel."""
        device = Device("vx", f"10.97.{number}.1", f"10.98.0.{number}", METRIC, 1450)
        peers = [Peer(str(n), f"10.98.0.{n}", IPv4Network(f"10.97.{n}.0/24")) for n in others]
        wanted = routes(peers, list[Link](), VXLAN)
        with inside(self.names[number]):
            tunnel.apply(device, wanted)
            tunnel.guard(device, wanted.tunnels)
        return wanted

    def listener(self, number: int) -> socket.socket:
        with inside(self.names[number]):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(("0.0.0.0", PORT))
            made.settimeout(5)
            return made

    def send(self, source: int, target: int, data: bytes) -> None:
        """From the machine's address among its pods to that of another one."""
        with inside(self.names[source]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: nobody may cut it
            made.sendto(data, (f"10.97.{target}.1", PORT))

    def shown(self, number: int, *words: str) -> str:
        return ip("-n", self.names[number], *words)


@pytest.fixture
def lan() -> Iterator[Lan]:
    made = Lan()
    yield made
    for name in made.names:
        ip("netns", "del", name)


def test_packets_of_full_length_pass_the_tunnel_under_the_nodes_address(lan: Lan) -> None:
    lan.connect(1, 2)
    lan.connect(2, 1)
    whole = b"x" * (1450 - 28)  # all but the headers of IP and UDP
    with lan.listener(2) as heard:
        lan.send(1, 2, whole)
        data, (sender, _) = heard.recvfrom(65536)
        assert data == whole and sender == "10.97.1.1"
    with pytest.raises(OSError, match="Message too long"):
        lan.send(1, 2, whole + b"x")


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
    before = lan.shown(1, "route", "show", "proto", "84")
    with inside(lan.names[1]):
        news = rtnetlink.listen()
    with news:
        lan.connect(1, 2, 3)
        with pytest.raises(BlockingIOError):
            news.recv(65536)
        ip("-n", lan.names[1], "route", "del", "10.97.2.0/24")
        told = rtnetlink.messages(news.recv(65536))
        assert any(rtnetlink.concerns(each, set(), tunnel.PROTOCOL) for each in told)
    lan.connect(1, 2, 3)
    assert lan.shown(1, "route", "show", "proto", "84") == before


def test_a_node_that_goes_is_forgotten_and_the_last_takes_the_tunnel_with_it(lan: Lan) -> None:
    lan.connect(1, 2, 3)
    lan.connect(1, 3)
    assert "10.97.2.0/24" not in lan.shown(1, "route")
    assert "10.97.2.1" not in lan.shown(1, "neigh", "show", "dev", "vx")
    lan.connect(1)
    assert "vx" not in lan.shown(1, "-o", "link") and "10.97" not in lan.shown(1, "route")
    lan.connect(1, 2)
    with inside(lan.names[1]):
        tunnel.remove("vx", METRIC)
    assert "vx" not in lan.shown(1, "-o", "link") and "10.97" not in lan.shown(1, "route")


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
        assert tunnel.mtu_between("10.98.0.1", "10.95.0.1", VXLAN) == 1250
