"""Names of hosts, shares of traffic, and the parts of routes that several objects have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tiphys.addons.routeserver.compiling import hosts
from tiphys.addons.routeserver.compiling.traffic import Weighted, shares
from tiphys.addons.routeserver.eskip import Call, Route


@pytest.mark.parametrize(
    ("asked", "is_taken"),
    [
        ("shop.org", True),
        ("shop.org.", True),
        ("shop.org:8080", True),
        ("shop.org.:80", True),
        ("other.org", True),
        ("shopxorg", False),
        ("a.shop.org", False),
        ("shop.org:", False),
        ("shop.org.uk", False),
    ],
)
def test_a_host_may_have_a_dot_and_a_port_behind_it(asked: str, is_taken: bool) -> None:
    expression = hosts.pattern("shop.org", "other.org")
    assert (re.search(expression, asked) is not None) is is_taken
    assert hosts.pattern() == ""


@pytest.mark.parametrize(
    ("name", "allowed", "expected"),
    [
        ("a.example", None, True),
        ("a.example", (), False),
        ("a.example", ("^a[.]",), True),
        ("b.example", ("^a[.]",), False),
        ("b.example", ("^a[.]", "^b[.]"), True),
    ],
)
def test_names_outside_are_allowed_by_expressions(
    name: str, allowed: tuple[str, ...] | None, expected: bool
) -> None:
    assert hosts.is_allowed(name, allowed) is expected
    assert hosts.is_allowed_address(f"https://{name}:8443", allowed) is expected


@pytest.mark.parametrize("address", ["http://[::1", "a.example", ""])
def test_an_address_without_a_name_is_allowed_to_nobody(address: str) -> None:
    assert not hosts.is_allowed_address(address, ("^a[.]",))


def test_a_route_for_a_host_inside_has_that_host_alone() -> None:
    route = Route("kube_a__x", (hosts.host("shop.org"), Call("Path", ("/a",))))
    made = hosts.inside_route(route, "x.a.local")
    assert made.id == "kubeew_a__x"
    assert made.predicates == (Call("Path", ("/a",)), hosts.host("x.a.local"))


# --- shares of traffic ---

PREDICATE, SEGMENT = "traffic-predicate", "traffic-segment-predicate"


def given(algorithm: str, *weights: float) -> dict[str, Any]:
    """What each backend has: a text of its predicates, or None where nothing comes."""
    found = shares([Weighted(str(n), weight) for n, weight in enumerate(weights)], algorithm)
    return {
        name: [(call.name, *call.args) for call in share.predicates] if share.allowed else None
        for name, share in found.items()
    }


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((), {}),
        ((5,), {"0": []}),
        ((0,), {"0": []}),
        ((1, 1), {"0": [("Traffic", 0.5)], "1": []}),
        ((0, 0), {"0": [("Traffic", 0.5)], "1": []}),
        ((3, 1), {"0": [("Traffic", 0.75)], "1": []}),
        ((1, 0), {"0": [], "1": None}),
        ((0, 1), {"0": None, "1": []}),
        # Of three, the first must be asked before the second: it has one predicate more.
        ((1, 1, 2), {"0": [("Traffic", 0.25), ("True",)], "1": [("Traffic", 1 / 3)], "2": []}),
        ((1, 1, 0), {"0": [("Traffic", 0.5), ("True",)], "1": [], "2": None}),
    ],
)
def test_each_share_is_of_what_those_before_it_have_left(
    weights: tuple[float, ...], expected: dict[str, Any]
) -> None:
    assert given(PREDICATE, *weights) == expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((5,), {"0": []}),
        ((1, 3), {"0": [("TrafficSegment", 0.0, 0.25)], "1": [("TrafficSegment", 0.25, 1.0)]}),
        ((0, 0), {"0": [("TrafficSegment", 0.0, 0.5)], "1": [("TrafficSegment", 0.5, 1.0)]}),
        ((0, 1), {"0": None, "1": []}),
        (
            (1, 0, 1),
            {
                "0": [("TrafficSegment", 0.0, 0.5)],
                "1": None,
                "2": [("TrafficSegment", 0.5, 1.0)],
            },
        ),
    ],
)
def test_each_segment_is_a_piece_of_one_line(
    weights: tuple[float, ...], expected: dict[str, Any]
) -> None:
    assert given(SEGMENT, *weights) == expected


def test_of_a_backend_that_is_there_twice_the_first_weight_counts() -> None:
    twice = [Weighted("a", 1), Weighted("a", 5), Weighted("b", 1)]
    [call] = shares(twice, SEGMENT)["a"].predicates
    assert call.args == (0.0, 0.5)
