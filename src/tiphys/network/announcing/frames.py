"""Ethernet frames by which an address is claimed and asked for: ARP for IPv4 (RFC 826, 5227),
neighbour discovery for IPv6 (RFC 4861). Pure."""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

ARP = 0x0806
IPV6 = 0x86DD
BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)

_ETHERNET = struct.Struct("!6s6sH")  # to, from, kind
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_IPV6 = struct.Struct("!IHBB16s16s")  # version and more, length, next header, hops, from, to
_ICMPV6 = 58
_HOPS = 255  # nothing that came through a router
_SOLICITATION, _ADVERTISEMENT = 135, 136
_BODY = struct.Struct("!BBHI16s")  # type, code, checksum, flags, target
_SOURCE_LINK, _TARGET_LINK = 1, 2  # options
_OVERRIDE, _SOLICITED = 0x20000000, 0x40000000
_ALL_NODES = ipaddress.IPv6Address("ff02::1")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressMessage(NamedTuple):
    """What a frame says of an address. `mac` and `source` are of who sent it, an unspecified source
    is of a probe for the address; `claims`: the sender says that it has it."""

    address: Address
    mac: bytes
    source: Address
    claims: bool


# --- saying ---


def claim(address: Address, mac: bytes) -> bytes:
    """Announces to all that the address is at `mac`."""
    if isinstance(address, ipaddress.IPv4Address):
        # As a request, by which neighbours renew what they know (RFC 5227, 3).
        return _arp(_REQUEST, BROADCAST, mac, address, _NOBODY, address)
    return _advertisement(address, mac, _ALL_NODES, _multicast_mac(_ALL_NODES), _OVERRIDE)


def probe(address: Address, mac: bytes) -> bytes:
    """Probes for the address, without an address of its own."""
    if isinstance(address, ipaddress.IPv4Address):
        return _arp(_REQUEST, BROADCAST, mac, ipaddress.IPv4Address(0), _NOBODY, address)
    group = solicited_group(address)
    body = _BODY.pack(_SOLICITATION, 0, 0, 0, address.packed)
    return _packet(mac, _multicast_mac(group), ipaddress.IPv6Address(0), group, body)


def answer(message: AddressMessage, mac: bytes) -> bytes:
    """Replies to a request that the address is at `mac`."""
    if isinstance(message.address, ipaddress.IPv4Address):
        assert isinstance(message.source, ipaddress.IPv4Address)
        return _arp(_REPLY, message.mac, mac, message.address, message.mac, message.source)
    assert isinstance(message.source, ipaddress.IPv6Address)
    if message.source.is_unspecified:  # the sender has no address to reply to
        return claim(message.address, mac)
    flags = _OVERRIDE | _SOLICITED
    return _advertisement(message.address, mac, message.source, message.mac, flags)


def solicited_group(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """Where those are asked who may have the address."""
    return ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[13:])


def group_mac(address: ipaddress.IPv6Address) -> bytes:
    """To which frames for that group are sent."""
    return _multicast_mac(solicited_group(address))


def _multicast_mac(group: ipaddress.IPv6Address) -> bytes:
    return b"\x33\x33" + group.packed[12:]


def _arp(
    operation: int,
    to: bytes,
    mac: bytes,
    source: ipaddress.IPv4Address,
    target_mac: bytes,
    target: ipaddress.IPv4Address,
) -> bytes:
    body = _ARP.pack(1, 0x0800, 6, 4, operation, mac, source.packed, target_mac, target.packed)
    return _ETHERNET.pack(to, mac, ARP) + body


def _advertisement(
    address: ipaddress.IPv6Address,
    mac: bytes,
    to: ipaddress.IPv6Address,
    to_mac: bytes,
    flags: int,
) -> bytes:
    body = _BODY.pack(_ADVERTISEMENT, 0, 0, flags, address.packed)
    body += bytes((_TARGET_LINK, 1)) + mac
    return _packet(mac, to_mac, address, to, body)


def _packet(
    mac: bytes,
    to_mac: bytes,
    source: ipaddress.IPv6Address,
    to: ipaddress.IPv6Address,
    body: bytes,
) -> bytes:
    pseudo = source.packed + to.packed + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    head = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOPS, source.packed, to.packed)
    return _ETHERNET.pack(to_mac, mac, IPV6) + head + body


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- hearing ---


def read(frame: bytes) -> AddressMessage | None:
    """None for a frame that is about no address."""
    if len(frame) < _ETHERNET.size:
        return None
    _, _, kind = _ETHERNET.unpack_from(frame)
    if kind == ARP:
        return _read_arp(frame[_ETHERNET.size :])
    return _read_discovery(frame, frame[_ETHERNET.size :]) if kind == IPV6 else None


def _read_arp(body: bytes) -> AddressMessage | None:
    if len(body) < _ARP.size:
        return None
    hardware, protocol, _, length, operation, mac, source, _, target = _ARP.unpack_from(body)
    if (hardware, protocol, length) != (1, 0x0800, 4) or operation not in (_REQUEST, _REPLY):
        return None
    sender = ipaddress.IPv4Address(source)
    asked = ipaddress.IPv4Address(target)
    if operation == _REPLY or sender == asked:
        return AddressMessage(sender, mac, sender, claims=True)
    return AddressMessage(asked, mac, sender, claims=False)


def _read_discovery(frame: bytes, packet: bytes) -> AddressMessage | None:
    """The checksum is the kernel's business; a router's hop count is not let through."""
    if len(packet) < _IPV6.size + _BODY.size:
        return None
    _, _, next_header, hops, source, _ = _IPV6.unpack_from(packet)
    kind, _, _, _, target = _BODY.unpack_from(packet, _IPV6.size)
    if next_header != _ICMPV6 or hops != _HOPS or kind not in (_SOLICITATION, _ADVERTISEMENT):
        return None
    claims = kind == _ADVERTISEMENT
    mac = frame[6:12]
    return AddressMessage(ipaddress.IPv6Address(target), mac, ipaddress.IPv6Address(source), claims)
