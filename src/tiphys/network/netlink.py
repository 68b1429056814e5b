"""Netlink messages to the kernel's netfilter, as bytes: attributes, and transactions of nf_tables.

A transaction of a few changes costs nft 50 ms where there are thousands of services, for it reads
the ruleset first; the same bytes sent directly cost 0.3 ms (docs/decisions/0016).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable

_NETLINK_NETFILTER = 12
_NETLINK_EXT_ACK = 11  # socket option: the kernel says what it did not like
_SOL_NETLINK = 270
_SO_SNDBUFFORCE = 32
_NFTABLES = 10  # the subsystem
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_REQUEST = 0x1
_ACK = 0x4
_NESTED = 0x8000
_ERROR = 2  # the type of an acknowledgement, whose code is 0 for "done"
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_FAMILY = struct.Struct(">BBH")  # family, version, resource id
_LAST = 0xFFFF  # the sequence number of the message that asks for an acknowledgement
_SPARE = 1 << 20  # bytes of a socket's buffer beside the transaction itself
_PATIENCE = 60  # seconds for an answer; a transaction of ten thousand services takes one


class NetlinkError(OSError):
    """The kernel refused a transaction; nothing of it is in force."""


# --- attributes ---


def attribute(kind: int, payload: bytes) -> bytes:
    length = len(payload) + 4
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """A number of 32 bits, as nf_tables has them: the most significant byte first."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def long_number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">Q", value))


# --- messages ---


def message(kind: int, flags: int, family: int, body: bytes, resource: int = 0) -> bytes:
    content = _FAMILY.pack(family, 0, resource) + body
    header = _HEADER.pack(_HEADER.size + len(content), kind, flags | _REQUEST, 0, 0)
    return header + content


def nf_tables(kind: int, flags: int, family: int, body: bytes) -> bytes:
    """A message of a transaction; `kind` is one of NFT_MSG_*."""
    return message(_NFTABLES << 8 | kind, flags, family, body)


# --- transactions ---


def transact(messages: Iterable[bytes]) -> None:
    """Does all that the messages say, or nothing. Blocks, for about 10 µs a message. The network is
    that of the calling thread. Raises NetlinkError."""
    changes = list(messages)
    if not changes:
        return
    changes[-1] = _acknowledged(changes[-1])
    begin = message(_BATCH_BEGIN, 0, socket.AF_UNSPEC, b"", _NFTABLES)
    end = message(_BATCH_END, 0, socket.AF_UNSPEC, b"", _NFTABLES)
    batch = b"".join((begin, *changes, end))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(batch) + _SPARE)
        kernel.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        kernel.settimeout(_PATIENCE)
        kernel.bind((0, 0))
        kernel.send(batch)
        _await_acknowledgement(kernel)


def _acknowledged(encoded: bytes) -> bytes:
    """The message, asking for an answer."""
    length, kind, flags, _, port = _HEADER.unpack_from(encoded)
    return _HEADER.pack(length, kind, flags | _ACK, _LAST, port) + encoded[_HEADER.size :]


def _await_acknowledgement(kernel: socket.socket) -> None:
    """The first error ends it. Without one, the last message is acknowledged."""
    while True:
        try:
            answer = kernel.recv(1 << 16)
        except TimeoutError:
            raise NetlinkError("the kernel does not answer") from None
        _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
        if kind != _ERROR:
            continue
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if code:
            raise NetlinkError(-code, os.strerror(-code))
        if sequence == _LAST:
            return
