"""The ways from one node to the pods of the others. Pure.

A node that is a neighbour, on a network that this machine is on, is its own pods' next hop. To any
other node pods' packets go in a tunnel (VXLAN): its end there has an address among the node's pods
and a hardware address that follows from it, so that everything a node has to know of another stands
in its Node.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.api import core_v1

log = logging.getLogger(__name__)

AUTO = "auto"  # neighbours directly, others by tunnel
HOST = "host"  # neighbours alone
VXLAN = "vxlan"  # everybody by tunnel
MODES = (AUTO, HOST, VXLAN)

OVERHEAD = 50  # bytes of VXLAN: Ethernet, IP, UDP and its own header
_LEAST_MTU = 576

Network = ipaddress.IPv4Network


class Link(NamedTuple):
    """An address of this machine, and the network it is in."""

    name: str
    interface: ipaddress.IPv4Interface

    @property
    def has_neighbours(self) -> bool:
        """A network of a single address has none."""
        network = self.interface.network
        return network.prefixlen < network.max_prefixlen


class Peer(NamedTuple):
    """Another node: its address, and the range of its pods."""

    node: str
    address: str
    range: Network


class HostRoute(NamedTuple):
    """Straight to the node."""

    range: Network
    via: str
    link: str


class Tunnel(NamedTuple):
    """Through the tunnel: `gateway` and `mac` are those of the other end, `peer` the address of its
    machine."""

    range: Network
    gateway: str
    mac: str
    peer: str


@dataclass(frozen=True)
class Routes:
    """All ways, and the nodes that there is none to."""

    direct: frozenset[HostRoute] = frozenset()
    tunnels: frozenset[Tunnel] = frozenset()
    unreachable: frozenset[str] = frozenset()


def gateway_of(range: Network) -> str:
    """The node's own address among its pods."""
    return str(range.network_address + 1)


def mac_of(address: str) -> str:
    """The hardware address of a tunnel's end, from its address: 0a:58 as CNI's plugins begin."""
    packed = ipaddress.IPv4Address(address).packed
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in packed)


def peers(nodes: Iterable[core_v1.Node], own: str, networks: Sequence[Network]) -> list[Peer]:
    """The other nodes that have a range and an address.

    A range counts when it lies in a pod network of the cluster and no node that was there earlier
    has it: a node writes its own Node, and must not draw the traffic of others to itself.
    """
    kept: list[Peer] = []
    ranges: list[Network] = []
    for node in sorted(nodes, key=_age):
        name = node.metadata.name
        range = _range_of(node)
        if range is None:
            continue
        if not any(range.subnet_of(network) for network in networks):
            log.warning("Node %s has range %s, which is not of the cluster", name, range)
            continue
        if any(range.overlaps(other) for other in ranges):
            log.warning("Node %s has range %s, which is another node's", name, range)
            continue
        ranges.append(range)
        address = _address_of(node)
        if name != own and address:
            kept.append(Peer(name, address, range))
    return kept


def _age(node: core_v1.Node) -> tuple[str, str]:
    return node.metadata.creation_timestamp or "", node.metadata.name


def _range_of(node: core_v1.Node) -> Network | None:
    for text in node.spec.pod_cidrs:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            continue
        if isinstance(network, ipaddress.IPv4Network):
            return network
    return None


def _address_of(node: core_v1.Node) -> str:
    for address in node.status.addresses:
        if address.type == "InternalIP":
            with contextlib.suppress(ValueError):
                parsed = ipaddress.IPv4Address(address.address)
                # A hollow node has its machine's loopback, behind which nothing is to be found.
                return "" if parsed.is_loopback else str(parsed)
    return ""


def routes(others: Iterable[Peer], links: Sequence[Link], mode: str) -> Routes:
    """The way to each of the other nodes."""
    direct = set()
    tunnels = set()
    unreachable = set()
    for peer in others:
        link = _link_to(peer.address, links) if mode != VXLAN else None
        if link is not None:
            direct.add(HostRoute(peer.range, peer.address, link.name))
        elif mode == HOST:
            unreachable.add(peer.node)
        else:
            gateway = gateway_of(peer.range)
            tunnels.add(Tunnel(peer.range, gateway, mac_of(gateway), peer.address))
    return Routes(frozenset(direct), frozenset(tunnels), frozenset(unreachable))


def _link_to(address: str, links: Sequence[Link]) -> Link | None:
    """The link on whose network an address is."""
    target = ipaddress.IPv4Address(address)
    for link in links:
        if link.has_neighbours and target in link.interface.network:
            return link
    return None


def pod_mtu(link: int, path: int, mode: str) -> int:
    """How long pods' packets may be, in bytes, where a machine's link and the paths to others carry
    that much: nothing on a pod's way may have to cut them."""
    if mode == HOST:
        return link
    return max(min(link, path) - OVERHEAD, _LEAST_MTU)
