"""The ranges that services' addresses come from: those of every ServiceCIDR that is in force."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator

from tiphys.api.base import decode
from tiphys.api.networking_v1 import ServiceCIDR
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import conditions

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST = 1 << 62  # addresses of a range that are used, of those with more
_TRIED = 64  # addresses of each range
_SMALL = 1024  # addresses of a range that is tried as a whole


def service_ranges(objects: Objects, own: Iterable[Network], family: str) -> list[Network]:
    """The ranges that addresses of a family may be taken from, `own` (the server's) first. A
    ServiceCIDR that is being deleted, or is not ready, gives none."""
    ranges = list(own)
    for entry in objects.entries(ServiceCIDR):
        cidr = decode(entry.data, ServiceCIDR)
        if _in_force(cidr):
            ranges += [ipaddress.ip_network(text) for text in cidr.spec.cidrs]
    return [network for network in dict.fromkeys(ranges) if f"IPv{network.version}" == family]


def _in_force(cidr: ServiceCIDR) -> bool:
    is_unready = conditions.state_of(cidr.status.conditions, "Ready") == "False"
    return not cidr.metadata.deletion_timestamp and not is_unready


def candidates(network: Network) -> Iterator[str]:
    """Addresses to try, at random. Those at the start of a range are for clients that ask for one
    by name, and come last, as upstream's bands have it. The network's own address is no service's,
    nor is the last one of IPv4."""
    count = min(network.num_addresses, _MOST)
    usable = range(1, count - 1 if network.version == 4 else count)
    reserved = min(max(16, len(usable) // 16), 256)
    upper = usable[reserved:]
    lower = usable[:reserved]
    if not upper:
        upper = usable
        lower = range(0)
    for band in (upper, lower):
        tried = len(band) if network.num_addresses <= _SMALL else min(_TRIED, len(band))
        for number in random.sample(band, tried):
            yield str(network[number])
