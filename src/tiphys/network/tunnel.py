"""What the kernel has of the ways to other nodes' pods: links, routes, and the VXLAN tunnel.

Everything blocks and goes through iproute2 and nft. Raises NetworkError.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import select
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.machinery.addresses import version_of
from tiphys.machinery.names import is_ip
from tiphys.network.nft import NftError, nft
from tiphys.network.podroutes import HostRoute, Link, Routes, Tunnel, mac_of, pod_mtu
from tiphys.network.pods import NetworkError, alone, run

PORT = 8472  # UDP, Linux' own default for VXLAN
_VNI = 84
_NFT = {4: "ip", 6: "ip6"}  # families of tables
PROTOCOL = 84  # marks our routes for the kernel, which does not use the number
_ICMP_SECONDS = 0.25  # that a router has to say that a packet is too long


class _PathMTU(NamedTuple):
    """How a version of IP is asked for the longest packet on a way: linux/in.h and in6.h, which are
    not in Python's socket. `headers` are bytes of IP and UDP."""

    family: int
    level: int
    discover: int
    do: int
    mtu: int
    headers: int


_PATH_MTU = {
    4: _PathMTU(socket.AF_INET, socket.IPPROTO_IP, 10, 2, 14, 28),
    6: _PathMTU(socket.AF_INET6, socket.IPPROTO_IPV6, 23, 2, 24, 48),
}


class Device(NamedTuple):
    """The tunnel's end on this machine. `addresses` are the node's among its pods, one of each
    family, `local` is the machine's, `metric` distinguishes its routes from those of other clusters
    here."""

    name: str
    addresses: tuple[str, ...]
    local: str
    metric: int
    mtu: int

    @property
    def version(self) -> int:
        """Of IP, over which it goes."""
        return version_of(self.local)

    @property
    def mac(self) -> str:
        return mac_of(self.addresses)


def links() -> list[Link]:
    """The addresses of this machine, without the loopback's and those that each IPv6 link has for
    itself alone."""
    addresses = []
    for device in _json("ip", "-j", "addr", "show"):
        if "LOOPBACK" in device.get("flags", ()):
            continue
        for row in _global(device):
            text = f"{row['local']}/{row['prefixlen']}"
            addresses.append(Link(device["ifname"], ipaddress.ip_interface(text)))
    return addresses


def _global(device: dict[str, Any]) -> list[dict[str, Any]]:
    """The addresses of a device that are good beyond its link."""
    return [row for row in device.get("addr_info", ()) if row.get("scope") == "global"]


def link_mtu(address: str) -> int:
    """The longest packet of the link that has one of this machine's addresses."""
    for device in _json("ip", "-j", "addr", "show"):
        if any(row["local"] == address for row in device.get("addr_info", ())):
            return int(device["mtu"])
    raise NetworkError(f"no link of this machine has the address {address}")


def path_mtu(address: str, longest: int) -> int:
    """The longest packet that reaches another machine whole, as far as routers say.

    One that is as long as the link allows, and must not be fragmented, is sent to a port that does
      not
    matter: the router for which it is too long answers, and the kernel remembers.
    """
    way = _PATH_MTU[version_of(address)]
    with socket.socket(way.family, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(way.level, way.discover, way.do)
        try:
            probe.connect((address, PORT))
        except OSError:
            return longest
        with contextlib.suppress(OSError):  # it is known already that this is too long
            probe.send(bytes(longest - way.headers))
        poll = select.poll()
        poll.register(probe, select.POLLERR)
        poll.poll(_ICMP_SECONDS * 1000)
        return min(longest, probe.getsockopt(way.level, way.mtu))


def mtu_between(address: str, server: str, mode: str, versions: Sequence[int]) -> int:
    """How long pods' packets may be on a machine with that address, whose way to others is as wide
    as that to the API server. `versions` of IP as `podroutes.pod_mtu` has them."""
    link = link_mtu(address)
    path = path_mtu(server, link) if is_ip(server) else link
    return pod_mtu(link, path, mode, versions)


# --- routes and the tunnel ---


def apply(device: Device, wanted: Routes) -> None:
    """Makes the kernel's ways those that are wanted. What is as it should be is not touched."""
    if wanted.tunnels:
        _make(device)
        _write_neighbours(device, wanted.tunnels)
    _write_routes(device, wanted)
    if not wanted.tunnels and _exists(device.name):
        run("ip", "link", "del", device.name, check=False)


def remove(device_name: str, metric: int) -> None:
    """Takes every way away."""
    for version in (4, 6):
        for row in _routes(version, metric):
            words = ("route", "del", row["dst"], "metric", str(metric))
            run("ip", f"-{version}", *words, check=False)
    run("ip", "link", "del", device_name, check=False)
    with contextlib.suppress(NftError, FileNotFoundError):
        for family in _NFT.values():
            nft(_without(family, device_name))


def _make(device: Device) -> None:
    if _exists(device.name):
        if _is_up_to_date(device):
            return
        run("ip", "link", "del", device.name)
    options = ("local", device.local, "dstport", str(PORT), "nolearning")
    words = ("ip", "link", "add", device.name, "address", device.mac, "mtu", str(device.mtu))
    run(*words, "type", "vxlan", "id", str(_VNI), *options)
    for address in device.addresses:
        run("ip", "addr", "add", *alone(address), "dev", device.name)
    # A neighbour may answer directly what came by tunnel: strict reverse paths would drop it.
    Path(f"/proc/sys/net/ipv4/conf/{device.name}/rp_filter").write_text("2")
    run("ip", "link", "set", device.name, "up")


def _is_up_to_date(device: Device) -> bool:
    """Whether the tunnel that is there is the one that is wanted."""
    shown = _json("ip", "-j", "-d", "addr", "show", device.name)[0]
    data = shown.get("linkinfo", {}).get("info_data", {})
    return (
        data.get("local", data.get("local6")) == device.local
        and shown["mtu"] == device.mtu
        and shown.get("address") == device.mac
        and {row["local"] for row in _global(shown)} == set(device.addresses)
    )


def _exists(link: str) -> bool:
    return bool(run("ip", "-o", "link", "show", link, check=False))


def _write_neighbours(device: Device, tunnels: frozenset[Tunnel]) -> None:
    """The other ends' hardware addresses, and behind which machines they are."""
    wanted = {tunnel.gateway: tunnel.mac for tunnel in tunnels}
    existing = {
        row["dst"]: row.get("lladdr", "")
        for version in (4, 6)
        for row in _json("ip", "-j", f"-{version}", "neigh", "show", "dev", device.name)
    }
    for gateway, mac in wanted.items() - existing.items():
        words = ("ip", "neigh", "replace", gateway, "lladdr", mac, "dev", device.name)
        run(*words, "nud", "permanent")
    for gateway in existing.keys() - wanted.keys():
        run("ip", "neigh", "del", gateway, "dev", device.name, check=False)
    machines = {(tunnel.mac, tunnel.peer) for tunnel in tunnels}
    known = {
        (row["mac"], row.get("dst", ""))
        for row in _json("bridge", "-j", "fdb", "show", "dev", device.name)
    }
    for mac, peer in known - machines:
        if peer:
            run("bridge", "fdb", "del", mac, "dev", device.name, "dst", peer, check=False)
    for mac, peer in machines - known:
        run("bridge", "fdb", "replace", mac, "dev", device.name, "dst", peer, "self", "permanent")


def _write_routes(device: Device, wanted: Routes) -> None:
    for address in device.addresses:
        _write_routes_from(device, address, wanted)


def _write_routes_from(device: Device, address: str, wanted: Routes) -> None:
    """Those of one family. `address` is the node's own among its pods: that is where answers come
    back by the same way."""
    version = version_of(address)
    ways = {_way(route) for route in wanted.direct if route.range.version == version}
    ways |= {
        (str(tunnel.range), tunnel.gateway, device.name)
        for tunnel in wanted.tunnels
        if tunnel.range.version == version
    }
    rows = _routes(version, device.metric)
    existing = {(row["dst"], row.get("gateway", ""), row.get("dev", "")) for row in rows}
    change = ("ip", f"-{version}", "route")
    metric = ("proto", str(PROTOCOL), "metric", str(device.metric))
    for range, _, link in existing - ways:
        run(*change, "del", range, "dev", link, *metric, check=False)
    for range, gateway, link in ways - existing:
        words = ("replace", range, "via", gateway, "dev", link, "onlink")
        run(*change, *words, *metric, "src", address)


def _way(route: HostRoute) -> tuple[str, str, str]:
    return str(route.range), route.via, route.link


def _routes(version: int, metric: int) -> list[dict[str, Any]]:
    rows = _json("ip", "-j", f"-{version}", "route", "show", "proto", str(PROTOCOL))
    return [row for row in rows if row.get("metric") == metric]


def guard(device: Device, tunnels: frozenset[Tunnel]) -> None:
    """Takes tunnelled packets from the machines of nodes alone: VXLAN itself does not check who
    they are."""
    family = _NFT[device.version]
    clear = _without(family, device.name)
    if not tunnels:
        nft(clear)
        return
    machines = ", ".join(sorted({tunnel.peer for tunnel in tunnels}))
    nft(f"""{clear}table {family} {device.name} {{
  chain input {{
    type filter hook input priority raw; policy accept;
    udp dport {PORT} {family} saddr != {{ {machines} }} drop
  }}
}}
""")


def _without(family: str, table: str) -> str:
    return f"add table {family} {table}\ndelete table {family} {table}\n"


def _json(*command: str) -> list[dict[str, Any]]:
    output = run(*command)
    rows: list[dict[str, Any]] = json.loads(output) if output.strip() else []
    return [row for row in rows if row]
