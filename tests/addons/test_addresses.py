"""Which address of a pool each object has."""

from __future__ import annotations

import pytest

from tiphys.addons.addresses import Pool
from tiphys.addons.installing import AddonError


@pytest.mark.parametrize("text", ["", "here", "10.0.0.0/33", "10.0.0.1-9", "10.0.0.1/24/8"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(AddonError, match="is neither an address nor a range of them"):
        Pool(text)


@pytest.mark.parametrize(
    ("text", "first", "is_shared"),
    [
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.0/32", "10.0.0.0", True),
        ("10.0.0.0/24", "10.0.0.1", False),  # the network's own address is nobody's
        ("10.0.0.9/24", "10.0.0.9", False),
        ("10.0.0.4/30", "10.0.0.5", False),
        ("fd00::/64", "fd00::1", False),
    ],
)
def test_a_pool_begins_after_the_networks_own_address(
    text: str, first: str, is_shared: bool
) -> None:
    pool = Pool(text)
    assert (pool.first, pool.is_shared) == (first, is_shared)


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("10.0.0.255", True),
        ("10.0.0.0", True),
        ("10.0.1.0", False),
        ("fd00::1", False),
        ("no", False),
    ],
)
def test_what_is_in_the_range(address: str, is_in: bool) -> None:
    assert Pool("10.0.0.0/24").has(address) == is_in


Wanted = list[tuple[str, list[str], list[str]]]
RANGE = "10.0.0.0/29"  # .1 is the first, .2 to .7 are given

ASSIGNED: dict[str, tuple[str, Wanted, dict[str, list[str]]]] = {
    "one after the other, never the first": (
        RANGE,
        [("a", [], []), ("b", [], [])],
        {"a": ["10.0.0.2"], "b": ["10.0.0.3"]},
    ),
    "who had one keeps it, and the next one goes around it": (
        RANGE,
        [("a", [], []), ("b", [], ["10.0.0.2"])],
        {"a": ["10.0.0.3"], "b": ["10.0.0.2"]},
    ),
    "of several that it had the first alone": (
        RANGE,
        [("a", [], ["10.0.0.4", "10.0.0.5"])],
        {"a": ["10.0.0.4"]},
    ),
    "what it had is another's by now": (
        RANGE,
        [("a", [], ["10.0.0.4"]), ("b", [], ["10.0.0.4"])],
        {"a": ["10.0.0.4"], "b": ["10.0.0.2"]},
    ),
    "what it had is of an earlier range": (
        RANGE,
        [("a", [], ["192.0.2.4"])],
        {"a": ["10.0.0.2"]},
    ),
    "who asks is served before who had": (
        RANGE,
        [("a", [], ["10.0.0.4"]), ("b", ["10.0.0.4"], [])],
        {"a": ["10.0.0.2"], "b": ["10.0.0.4"]},
    ),
    "who asks for what it cannot have gets no other": (
        RANGE,
        [("a", ["10.0.1.1"], ["10.0.0.4"]), ("b", ["10.0.0.1"], [])],
        {"a": [], "b": []},
    ),
    "of two who ask the first has it": (
        RANGE,
        [("a", ["10.0.0.4"], []), ("b", ["10.0.0.4", "10.0.0.5"], [])],
        {"a": ["10.0.0.4"], "b": ["10.0.0.5"]},
    ),
    "the range is full": (
        "10.0.0.0/30",
        [("a", [], []), ("b", [], []), ("c", [], [])],
        {"a": ["10.0.0.2"], "b": ["10.0.0.3"], "c": []},
    ),
    "what lies before the first is given to nobody by itself": (
        "10.0.0.6/29",
        [("a", [], []), ("b", [], [])],
        {"a": ["10.0.0.7"], "b": []},
    ),
    "one address is everybody's": (
        "10.0.0.7",
        [("a", [], []), ("b", ["10.0.0.7"], []), ("c", ["10.0.0.8"], []), ("d", [], ["10.0.0.8"])],
        {"a": ["10.0.0.7"], "b": ["10.0.0.7"], "c": [], "d": ["10.0.0.7"]},
    ),
}


@pytest.mark.parametrize("case", ASSIGNED)
def test_addresses_are_given(case: str) -> None:
    addresses, wanted, given = ASSIGNED[case]
    assert Pool(addresses).assign(wanted) == given
