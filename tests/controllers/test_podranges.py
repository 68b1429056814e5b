"""Ranges of pods: one for each node, none twice, whatever comes and goes."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.controllers.podranges import NoneLeftError, PodRanges, RangeError


def pool(network: str, mask: int = 0) -> PodRanges:
    return PodRanges(ip_network(network), mask)


@pytest.mark.parametrize(
    ("network", "first", "second", "size"),
    [
        ("10.244.128.0/17", "10.244.128.0/24", "10.244.129.0/24", 128),
        ("10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", 65536),
        ("fd00:84::/48", "fd00:84::/64", "fd00:84:0:1::/64", 65536),
    ],
)
def test_nodes_get_one_part_after_the_other(
    network: str, first: str, second: str, size: int
) -> None:
    ranges = pool(network)
    assert [str(ranges.allocate(node)) for node in ("a", "b", "a")] == [first, second, first]
    assert ranges.size == size


def test_a_range_that_was_given_back_is_given_again_last() -> None:
    ranges = pool("10.0.0.0/22")
    ranges.allocate("a")
    ranges.release("a")
    given_then = [str(ranges.allocate(node)) for node in "bcda"]
    assert given_then == ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24", "10.0.0.0/24"]
    with pytest.raises(NoneLeftError, match=r"10\.0\.0\.0/22 has no part left for node e"):
        ranges.allocate("e")


def test_what_nodes_have_already_is_not_given() -> None:
    ranges = pool("10.0.0.0/22")
    assert not ranges.occupy(ip_network("10.0.0.0/24"), "a")
    assert not ranges.occupy(ip_network("10.0.1.128/25"), "b")
    assert str(ranges.allocate("c")) == "10.0.2.0/24"
    assert ranges.occupy(ip_network("10.0.2.0/24"), "thief") == "c"
    assert str(ranges.allocate("c")) == "10.0.2.0/24"


def test_addresses_of_services_are_never_given() -> None:
    ranges = pool("10.0.0.0/22")
    ranges.occupy(ip_network("10.0.0.0/23"), "")
    assert [str(ranges.allocate(node)) for node in "ab"] == ["10.0.2.0/24", "10.0.3.0/24"]


@pytest.mark.parametrize("claimed", ["10.0.0.0/22", "10.0.0.0/16", "10.1.0.0/24", "fd00::/64"])
def test_a_node_cannot_take_what_is_not_one_nodes(claimed: str) -> None:
    ranges = pool("10.0.0.0/22")
    with pytest.raises(RangeError):
        ranges.occupy(ip_network(claimed), "greedy")
    assert str(ranges.allocate("a")) == "10.0.0.0/24"


@pytest.mark.parametrize(
    ("network", "mask"), [("10.0.0.0/25", 0), ("fd00::/32", 0), ("10.0.0.0/24", 16)]
)
def test_a_network_that_cannot_be_parted_is_refused(network: str, mask: int) -> None:
    with pytest.raises(RangeError):
        pool(network, mask)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60))
def test_no_two_nodes_have_one_range_at_a_time(steps: list[tuple[bool, int]]) -> None:
    ranges, held = pool("10.0.0.0/21"), dict[int, str]()
    for joins, node in steps:
        if not joins:
            ranges.release(str(node))
            held.pop(node, None)
        elif node in held or len(held) < 8:
            held[node] = str(ranges.allocate(str(node)))
        else:
            with pytest.raises(NoneLeftError):
                ranges.allocate(str(node))
        assert len(set(held.values())) == len(held)
