"""The ranges that services' addresses come from: those of every ServiceCIDR that is in force."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator

from tiphys.api.base import decode
from tiphys.api.networking_v1 import ServiceCIDR
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import conditions

_TRIED = 64  # addresses of each range
_SMALL = 1024  # addresses of a range that is tried as a whole


def service_ranges(objects: Objects, own: ipaddress.IPv4Network) -> list[ipaddress.IPv4Network]:
    """The IPv4 ranges that addresses may be taken from, `own` (the server's) first. A
    ServiceCIDR that is being deleted, or is not ready, gives none."""
    ranges = [own]
    for entry in objects.entries(ServiceCIDR):
        cidr = decode(entry.data, ServiceCIDR)
        if _in_force(cidr):
            ranges += [ipaddress.IPv4Network(text) for text in cidr.spec.cidrs if ":" not in text]
    return list(dict.fromkeys(ranges))


def _in_force(cidr: ServiceCIDR) -> bool:
    is_unready = conditions.state_of(cidr.status.conditions, "Ready") == "False"
    return not cidr.metadata.deletion_timestamp and not is_unready


def candidates(network: ipaddress.IPv4Network) -> Iterator[str]:
    """Addresses to try, at random. Those at the start of a range are for who asks for one by
    name, and come last, as upstream's bands have it. The network's own address and its last are
    no service's."""
    usable = range(1, network.num_addresses - 1)
    reserved = min(max(16, len(usable) // 16), 256)
    upper = usable[reserved:]
    lower = usable[:reserved]
    if not upper:
        upper, lower = usable, range(0)
    for band in (upper, lower):
        count = len(band) if network.num_addresses <= _SMALL else min(_TRIED, len(band))
        for number in random.sample(band, count):
            yield str(network[number])
