"""What the kernel has of the ways to other nodes' pods: links, routes, and the VXLAN tunnel.

Everything blocks and goes through iproute2 and nft. Raises NetworkError.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import select
import socket
from pathlib import Path
from typing import Any, NamedTuple

from tiphys.network.nft import NftError, nft
from tiphys.network.podroutes import HostRoute, Link, Routes, Tunnel, mac_of, pod_mtu
from tiphys.network.pods import NetworkError, run

PORT = 8472  # UDP, Linux' own default for VXLAN
_VNI = 84
PROTOCOL = 84  # marks our routes for the kernel, which does not use the number
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_MTU = 10, 2, 14  # linux/in.h; not in Python's socket
_HEADERS = 28  # bytes of IP and UDP
_ICMP_SECONDS = 0.25  # that a router has to say that a packet is too long


class Device(NamedTuple):
    """The tunnel's end on this machine. `address` is the node's among its pods, `local` the
    machine's, `metric` tells its routes from those of other clusters here."""

    name: str
    address: str
    local: str
    metric: int
    mtu: int


def links() -> list[Link]:
    """The addresses of this machine, without the loopback's."""
    found = []
    for device in _json("ip", "-j", "-4", "addr", "show"):
        if "LOOPBACK" in device.get("flags", ()):
            continue
        for row in device.get("addr_info", ()):
            text = f"{row['local']}/{row['prefixlen']}"
            found.append(Link(device["ifname"], ipaddress.IPv4Interface(text)))
    return found


def link_mtu(address: str) -> int:
    """The longest packet of the link that has one of this machine's addresses."""
    for device in _json("ip", "-j", "-4", "addr", "show"):
        if any(row["local"] == address for row in device.get("addr_info", ())):
            return int(device["mtu"])
    raise NetworkError(f"no link of this machine has the address {address}")


def path_mtu(address: str, longest: int) -> int:
    """The longest packet that reaches another machine whole, as far as routers say.

    One that is as long as the link allows, and that nobody may cut, is sent to a port that does not
    matter: the router for which it is too long answers, and the kernel remembers.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        try:
            probe.connect((address, PORT))
        except OSError:
            return longest
        with contextlib.suppress(OSError):  # it is known already that this is too long
            probe.send(bytes(longest - _HEADERS))
        poll = select.poll()
        poll.register(probe, select.POLLERR)
        poll.poll(_ICMP_SECONDS * 1000)
        return min(longest, probe.getsockopt(socket.IPPROTO_IP, _IP_MTU))


def mtu_between(address: str, server: str, mode: str) -> int:
    """How long pods' packets may be on a machine with that address, whose way to others is as wide
    as that to the API server."""
    link = link_mtu(address)
    path = link
    with contextlib.suppress(ValueError):
        ipaddress.IPv4Address(server)
        path = path_mtu(server, link)
    return pod_mtu(link, path, mode)


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
    for row in _routes(metric):
        run("ip", "route", "del", row["dst"], "metric", str(metric), check=False)
    run("ip", "link", "del", device_name, check=False)
    with contextlib.suppress(NftError, FileNotFoundError):
        nft(f"add table ip {device_name}\ndelete table ip {device_name}\n")


def _make(device: Device) -> None:
    if _exists(device.name):
        shown = _json("ip", "-j", "-d", "link", "show", device.name)[0]
        data = shown.get("linkinfo", {}).get("info_data", {})
        is_same = data.get("local") == device.local and shown["mtu"] == device.mtu
        if is_same and shown.get("address") == mac_of(device.address):
            return
        run("ip", "link", "del", device.name)
    options = ("local", device.local, "dstport", str(PORT), "nolearning")
    mac = mac_of(device.address)
    words = ("ip", "link", "add", device.name, "address", mac, "mtu", str(device.mtu))
    run(*words, "type", "vxlan", "id", str(_VNI), *options)
    run("ip", "addr", "add", f"{device.address}/32", "dev", device.name)
    # A neighbour may answer directly what came by tunnel: strict reverse paths would drop it.
    Path(f"/proc/sys/net/ipv4/conf/{device.name}/rp_filter").write_text("2")
    run("ip", "link", "set", device.name, "up")


def _exists(link: str) -> bool:
    return bool(run("ip", "-o", "link", "show", link, check=False))


def _write_neighbours(device: Device, tunnels: frozenset[Tunnel]) -> None:
    """The other ends' hardware addresses, and behind which machines they are."""
    wanted = {tunnel.gateway: tunnel.mac for tunnel in tunnels}
    there = {
        row["dst"]: row.get("lladdr", "")
        for row in _json("ip", "-j", "-4", "neigh", "show", "dev", device.name)
    }
    for gateway, mac in wanted.items() - there.items():
        words = ("ip", "neigh", "replace", gateway, "lladdr", mac, "dev", device.name)
        run(*words, "nud", "permanent")
    for gateway in there.keys() - wanted.keys():
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
    ways = {_way(route): route for route in wanted.direct}
    tunnels = {(str(t.range), t.gateway, device.name): t for t in wanted.tunnels}
    rows = _routes(device.metric)
    there = {(row["dst"], row.get("gateway", ""), row.get("dev", "")): row for row in rows}
    metric = ("proto", str(PROTOCOL), "metric", str(device.metric))
    for way in there.keys() - ways.keys() - tunnels.keys():
        run("ip", "route", "del", way[0], "dev", way[2], *metric, check=False)
    for range, gateway, link in (ways.keys() | tunnels.keys()) - there.keys():
        words = ("ip", "route", "replace", range, "via", gateway, "dev", link, "onlink")
        # The node's own address among pods: that is where answers come back by the same way.
        run(*words, *metric, "src", device.address)


def _way(route: HostRoute) -> tuple[str, str, str]:
    return str(route.range), route.via, route.link


def _routes(metric: int) -> list[dict[str, Any]]:
    rows = _json("ip", "-j", "-4", "route", "show", "proto", str(PROTOCOL))
    return [row for row in rows if row.get("metric") == metric]


def guard(device: Device, tunnels: frozenset[Tunnel]) -> None:
    """Takes tunnelled packets from the machines of nodes alone: VXLAN itself asks nobody who they
    are."""
    table = device.name
    clear = f"add table ip {table}\ndelete table ip {table}\n"
    if not tunnels:
        nft(clear)
        return
    machines = ", ".join(sorted({tunnel.peer for tunnel in tunnels}))
    nft(f"""{clear}table ip {table} {{
  chain input {{
    type filter hook input priority raw; policy accept;
    udp dport {PORT} ip saddr != {{ {machines} }} drop
  }}
}}
""")


def _json(*command: str) -> list[dict[str, Any]]:
    output = run(*command)
    rows: list[dict[str, Any]] = json.loads(output) if output.strip() else []
    return [row for row in rows if row]
