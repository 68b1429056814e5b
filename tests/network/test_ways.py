"""Which commands make the kernel's ways to other nodes' pods what they should be."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from tests.network.programs import Programs
from tiphys.network import tunnel as module
from tiphys.network.nft import NftError
from tiphys.network.podroutes import HostRoute, Link, Routes, Tunnel
from tiphys.network.pods import NetworkError
from tiphys.network.tunnel import Device

DEVICE = Device("tt", ("10.1.1.1", "fd01::1"), "192.0.2.1", 7, 1450)
ONE = Tunnel(ipaddress.ip_network("10.1.2.0/24"), "10.1.2.1", "02:00", "192.0.2.2")
SIX = Tunnel(ipaddress.ip_network("fd02::/64"), "fd02::1", "02:00", "192.0.2.2")
DIRECT = HostRoute(ipaddress.ip_network("10.1.3.0/24"), "192.0.2.3", "eth0")


def routes(*, direct: tuple[HostRoute, ...] = (), tunnels: tuple[Tunnel, ...] = ()) -> Routes:
    return Routes(frozenset(direct), frozenset(tunnels), frozenset())


class Kernel:
    """Programs, nft and the switch of reverse paths."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = Programs()
        self.scripts: list[str] = []
        self.written: list[tuple[str, str]] = []
        self.is_without_nft = False
        monkeypatch.setattr(module, "run", self.programs)
        monkeypatch.setattr(module, "nft", self._nft)
        kernel = self

        class File:
            def __init__(self, path: str) -> None:
                self._path = path

            def write_text(self, text: str) -> None:
                kernel.written.append((self._path, text))

        monkeypatch.setattr(module, "Path", File)

    def _nft(self, script: str) -> None:
        if self.is_without_nft:
            raise NftError("x")
        self.scripts.append(script)

    def there(self, **says: Any) -> None:
        """The tunnel is there, as it should be, and what else is said."""
        addresses = [{"local": one, "scope": "global"} for one in DEVICE.addresses]
        data = {"local": DEVICE.local}
        shown = {
            "mtu": 1450,
            "address": DEVICE.mac,
            "addr_info": [*addresses, {"local": "fe80::1", "scope": "link"}],
            "linkinfo": {"info_data": data},
        }
        self.programs.says = {
            "ip -o link show tt": "9: tt",
            "ip -j -d addr show tt": [shown | says],
        }


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_a_tunnel_is_made_with_its_ways(kernel: Kernel) -> None:
    module.apply(DEVICE, routes(direct=(DIRECT,), tunnels=(ONE,)))
    made, *addresses, up, neighbour, machine, first, second = kernel.programs.changes()
    assert made == (
        f"ip link add tt address {DEVICE.mac} mtu 1450 type vxlan id 84 "
        "local 192.0.2.1 dstport 8472 nolearning"
    )
    assert addresses == ["ip addr add 10.1.1.1/32 dev tt", "ip addr add fd01::1/128 nodad dev tt"]
    assert up == "ip link set tt up"
    assert neighbour == "ip neigh replace 10.1.2.1 lladdr 02:00 dev tt nud permanent"
    assert machine == "bridge fdb replace 02:00 dev tt dst 192.0.2.2 self permanent"
    assert {first, second} == {
        "ip -4 route replace 10.1.2.0/24 via 10.1.2.1 dev tt onlink proto 84 metric 7 src 10.1.1.1",
        "ip -4 route replace 10.1.3.0/24 via 192.0.2.3 dev eth0 onlink proto 84 metric 7 src 10.1.1.1",
    }
    assert kernel.written == [("/proc/sys/net/ipv4/conf/tt/rp_filter", "2")]


def test_each_version_has_its_own_ways(kernel: Kernel) -> None:
    kernel.there()
    module.apply(DEVICE, routes(tunnels=(SIX,)))
    assert kernel.programs.changes()[-1] == (
        "ip -6 route replace fd02::/64 via fd02::1 dev tt onlink proto 84 metric 7 src fd01::1"
    )
    assert not [line for line in kernel.programs.changes() if line.startswith("ip -4 route")]


def test_what_is_as_it_should_be_is_not_touched(kernel: Kernel) -> None:
    kernel.there()
    kernel.programs.says |= {
        "ip -j -4 neigh show dev tt": [{"dst": "10.1.2.1", "lladdr": "02:00"}],
        "bridge -j fdb show dev tt": [{"mac": "02:00", "dst": "192.0.2.2"}, {"mac": "33:33"}],
        "ip -j -4 route show proto 84": [
            {"dst": "10.1.2.0/24", "gateway": "10.1.2.1", "dev": "tt", "metric": 7},
            {"dst": "10.9.0.0/24", "gateway": "10.9.0.1", "dev": "tt", "metric": 8},
        ],
    }
    module.apply(DEVICE, routes(tunnels=(ONE,)))
    assert kernel.programs.changes() == []


def test_what_is_no_longer_wanted_goes(kernel: Kernel) -> None:
    kernel.there()
    kernel.programs.says |= {
        "ip -j -4 neigh show dev tt": [
            {"dst": "10.1.2.1", "lladdr": "02:99"},
            {"dst": "10.1.9.1", "lladdr": "02:09"},
        ],
        "bridge -j fdb show dev tt": [{"mac": "02:09", "dst": "192.0.2.9"}],
        "ip -j -4 route show proto 84": [
            {"dst": "10.1.9.0/24", "gateway": "10.1.9.1", "dev": "tt", "metric": 7}
        ],
    }
    module.apply(DEVICE, routes(tunnels=(ONE,)))
    assert kernel.programs.changes() == [
        "ip neigh replace 10.1.2.1 lladdr 02:00 dev tt nud permanent",
        "ip neigh del 10.1.9.1 dev tt",
        "bridge fdb del 02:09 dev tt dst 192.0.2.9",
        "bridge fdb replace 02:00 dev tt dst 192.0.2.2 self permanent",
        "ip -4 route del 10.1.9.0/24 dev tt proto 84 metric 7",
        "ip -4 route replace 10.1.2.0/24 via 10.1.2.1 dev tt onlink proto 84 metric 7 src 10.1.1.1",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"mtu": 1400},
        {"address": "02:01"},
        {"addr_info": [{"local": "10.1.1.1", "scope": "global"}]},
        {"linkinfo": {"info_data": {"local": "192.0.2.9"}}},
        {"linkinfo": {}},
    ],
)
def test_a_tunnel_that_is_another_is_made_anew(kernel: Kernel, other: dict[str, Any]) -> None:
    kernel.there(**other)
    module.apply(DEVICE, routes(tunnels=(ONE,)))
    assert kernel.programs.changes()[0] == "ip link del tt"
    assert kernel.programs.changes()[1].startswith("ip link add tt ")


def test_a_tunnel_over_ipv6_is_known_by_its_end() -> None:
    over = DEVICE._replace(local="2001:db8::1")
    assert (over.version, DEVICE.version) == (6, 4)


def test_without_tunnels_there_is_none(kernel: Kernel) -> None:
    module.apply(DEVICE, routes(direct=(DIRECT,)))
    assert len(kernel.programs.changes()) == 1, "the route"
    kernel.there()
    module.apply(DEVICE, routes())
    assert kernel.programs.changes()[-1] == "ip link del tt"


@pytest.mark.parametrize("is_without_nft", [False, True])
def test_everything_can_be_taken_away(kernel: Kernel, is_without_nft: bool) -> None:
    kernel.is_without_nft = is_without_nft
    kernel.programs.says = {
        "ip -j -4 route show proto 84": [{"dst": "a", "metric": 7}, {"dst": "b", "metric": 8}],
        "ip -j -6 route show proto 84": [{"dst": "c", "metric": 7}, {}],
    }
    module.remove("tt", 7)
    assert kernel.programs.changes() == [
        "ip -4 route del a metric 7",
        "ip -6 route del c metric 7",
        "ip link del tt",
    ]
    tables = [] if is_without_nft else ["ip", "ip6"]
    assert kernel.scripts == [f"add table {one} tt\ndelete table {one} tt\n" for one in tables]


def test_tunnelled_packets_are_taken_from_nodes_alone(kernel: Kernel) -> None:
    other = ONE._replace(peer="192.0.2.1")
    module.guard(DEVICE, frozenset((ONE, SIX, other)))
    module.guard(DEVICE, frozenset())
    first, second = kernel.scripts
    assert "udp dport 8472 ip saddr != { 192.0.2.1, 192.0.2.2 } drop" in first
    assert first.startswith(second) and second == "add table ip tt\ndelete table ip tt\n"
    module.guard(DEVICE._replace(local="2001:db8::1"), frozenset((ONE,)))
    assert "ip6 saddr !=" in kernel.scripts[2]


# --- what the machine has ---

ADDRESSES = [
    {"ifname": "lo", "flags": ["LOOPBACK"], "mtu": 65536,
     "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "global"}]},
    {"ifname": "eth0", "flags": ["UP"], "mtu": 1500,
     "addr_info": [{"local": "192.0.2.1", "prefixlen": 24, "scope": "global"},
                   {"local": "fe80::1", "prefixlen": 64, "scope": "link"}]},
    {"ifname": "eth1"},
]  # fmt: skip


def test_links_are_those_with_addresses_that_are_good_beyond_them(kernel: Kernel) -> None:
    kernel.programs.says = {"ip -j addr show": [*ADDRESSES, {}]}
    assert module.links() == [Link("eth0", ipaddress.ip_interface("192.0.2.1/24"))]
    kernel.programs.says = {}
    assert module.links() == []


@pytest.mark.parametrize(("address", "mtu"), [("192.0.2.1", 1500), ("fe80::1", 1500)])
def test_the_longest_packet_of_a_link(kernel: Kernel, address: str, mtu: int) -> None:
    kernel.programs.says = {"ip -j addr show": ADDRESSES}
    assert module.link_mtu(address) == mtu
    with pytest.raises(NetworkError, match=r"no link of this machine has the address 192\.0\.2\.9"):
        module.link_mtu("192.0.2.9")


def test_the_longest_packet_of_the_loopback_is_asked_of_the_kernel() -> None:
    assert module.path_mtu("127.0.0.1", 1400) == 1400
    assert module.path_mtu("127.0.0.1", 100_000) == 65535


_ENDS = socket.socketpair()


class Probe:
    """A socket that cannot connect, or knows how long a packet may be."""

    def __init__(self, mtu: int | None) -> None:
        self._mtu = mtu
        self.sent = 0
        self.where: Any = None

    def __call__(self, family: int, kind: int) -> Probe:
        self.family = family
        return self

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None: ...

    def setsockopt(self, *option: int) -> None:
        self.option = option

    def getsockopt(self, level: int, name: int) -> int:
        assert self._mtu is not None
        return self._mtu

    def fileno(self) -> int:
        return _ENDS[0].fileno()

    def connect(self, where: tuple[str, int]) -> None:
        self.where = where
        if self._mtu is None:
            raise OSError("no way")

    def send(self, data: bytes) -> None:
        self.sent = len(data)
        raise OSError("too long")


@pytest.mark.parametrize(
    ("address", "known", "mtu", "sent"),
    [
        ("192.0.2.2", 1400, 1400, 1472),
        ("192.0.2.2", 9000, 1500, 1472),
        ("2001:db8::2", 1400, 1400, 1452),
        ("192.0.2.2", None, 1500, 0),
    ],
)
def test_a_packet_that_nobody_may_cut_finds_out_how_long_one_may_be(
    monkeypatch: pytest.MonkeyPatch, address: str, known: int | None, mtu: int, sent: int
) -> None:
    monkeypatch.setattr(module, "_ICMP_SECONDS", 0.0)
    probe = Probe(known)
    with monkeypatch.context() as patched:
        patched.setattr(module.socket, "socket", probe)
        assert module.path_mtu(address, 1500) == mtu
    assert probe.sent == sent and probe.where == (address, 8472)
    option = {4: (0, 10, 2), 6: (41, 23, 2)}[6 if ":" in address else 4]
    assert probe.option == option


@pytest.mark.parametrize(
    ("server", "path"), [("127.0.0.1", 1400), ("fd00::1", 1400), ("api.example.com", 1500)]
)
def test_pods_packets_are_as_long_as_the_way_lets_them(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, server: str, path: int
) -> None:
    kernel.programs.says = {"ip -j addr show": ADDRESSES}
    asked: list[Any] = []

    def pod_mtu(link: int, path: int, mode: str, versions: Any) -> int:
        asked.append((link, path, mode, versions))
        return path

    monkeypatch.setattr(module, "pod_mtu", pod_mtu)
    monkeypatch.setattr(module, "path_mtu", lambda address, longest: longest - 100)
    assert module.mtu_between("192.0.2.1", server, "host", (4,)) == path
    assert asked == [(1500, path, "host", (4,))]
