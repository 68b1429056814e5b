"""Which of the kernel's news make a look at the routes necessary."""

from __future__ import annotations

import struct

import pytest

from tiphys.network import rtnetlink
from tiphys.network.rtnetlink import Message, concerns, messages

OURS, UPLINK, POD = 84, 4, 77
NEW_LINK, DEL_LINK, NEW_ADDRESS, NEW_ROUTE, DEL_ROUTE = 16, 17, 20, 24, 25


def link(index: int) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, 0, 0)


def address(prefix: int, family: int = 2, scope: int = 0) -> bytes:
    return struct.pack("=BBBBI", family, prefix, 0, scope, POD)


def route(protocol: int) -> bytes:
    return struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, protocol, 0, 1, 0)


@pytest.mark.parametrize(
    ("kind", "body", "concerned"),
    [
        (NEW_LINK, link(UPLINK), True),
        (DEL_LINK, link(UPLINK), True),
        (NEW_LINK, link(POD), False),
        (NEW_ADDRESS, address(24), True),
        (NEW_ADDRESS, address(32), False),
        (NEW_ADDRESS, address(64, family=10), True),
        (NEW_ADDRESS, address(128, family=10), False),
        (NEW_ADDRESS, address(64, family=10, scope=253), False),
        (DEL_ROUTE, route(OURS), True),
        (DEL_ROUTE, route(2), False),
        (NEW_ROUTE, route(OURS), False),
        (DEL_ROUTE, b"", False),
    ],
)
def test_pods_that_come_and_go_are_no_news(kind: int, body: bytes, concerned: bool) -> None:
    assert concerns(Message(kind, body), {UPLINK}, OURS) is concerned


def test_a_datagram_is_read_message_by_message_as_far_as_it_goes() -> None:
    def framed(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    whole = framed(NEW_LINK, link(1)) + framed(DEL_ROUTE, route(OURS))
    assert [message.type for message in messages(whole)] == [NEW_LINK, DEL_ROUTE]
    assert list(messages(b"\0" * 64)) == []


class Socket:
    def __init__(self, *kind: int) -> None:
        self.kind = kind

    def setblocking(self, flag: bool) -> None:
        self.blocks = flag

    def bind(self, where: tuple[int, int]) -> None:
        self.where = where


def test_links_addresses_and_routes_of_both_versions_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RTMGRP_LINK, and those of addresses and routes of IPv4 and IPv6 (linux/rtnetlink.h)."""
    with monkeypatch.context() as patched:
        patched.setattr(rtnetlink.socket, "socket", Socket)
        made = rtnetlink.listen()
    assert isinstance(made, Socket) and made.kind == (16, 3, 0) and made.blocks is False
    assert made.where == (0, 0x1 | 0x10 | 0x40 | 0x100 | 0x400)
