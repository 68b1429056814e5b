"""What an address may be used for: loopback and link-local ones are not valid endpoints."""

from __future__ import annotations

import ipaddress

from tiphys.machinery.remembered import remembered

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 64  # characters of an address that is one, and its zone's
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


@remembered(4096, _LONGEST)
def parsed(text: str) -> Address | None:
    """The address, an IPv4 one when it is written as IPv6; None when it is none, or has a zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def is_global_unicast(text: str) -> bool:
    """Whether another machine may be reached there: what upstream's proxies connect to (Go's
    `IsGlobalUnicast`)."""
    address = parsed(text)
    if address is None or address == _BROADCAST:
        return False
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
    )


def endpoint_problems(text: str) -> list[str]:
    """Why an address is none of an endpoint, in upstream's words (`ValidateEndpointIP`)."""
    address = parsed(text)
    if address is None:
        return ["must be a valid IP address"]
    problems = []
    if address.is_unspecified:
        problems.append(f"may not be unspecified ({text})")
    if address.is_loopback:
        problems.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        problems.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if is_link_local_multicast(address):
        problems.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return problems


def is_link_local_multicast(address: Address) -> bool:
    """As in Go's netip; Python knows no such range."""
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02


def authority(host: str, port: int) -> str:
    """Host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain(text: str) -> str:
    """An address as it is written elsewhere: a socket of both versions of IP has those of IPv4 as
    ``::ffff:192.0.2.1``."""
    return text.removeprefix("::ffff:") if "." in text else text


def version_of(text: str) -> int:
    """4 or 6, of an address or a network."""
    return 6 if ":" in text else 4


def led_by(addresses: tuple[str, ...], first: str) -> tuple[str, ...]:
    """Those of the family of `first` before the others: runtimes have IPv4 first, and a pod's
    first address is of its node's first family (a kubelet's `sortPodIPs`)."""
    if len(addresses) < 2:
        return addresses
    return tuple(sorted(addresses, key=lambda address: version_of(address) != version_of(first)))
