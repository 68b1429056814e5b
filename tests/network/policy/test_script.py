"""The text of matches and transactions."""

from __future__ import annotations

import pytest

from tiphys.network.policy import script as module
from tiphys.network.policy.model import BlockPeer, PortMatch
from tiphys.network.policy.script import Changes, base, blocks, numbered, port_ranges, script

BLOCKS = [
    ([BlockPeer("0.0.0.0/0")], [""]),
    ([BlockPeer("0.0.0.0/1"), BlockPeer("128.0.0.0/1")], [""]),
    ([BlockPeer("10.0.0.1/32")], ["ip saddr { 10.0.0.1 }"]),
    ([BlockPeer("10.0.0.1")], ["ip saddr { 10.0.0.1 }"]),
    ([BlockPeer("10.0.0.7/30")], ["ip saddr { 10.0.0.4-10.0.0.7 }"]),
    (
        [BlockPeer("10.0.0.0/31"), BlockPeer("10.0.0.2/31"), BlockPeer("10.0.0.5/32")],
        ["ip saddr { 10.0.0.0-10.0.0.3, 10.0.0.5 }"],
    ),
    ([BlockPeer("10.0.0.0/8"), BlockPeer("10.1.0.0/16")], ["ip saddr { 10.0.0.0-10.255.255.255 }"]),
    (
        [BlockPeer("0.0.0.0/0", ("10.0.0.0/8", "10.1.0.0/16"))],
        ["ip saddr != { 10.0.0.0-10.255.255.255 }"],
    ),
    (
        [BlockPeer("10.0.0.0/30", ("10.0.0.1/32",))],
        ["ip saddr { 10.0.0.0-10.0.0.3 } ip saddr != { 10.0.0.1 }"],
    ),
    ([BlockPeer("10.0.0.0/31", ("fd00::/8",))], ["ip saddr { 10.0.0.0-10.0.0.1 }"]),
    ([BlockPeer("fd00::/8")], []),
    ([], []),
]


@pytest.mark.parametrize(("peers", "matches"), BLOCKS)
def test_networks_are_matched_without_overlaps(peers: list[BlockPeer], matches: list[str]) -> None:
    assert blocks(peers, "saddr") == matches


RANGES = [
    ([PortMatch("TCP", 80, 90), PortMatch("TCP", 85, 85), PortMatch("TCP", 91, 91)], [(80, 91)]),
    ([PortMatch("TCP", 80, 80), PortMatch("TCP", 82, 82)], [(80, 80), (82, 82)]),
    ([PortMatch("TCP", 80, 90), PortMatch("TCP", 81, 82)], [(80, 90)]),
]


@pytest.mark.parametrize(("ports", "ranges"), RANGES)
def test_ports_are_matched_without_overlaps(
    ports: list[PortMatch], ranges: list[tuple[int, int]]
) -> None:
    assert port_ranges(ports) == {"TCP": ranges}


def test_ports_of_each_protocol_are_apart_and_named_ones_are_none() -> None:
    ports = [PortMatch("UDP", 53, 53), PortMatch("TCP", 80, 80), PortMatch("TCP", name="http")]
    assert port_ranges(ports) == {"TCP": [(80, 80)], "UDP": [(53, 53)]}


NUMBERED = [
    ([(0, 65535)], "meta l4proto udp"),
    ([(1, 65535)], "meta l4proto udp th dport { 1-65535 }"),
    ([(80, 80), (90, 91)], "meta l4proto udp th dport { 80, 90-91 }"),
]


@pytest.mark.parametrize(("ranges", "match"), NUMBERED)
def test_a_match_of_ports_says_no_more_than_it_has_to(
    ranges: list[tuple[int, int]], match: str
) -> None:
    assert numbered("UDP", ranges) == match


def test_what_is_named_comes_before_who_names_it_and_goes_after() -> None:
    changes = Changes(
        new_sets={"p-1": "address"},
        old_sets=["p-0"],
        chains={"i-1": ("a", "b")},
        old_chains=["i-0"],
        added={"p-1": ["10.0.0.1"]},
        removed={"p-0": ["10.0.0.9"], "ingress": ["10.0.0.9 : goto i-0"]},
    )
    assert script("t", changes).splitlines() == [
        "add set ip t p-1 { type ipv4_addr; }",
        "add chain ip t i-1",
        "delete element ip t ingress { 10.0.0.9 : goto i-0 }",
        "flush chain ip t i-1",
        "add rule ip t i-1 a",
        "add rule ip t i-1 b",
        "add element ip t p-1 { 10.0.0.1 }",
        "flush chain ip t i-0",
        "delete chain ip t i-0",
        "delete set ip t p-0",
    ]


def test_many_elements_are_several_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ELEMENTS_PER_COMMAND", 2)
    changes = Changes(added={"p": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]})
    assert script("t", changes).splitlines() == [
        "add element ip t p { 10.0.0.1, 10.0.0.2 }",
        "add element ip t p { 10.0.0.3 }",
    ]


def test_no_changes_are_no_transaction() -> None:
    assert not Changes() and script("t", Changes()) == ""
    assert base("t").startswith("\nadd table ip t\ndelete table ip t\n"), "in place of another"
