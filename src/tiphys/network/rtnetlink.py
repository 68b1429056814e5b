"""The kernel's messages about changes of the machine's network: see rtnetlink(7).

Pods come and go with links, addresses and routes of their own; only what routes between machines
rest on is of interest here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Container, Iterator
from typing import NamedTuple

# Groups of messages: links, IPv4 addresses and routes, IPv6 addresses and routes.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_LINKS = (16, 17)  # RTM_NEWLINK, RTM_DELLINK
_ADDRESSES = (20, 21)  # RTM_NEWADDR, RTM_DELADDR
_ROUTE_GONE = 25  # RTM_DELROUTE
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHi")  # family, type, index
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBB")  # family, destination, source, tos, table, protocol
# Prefix length of an address without neighbours, as links of pods have.
_SINGLE = {socket.AF_INET: 32, socket.AF_INET6: 128}
_OF_LINK = 253  # RT_SCOPE_LINK: what every IPv6 link has for itself


class Message(NamedTuple):
    type: int
    body: bytes


def listen() -> socket.socket:
    """A socket that receives changes; it does not block."""
    changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    changes.setblocking(False)
    changes.bind((0, _GROUPS))
    return changes


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a datagram."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield Message(kind, data[position + _HEADER.size : position + length])
        position += (length + 3) & ~3


def concerns(message: Message, links: Container[int], protocol: int) -> bool:
    """Whether a change is of one of these links, of an address with neighbours, or the end of a
    route of this protocol. (The kernel sends none for routes whose link goes down.)"""
    kind, body = message
    if kind in _LINKS and len(body) >= _LINK.size:
        return _LINK.unpack_from(body)[2] in links
    if kind in _ADDRESSES and len(body) >= _ADDRESS.size:
        family, prefix, _, scope, _ = _ADDRESS.unpack_from(body)
        return scope != _OF_LINK and bool(prefix < _SINGLE.get(family, 0))
    if kind == _ROUTE_GONE and len(body) >= _ROUTE.size:
        return bool(_ROUTE.unpack_from(body)[5] == protocol)
    return False
