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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery.addresses import version_of

log = logging.getLogger(__name__)

AUTO = "auto"  # neighbours directly, others by tunnel
HOST = "host"  # neighbours alone
VXLAN = "vxlan"  # all by tunnel
MODES = (AUTO, HOST, VXLAN)

# Bytes of VXLAN (Ethernet, IP, UDP and its own header), by the version of IP that carries it.
OVERHEAD = {4: 50, 6: 70}
_LEAST_MTU = {4: 576, 6: 1280}  # RFC 791, RFC 8200: below that, a link has no IPv6

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Link(NamedTuple):
    """An address of this machine, and the network it is in."""

    name: str
    interface: Interface

    @property
    def has_neighbours(self) -> bool:
        """A network of a single address has none."""
        network = self.interface.network
        return network.prefixlen < network.max_prefixlen


class Peer(NamedTuple):
    """Another node: its addresses and the ranges of its pods, at most one range of each family."""

    node: str
    addresses: tuple[str, ...]
    ranges: tuple[Network, ...]

    def address(self, version: int) -> str:
        """The first one of a version of IP, "" for none."""
        return next((address for address in self.addresses if version_of(address) == version), "")


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


def mac_of(gateways: Iterable[str]) -> str:
    """The hardware address of a tunnel's end, from the node's addresses among its pods: 0a:58 as
    CNI's plugins start, and the IPv4 one, if there is one. Of IPv6, the parts of a pod network
    differ in their first eight bytes alone."""
    packed = ipaddress.ip_address(min(gateways, key=version_of)).packed
    if len(packed) > 4:
        packed = bytes(one ^ other for one, other in zip(packed[:4], packed[4:8], strict=True))
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in packed)


def peers(nodes: Iterable[core_v1.Node], own: str, networks: Sequence[Network]) -> list[Peer]:
    """The other nodes that have a range and an address.

    A range counts when it lies in a pod network of the cluster and no node that was there earlier
    has it: a node writes its own Node, and must not draw the traffic of others to itself.
    """
    kept: list[Peer] = []
    taken: list[Network] = []
    for node in sorted(nodes, key=_age):
        name = node.metadata.name
        believed = [range for range in _ranges_of(node) if _is_free(name, range, networks, taken)]
        taken += believed
        addresses = tuple(_addresses_of(node))
        if name != own and believed and addresses:
            kept.append(Peer(name, addresses, tuple(believed)))
    return kept


def _is_free(
    node: str, range: Network, networks: Sequence[Network], taken: Sequence[Network]
) -> bool:
    if not any(_is_part(range, network) for network in networks):
        log.warning("Node %s has range %s, which is not of the cluster", node, range)
        return False
    if any(range.overlaps(other) for other in taken):
        log.warning("Node %s has range %s, which is another node's", node, range)
        return False
    return True


def _is_part(range: Network, network: Network) -> bool:
    return range.version == network.version and range.subnet_of(network)  # type: ignore[arg-type]


def _age(node: core_v1.Node) -> tuple[str, str]:
    return node.metadata.creation_timestamp or "", node.metadata.name


def _ranges_of(node: core_v1.Node) -> list[Network]:
    """The first of each family."""
    ranges: dict[int, Network] = {}
    for text in node.spec.pod_cidrs:
        with contextlib.suppress(ValueError):
            network = ipaddress.ip_network(text)
            ranges.setdefault(network.version, network)
    return list(ranges.values())


def _addresses_of(node: core_v1.Node) -> Iterator[str]:
    for address in node.status.addresses:
        if address.type == "InternalIP":
            with contextlib.suppress(ValueError):
                parsed = ipaddress.ip_address(address.address)
                # A hollow node has its machine's loopback, behind which nothing is to be found.
                if not parsed.is_loopback:
                    yield str(parsed)


def routes(others: Iterable[Peer], links: Sequence[Link], mode: str, version: int) -> Routes:
    """The way to each of the other nodes; tunnels are over IP of that version."""
    direct = set()
    tunnels = set()
    unreachable = set()
    for peer in others:
        mac = mac_of(gateway_of(range) for range in peer.ranges)
        for range in peer.ranges:
            via = peer.address(range.version)
            link = _link_to(via, links) if via and mode != VXLAN else None
            if link is not None:
                direct.add(HostRoute(range, via, link.name))
            elif mode == HOST or not peer.address(version):
                unreachable.add(peer.node)
            else:
                tunnels.add(Tunnel(range, gateway_of(range), mac, peer.address(version)))
    return Routes(frozenset(direct), frozenset(tunnels), frozenset(unreachable))


def _link_to(address: str, links: Sequence[Link]) -> Link | None:
    """The link on whose network an address is."""
    target = ipaddress.ip_address(address)
    for link in links:
        if link.has_neighbours and target in link.interface.network:
            return link
    return None


def pod_mtu(link: int, path: int, mode: str, versions: Sequence[int]) -> int:
    """How long pods' packets may be, in bytes, where a machine's link and the paths to others carry
    that much: nothing on a pod's way may have to cut them. `versions` of IP are those of the
    cluster; tunnels are over the first one."""
    if mode == HOST:
        return link
    return max(min(link, path) - OVERHEAD[versions[0]], _LEAST_MTU[max(versions)])
