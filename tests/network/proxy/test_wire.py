"""Changes of a table as messages: in an order in which the kernel knows each name, and what each
rule is."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import pytest

from tests.network.attributes import expressions, names_of, parsed
from tiphys.network.proxy import rules, wire
from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.rules import Element, Rule
from tiphys.network.proxy.table import Change, Changes
from tiphys.network.proxy.wire import IPV4, IPV6, Family, messages

V4, V6 = Endpoint("10.1.0.1", 8080), Endpoint("fd00::1", 8080)
NETWORK4, NETWORK6 = ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/64")


def rule(family: Family, one: Rule) -> list[list[tuple[str, dict[int, Any]]]]:
    """The kernel's rules that a rule of ours is, each as its expressions."""
    _, *made = messages(family, "t", Changes(chains=[Change("c", None, (one,))]))
    assert {parsed(message)[:3] for message in made} == {(6, 0xC01, family.number)}
    return [expressions(_body(message)) for message in made]


def _body(message: bytes) -> bytes:
    """What is inside of attribute 4."""
    data = message[20:]
    while data:
        length, kind = struct.unpack_from("=HH", data)
        if kind & 0x7FFF == 4:
            return data[4:length]
        data = data[length + -length % 4 :]
    raise AssertionError


def little(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")


MARK = [
    ("meta", {1: 8, 2: 3}),
    (
        "bitwise",
        {1: 8, 2: 8, 3: 4, 4: {1: little(0xFFFFBFFF)}, 5: {1: little(0x4000)}},
    ),
    ("meta", {2: 3, 3: 8}),
]
LOCAL = [("fib", {1: 8, 2: 3, 3: 1}), ("cmp", {1: 8, 2: 0, 3: {1: little(2)}})]
SOURCE4 = ("payload", {1: 8, 2: 1, 3: 12, 4: 4})
FROM4 = [
    SOURCE4,
    ("bitwise", {1: 8, 2: 8, 3: 4, 4: {1: 0xFFFF0000}, 5: {1: 0}}),
    ("cmp", {1: 8, 2: 0, 3: {1: 0x0A010000}}),
]
JUMP, GOTO = 0xFFFFFFFD, 0xFFFFFFFC


def leads(code: int, chain: str) -> tuple[str, dict[int, Any]]:
    return ("immediate", {1: 0, 2: {2: {1: code, 2: chain}}})


def constant(register: int, value: int) -> tuple[str, dict[int, Any]]:
    return ("immediate", {1: register, 2: {1: value}})


@pytest.mark.parametrize(
    ("one", "read"),
    [
        (rules.Masquerade(), [MARK]),
        (rules.MasqueradeNode(), [LOCAL + MARK]),
        (rules.MasqueradeFrom(NETWORK4), [FROM4 + MARK]),
        (rules.PodsGo("x"), [[SOURCE4, ("lookup", {1: "pods", 2: 8}), leads(GOTO, "x")]]),
        (rules.NodeGoes("x"), [[*LOCAL, leads(GOTO, "x")]]),
        (rules.Accept(NETWORK4), [[*FROM4, ("immediate", {1: 0, 2: {2: {1: 1}}})]]),
        (rules.Drop(), [[("immediate", {1: 0, 2: {2: {1: 0}}})]]),
        (
            rules.Direct(V4),
            [[constant(8, 0x0A010001), ("immediate", {1: 12, 2: {1: b"\x1f\x90"}}),
              ("nat", {1: 1, 2: 2, 3: 8, 5: 12})]],
        ),
        (
            rules.Choose(7, 3, "x"),
            [[("numgen", {1: 8, 2: 3, 3: 0, 4: 7}), ("meta", {2: 2, 3: 8}), leads(GOTO, "x")]],
        ),
        (
            rules.Recall(256, 60),
            [[constant(8, little(256)), ("meta", {2: 2, 3: 8}), leads(JUMP, rules.stuck(60))]],
        ),
        (
            rules.Lead(),
            [[("meta", {1: 8, 2: 2}), ("lookup", {1: "endpoints", 2: 8, 3: 9}), constant(8, 0),
              ("meta", {2: 2, 3: 8}), ("nat", {1: 1, 2: 2, 3: 9, 5: 10})]],
        ),
        (
            rules.Stuck(60),
            [[("meta", {1: 8, 2: 2}), ("payload", {1: 9, 2: 1, 3: 12, 4: 4}),
              ("lookup", {1: "affinity", 2: 8, 3: 13}),
              ("dynset", {1: "affinity", 3: 1, 4: 8, 5: 8, 6: 60_000}),
              ("meta", {2: 2, 3: 13}), leads(JUMP, rules.LEAD)]],
        ),
        (
            rules.Stick(60, 256),
            [
                [("meta", {1: 8, 2: 2}), ("lookup", {1: "members", 2: 8, 3: 9}),
                 ("meta", {2: 2, 3: 9})],
                [("meta", {1: 8, 2: 2}), ("meta", {1: 9, 2: 2}),
                 ("bitwise", {1: 9, 2: 9, 3: 4, 4: {1: little(0xFFFFFF00)}, 5: {1: 0}}),
                 ("payload", {1: 10, 2: 1, 3: 12, 4: 4}),
                 ("dynset", {1: "affinity", 3: 2, 4: 9, 5: 8}),
                 ("dynset", {1: "affinity", 3: 1, 4: 9, 5: 8, 6: 60_000})],
                [leads(GOTO, rules.LEAD)],
            ],
        ),
    ],
)  # fmt: skip
def test_a_rule_is_so_to_the_kernel(one: Rule, read: Any) -> None:
    assert rule(IPV4, one) == read


def test_addresses_of_ipv6_are_elsewhere_and_longer() -> None:
    [[source, mask, network, *_]] = rule(IPV6, rules.Accept(NETWORK6))
    assert source == ("payload", {1: 8, 2: 1, 3: 8, 4: 16})
    assert mask[1][3] == 16 and mask[1][4] == {1: b"\xff" * 8 + bytes(8)}
    assert network == ("cmp", {1: 8, 2: 0, 3: {1: bytes.fromhex("fd00") + bytes(14)}})
    [[address, port, nat]] = rule(IPV6, rules.Direct(V6))
    assert address[1][2] == {1: bytes.fromhex("fd00") + bytes(13) + b"\x01"}
    assert port[1][1] == 12 and nat == ("nat", {1: 1, 2: 10, 3: 8, 5: 12})
    [[*_, nat]] = rule(IPV6, rules.Lead())
    assert nat == ("nat", {1: 1, 2: 10, 3: 9, 5: 13})


def element(map: str, port: int = 80, protocol: str = "tcp", address: str = "10.0.0.1") -> Element:
    return Element(map, protocol, address, port)


@pytest.mark.parametrize(
    ("key", "bytes_"),
    [
        (element("services"), "06000000 0a000001 00500000"),
        (element(rules.DEAD, 53, "udp"), "11000000 0a000001 00350000"),
        (element("firewall", 258, "sctp", "fd00::1"), "84000000 fd00000000000000 0000000000000001 01020000"),
        (element(rules.NODE_PORTS, 30000), "06000000 75300000"),
        (element(rules.HOST_PORTS, 8080), "06000000 1f900000"),
        (element(rules.DEAD_PORTS, 30000, "udp"), "11000000 75300000"),
        (Element(rules.HAIRPINS, "", "10.0.0.1", 0), "0a000001 0a000001"),
    ],
)  # fmt: skip
def test_the_key_of_an_element(key: Element, bytes_: str) -> None:
    assert wire._key(key) == bytes.fromhex(bytes_)


def said(changes: Changes) -> list[str]:
    return [names_of(message) for message in messages(IPV4, "t", changes)]


def test_what_is_named_comes_before_what_names_it_and_goes_after_it() -> None:
    changes = Changes(
        chains=[
            Change("new", None, (rules.Drop(),)),
            Change("changed", (rules.Drop(),), (rules.Masquerade(), rules.Drop())),
            Change("gone", (rules.Drop(),), None),
        ],
        elements=[
            Change(element("services"), None, "new"),
            Change(element("services", 81), "gone", None),
            Change(element("dead"), "gone", "changed"),
        ],
        endpoints=[Change(1, None, V4), Change(2, V4, None), Change(3, V4, V4)],
        members=[Change(1, None, 1), Change(2, 2, None)],
    )
    assert said(changes) == [
        "chain+ new",
        "elements- endpoints", "elements+ endpoints",
        "elements- members", "elements+ members",
        "elements- services", "elements- dead",
        "rule+ new", "rules- changed", "rule+ changed", "rule+ changed", "rules- gone",
        "elements+ services", "elements+ dead",
        "chain- gone",
    ]  # fmt: skip


def test_nothing_is_said_where_nothing_changes() -> None:
    assert said(Changes()) == []


def test_an_endpoint_and_a_member_are_numbered() -> None:
    changes = Changes(endpoints=[Change(7, None, V4)], members=[Change(7, None, 9)])
    bodies = [parsed(message)[3] for message in messages(IPV4, "t", changes)]
    assert [body[3] for body in bodies] == [
        {1: {1: {1: little(7)}, 2: {1: int.from_bytes(bytes.fromhex("0a0100011f900000"), "big")}}},
        {1: {1: {1: little(7)}, 2: {1: little(9)}}},
    ]
