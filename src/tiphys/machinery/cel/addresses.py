"""Addresses, networks and URLs."""

from __future__ import annotations

import ipaddress
import urllib.parse
from typing import Any

from tiphys.machinery.addresses import is_link_local_multicast
from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    CIDR,
    IP,
    URL,
    CelError,
)

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def parse_ip(text: str) -> IP:
    try:
        return IP(ipaddress.ip_address(text))
    except ValueError:
        raise CelError(f'IP Address "{text}" is not a valid IP address') from None


def parse_cidr(text: str) -> CIDR:
    try:
        if "/" not in text:
            raise ValueError
        return CIDR(ipaddress.ip_network(text, strict=False), text)
    except ValueError:
        raise CelError(
            f'network address parse error during conversion from string: "{text}"'
        ) from None


def parse_url(text: str) -> URL:
    try:
        parts = urllib.parse.urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError as error:
        raise CelError(f"URL parse error during conversion from string: {error}") from None
    if not parts.scheme and not text.startswith("/"):
        raise CelError(
            f'URL parse error during conversion from string: parse "{text}": invalid URI for '
            f"request"
        )
    return URL(parts.scheme, host, parts.path, parts.query)


def _hostname(url: URL) -> str:
    host = url.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(url: URL) -> str:
    return url.host.rpartition("]")[2].partition(":")[2]


def _query(url: URL) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(url.query, keep_blank_values=True)


def _contains_ip(network: CIDR, ip: Any) -> bool:
    address = parse_ip(ip).address if isinstance(ip, str) else ip.address
    return address.version == network.network.version and address in network.network


def _contains_cidr(network: CIDR, other: Any) -> bool:
    inner = parse_cidr(other).network if isinstance(other, str) else other.network
    return inner.version == network.network.version and bool(inner.subnet_of(network.network))  # type: ignore[arg-type]


def _is_global_unicast(ip: IP) -> bool:
    """As Go's netip: addresses for private use are, too."""
    address = ip.address
    return not (
        address.is_multicast
        or address.is_loopback
        or address.is_unspecified
        or address.is_link_local
        or address == _BROADCAST
    )


METHODS: dict[str, Function] = {
    "family": lambda v: v.address.version,
    "isUnspecified": lambda v: v.address.is_unspecified,
    "isLoopback": lambda v: v.address.is_loopback,
    "isLinkLocalMulticast": lambda v: is_link_local_multicast(v.address),
    "isLinkLocalUnicast": lambda v: v.address.is_link_local,
    "isGlobalUnicast": _is_global_unicast,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "prefixLength": lambda v: v.network.prefixlen,
    "masked": lambda v: CIDR(v.network, str(v.network)),
    "ip": lambda v: parse_ip(v.text.partition("/")[0]),
    "getScheme": lambda v: v.scheme,
    "getHost": lambda v: v.host,
    "getHostname": _hostname,
    "getPort": _port,
    "getEscapedPath": lambda v: urllib.parse.quote(v.path, safe="/%:@!$&'()*+,;=~-._"),
    "getQuery": _query,
}
