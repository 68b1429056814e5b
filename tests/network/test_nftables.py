"""Expressions of rules, and messages of nf_tables, as the kernel reads them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.network.attributes import attributes, expressions, parsed
from tiphys.network import nftables as nf

ACCEPT, DROP, JUMP, GOTO = 1, 0, 0xFFFFFFFD, 0xFFFFFFFC
ONES = 0xFFFFFFFF


def little(value: int) -> int:
    """A number of the machine's own order, as it is read here."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


@pytest.mark.parametrize(
    ("made", "read"),
    [
        (lambda: nf.constant(b"abcd", 2), [("immediate", {1: 10, 2: {1: 0x61626364}})]),
        (lambda: nf.verdict(nf.ACCEPT), [("immediate", {1: 0, 2: {2: {1: ACCEPT}}})]),
        (lambda: nf.verdict(nf.DROP), [("immediate", {1: 0, 2: {2: {1: DROP}}})]),
        (lambda: nf.goto("there"), [("immediate", {1: 0, 2: {2: {1: GOTO, 2: "there"}}})]),
        (lambda: nf.jump("there"), [("immediate", {1: 0, 2: {2: {1: JUMP, 2: "there"}}})]),
        (lambda: nf.header(12, 16, 1), [("payload", {1: 9, 2: 1, 3: 12, 4: 16})]),
        (lambda: nf.equals(1, b"abcd"), [("cmp", {1: 9, 2: 0, 3: {1: 0x61626364}})]),
        (lambda: nf.equals(1, b"abcd", 5), [("cmp", {1: 9, 2: 5, 3: {1: 0x61626364}})]),
        (
            lambda: nf.masked(2, b"\xff\xff\xff\xff"),
            [("bitwise", {1: 10, 2: 10, 3: 4, 4: {1: ONES}, 5: {1: 0}})],
        ),
        (
            lambda: nf.from_local_address(1),
            [("fib", {1: 9, 2: 3, 3: 1}), ("cmp", {1: 9, 2: 0, 3: {1: little(2)}})],
        ),
        (
            lambda: nf.add_mark(0x4000, 1),
            [
                ("meta", {1: 9, 2: 3}),
                ("bitwise", {1: 9, 2: 9, 3: 4, 4: {1: little(~0x4000 & ONES)}, 5: {1: little(0x4000)}}),
                ("meta", {2: 3, 3: 9}),
            ],
        ),
        (lambda: nf.carried(3), [("meta", {1: 11, 2: 2})]),
        (lambda: nf.carry(3), [("meta", {2: 2, 3: 11})]),
        (lambda: nf.in_turn(5, 7, 1), [("numgen", {1: 9, 2: 5, 3: 0, 4: 7})]),
        (lambda: nf.member("pods", 1), [("lookup", {1: "pods", 2: 9})]),
        (lambda: nf.look_up("map", 1, 2), [("lookup", {1: "map", 2: 9, 3: 10})]),
        (
            lambda: nf.remember("map", 1, 2, 1000),
            [("dynset", {1: "map", 3: 1, 4: 9, 5: 10, 6: 1000})],
        ),
        (lambda: nf.forget("map", 1, 2), [("dynset", {1: "map", 3: 2, 4: 9, 5: 10})]),
        (
            lambda: nf.translate(socket.AF_INET, 1, 2),
            [("nat", {1: 1, 2: 2, 3: 9, 5: 10})],
        ),
    ],
)  # fmt: skip
def test_an_expression(made: Any, read: list[tuple[str, dict[int, Any]]]) -> None:
    assert expressions(made()) == read


@pytest.mark.parametrize(
    ("made", "read"),
    [
        (lambda: nf.new_chain(2, "t", "c"), (3, 0x401, 2, {1: "t", 3: "c"})),
        (lambda: nf.touch_chain(10, "t", "c"), (3, 1, 10, {1: "t", 3: "c"})),
        (lambda: nf.delete_chain(2, "t", "c"), (5, 1, 2, {1: "t", 3: "c"})),
        (lambda: nf.flush_chain(2, "t", "c"), (8, 1, 2, {1: "t", 2: "c"})),
        (
            lambda: nf.add_rule(2, "t", "c", nf.carry(0)),
            (6, 0xC01, 2, {1: "t", 2: "c", 4: {1: {1: "meta", 2: {2: 2, 3: 8}}}}),
        ),
    ],
)
def test_a_message(made: Any, read: Any) -> None:
    assert parsed(made()) == read


def test_an_element_has_a_key_and_a_value_or_a_way() -> None:
    assert attributes(nf.element(b"abcd")) == [(1, [(1, [(1, 0x61626364)])])]
    assert attributes(nf.element(b"abcd", b"efgh")) == [
        (1, [(1, [(1, 0x61626364)]), (2, [(1, 0x65666768)])])
    ]
    assert attributes(nf.leading(b"abcd", "there")) == [
        (1, [(1, [(1, 0x61626364)]), (2, [(2, [(1, GOTO), (2, "there")])])])
    ]


@pytest.mark.parametrize(
    ("count", "messages"), [(0, []), (1, [1]), (500, [500]), (501, [500, 1]), (1000, [500, 500])]
)
def test_elements_come_and_go_five_hundred_at_a_time(count: int, messages: list[int]) -> None:
    elements = [nf.element(number.to_bytes(4, "big")) for number in range(count)]
    come = list(nf.add_elements(2, "t", "m", elements))
    gone = list(nf.delete_elements(2, "t", "m", elements))
    for made, kind, flags in ((come, 12, 0x401), (gone, 14, 1)):
        assert [parsed(one)[:3] for one in made] == [(kind, flags, 2)] * len(messages)
        bodies = [attributes(one[20:]) for one in made]
        assert [(body[0], body[1]) for body in bodies] == [((1, "t"), (2, "m"))] * len(messages)
        assert [len(body[2][1]) for body in bodies] == messages
