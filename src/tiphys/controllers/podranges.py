"""The parts of a cluster's pod networks that nodes are given: one for each node, none twice. Pure.

Upstream's nodeipam: the next free part after the one that was given last, so that a range that was
just given back is not used again at once, while old connections may still lead there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MASKS = {4: 24, 6: 64}  # upstream's --node-cidr-mask-size-ipv4 and -ipv6
_MOST_IPV6_BITS = 16  # upstream's clusterSubnetMaxDiff


class RangeError(Exception):
    """A pod network cannot be used, or a range is not of it; the text says why."""


class NoneLeftError(Exception):
    """Every part of a pod network is taken."""


class PodRanges:
    """The parts of one pod network, by their number."""

    def __init__(self, network: Network, mask: int = 0) -> None:
        """`mask` is the prefix length of a node's part, 0 for upstream's. Raises RangeError."""
        self.network = network
        self.mask = mask or MASKS[network.version]
        bits = self.mask - network.prefixlen
        if bits < 0:
            raise RangeError(f"pod network {network} is smaller than a node's part, /{self.mask}")
        if network.version == 6 and bits > _MOST_IPV6_BITS:
            raise RangeError(f"pod network {network} has too many parts of /{self.mask}")
        self.size = 1 << bits
        self._holders: dict[int, str] = {}  # number → node; "" for what is never given
        self._next = 0

    def allocate(self, node: str) -> Network:
        """The part that the node has, or the next free one. Raises NoneLeftError."""
        for number, holder in self._holders.items():
            if holder == node:
                return self._part(number)
        for offset in range(self.size):
            number = (self._next + offset) % self.size
            if number not in self._holders:
                self._holders[number] = node
                self._next = (number + 1) % self.size
                return self._part(number)
        raise NoneLeftError(f"pod network {self.network} has no part left for node {node}")

    def occupy(self, part: Network, node: str) -> str:
        """Notes what a node has; returns another node that had (some of) it before, or "". Raises
        RangeError for what is not of this network, or is more than one node's part."""
        if node and part.prefixlen < self.mask:
            raise RangeError(f"{part} is more than a node's part of {self.network}, /{self.mask}")
        other = ""
        for number in self._numbers(part):
            holder = self._holders.setdefault(number, node)
            if holder != node:
                other = holder
        return other

    def release(self, node: str) -> None:
        """Gives back what the node has."""
        for number in [held for held, holder in self._holders.items() if holder == node]:
            del self._holders[number]

    def overlaps(self, part: Network) -> bool:
        return part.version == self.network.version and part.overlaps(self.network)

    def _part(self, number: int) -> Network:
        address = int(self.network.network_address) + (number << (self._width - self.mask))
        kind = ipaddress.IPv4Network if self.network.version == 4 else ipaddress.IPv6Network
        return kind((address, self.mask))

    @property
    def _width(self) -> int:
        return self.network.max_prefixlen

    def _numbers(self, part: Network) -> Iterable[int]:
        if not self.overlaps(part):
            raise RangeError(f"{part} is not of the pod network {self.network}")
        if part.prefixlen <= self.network.prefixlen:
            return range(self.size)
        shift = self._width - self.mask
        base = int(self.network.network_address)
        first = (int(part.network_address) - base) >> shift
        last = (int(part.broadcast_address) - base) >> shift
        return range(first, last + 1)
