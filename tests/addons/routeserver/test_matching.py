"""Which route takes a request."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.routeserver.comparing import differences
from tiphys.addons.routeserver.eskip import Route, read_predicates, read_routes
from tiphys.addons.routeserver.matching import Matcher, Request

TABLE = r"""
    all: * -> <shunt>;
    shop: Host(/^shop[.]org$/) -> <shunt>;
    tree: Host(/^shop[.]org$/) && PathSubtree("/a") -> <shunt>;
    deep: Host(/^shop[.]org$/) && PathSubtree("/a/b") -> <shunt>;
    exact: Path("/a/b") && Host(/^shop[.]org$/) -> <shunt>;
    put: Path("/a/b") && Method("PUT") && Host(/^shop[.]org$/) -> <shunt>;
    http: Weight(1000) && Header("X-Forwarded-Proto", "http") && Path("/a/b") -> <shunt>;
    pattern: PathRegexp(/^\/x[0-9]/) && Host(/^shop[.]org$/) -> <shunt>;
    half: Path("/half") && TrafficSegment(0, 0.5) -> <shunt>;
    rest: Path("/half") && TrafficSegment(0.5, 1) -> <shunt>;
    never: Path("/never") && False() -> <shunt>;
    often: Path("/often") && Traffic(0.25) -> <shunt>;
"""


@pytest.mark.parametrize(
    ("method", "where", "number", "expected"),
    [
        ("GET", "other.org/", 0.0, "all"),
        ("GET", "shop.org/", 0.0, "shop"),
        ("GET", "shop.org/ab", 0.0, "shop"),
        ("GET", "shop.org/a", 0.0, "tree"),
        ("GET", "shop.org/a/", 0.0, "tree"),
        ("GET", "shop.org/a/b/c", 0.0, "deep"),
        ("GET", "shop.org/a/b", 0.0, "exact"),
        ("PUT", "shop.org/a/b", 0.0, "put"),
        ("GET", "shop.org/x1", 0.0, "pattern"),
        ("GET", "any/half", 0.49, "half"),
        ("GET", "any/half", 0.5, "rest"),
        ("GET", "any/never", 0.0, "all"),
        ("GET", "any/often", 0.0, "often"),
    ],
)
def test_the_most_exact_route_takes_it(
    method: str, where: str, number: float, expected: str
) -> None:
    host, slash, path = where.partition("/")
    found = Matcher(read_routes(TABLE)).find(
        Request(method, host, slash + path, {}, number, lambda: 0.2)
    )
    assert found is not None and found.id == expected


ASKED: list[tuple[str, dict[str, Any], bool]] = [
    ('Path("/a")', {"path": "/a"}, True),
    ('Path("/a")', {"path": "/a/"}, False),
    ('PathSubtree("/a/")', {"path": "/a"}, True),
    ('PathSubtree("/a")', {"path": "/ab"}, False),
    ('PathSubtree("/")', {"path": "/any"}, True),
    ("PathRegexp(/b/)", {"path": "/abc"}, True),
    ("PathRegexp(/^b/)", {"path": "/abc"}, False),
    ('Methods("put", "GET")', {"method": "PUT"}, True),
    ('Methods("put", "GET")', {"method": "POST"}, False),
    ('Header("X-A", "b")', {"headers": {"X-A": "b"}}, True),
    ('Header("X-A", "b")', {"headers": {"X-A": "bc"}}, False),
    ('Header("X-A", "b")', {}, False),
    ('HeaderRegexp("X-A", /b/)', {"headers": {"X-A": "abc"}}, True),
    ('HeaderRegexp("X-A", /b/)', {}, False),
    ('HeaderRegexp("X-A", /^$/)', {}, True),
    ("TrafficSegment(0.2, 0.5)", {"number": 0.2}, True),
    ("TrafficSegment(0.2, 0.5)", {"number": 0.5}, False),
    ("TrafficSegment(0.2, 0.5)", {"number": 0.1}, False),
    ("Traffic(0.5)", {"draw": lambda: 0.4}, True),
    ("Traffic(0.5)", {"draw": lambda: 0.5}, False),
    ("Traffic(0)", {"draw": lambda: 0.0}, False),
    ("True()", {}, True),
    ("False()", {}, False),
    ("Weight(5)", {}, True),
]


@pytest.mark.parametrize(("predicate", "request_", "is_taken"), ASKED)
def test_a_predicate_takes_a_request(
    predicate: str, request_: dict[str, Any], is_taken: bool
) -> None:
    asked = {"method": "GET", "host": "a", "path": "/", "headers": {}, **request_}
    matcher = Matcher(read_routes(f"a: {predicate} -> <shunt>"))
    assert matcher.unknown == []
    assert (matcher.find(Request(**asked)) is not None) is is_taken


@pytest.mark.parametrize(
    "predicates",
    [
        ("Path('/a')", "PathSubtree('/')"),
        ("PathSubtree('/a')", "PathSubtree('/') && Host(/a/) && Method('GET')"),
        ("PathSubtree('/') && Host(/a/)", "PathSubtree('/')"),
        ("Host(/a/) && Method('GET')", "Host(/a/)"),
        ("Weight(2) && Host(/a/)", "Host(/a/) && Method('GET')"),
        ("Host(/a/) && Method('GET')", "Weight(1)"),
        ("Weight(1) && True()", "Host(/a/)"),
        ("PathSubtree('/')", "Host(/a/) && Weight(1000)"),
        ("Path('/a')", "Host(/a/) && Weight(1000)"),
    ],
)
def test_the_first_of_two_is_asked_first(predicates: tuple[str, str]) -> None:
    """Skipper: the path tree, then the number of other predicates with their weights."""
    first, second = (text.replace("'", '"') for text in predicates)
    request = Request("GET", "a", "/a", {})
    table = read_routes(f"x: {first} -> <shunt>; y: {second} -> <shunt>")
    for routes in (table, reversed(table)):
        found = Matcher(routes).find(request)
        assert found is not None and found.id == "x"


@pytest.mark.parametrize(
    "predicate",
    [
        "Header(1, 2)",
        "Traffic()",
        'Traffic("a")',
        "TrafficSegment(1)",
        "Weight()",
        'Weight("a")',
        "HostAny()",
    ],
)
def test_a_predicate_with_other_arguments_is_not_known(predicate: str) -> None:
    route = Route("a", read_predicates(predicate))
    assert Matcher([route]).unknown == ["a"]


def test_weight_goes_first() -> None:
    request = Request("GET", "shop.org", "/a/b", {"X-Forwarded-Proto": "http"})
    found = Matcher(read_routes(TABLE)).find(request)
    assert found is not None and found.id == "http"


def test_a_route_with_a_predicate_that_is_not_known_takes_nothing() -> None:
    matcher = Matcher(read_routes('a: Cookie("a", "b") -> <shunt>; b: Host(/(/) -> <shunt>;'))
    assert matcher.unknown == ["a", "b"]
    assert matcher.find(Request("GET", "a", "/", {})) is None


def test_tables_differ_by_what_routes_mean() -> None:
    one = read_routes('a: Path("/") && Host(/a/) -> <shunt>; b: * -> "http://b"; c: * -> <shunt>')
    two = read_routes('a: Host(/a/) && Path("/") -> <shunt>; b: * -> "http://x"; d: * -> <shunt>')
    assert [str(each) for each in differences(one, two)] == [
        '- b: * -> "http://b"\n+ b: * -> "http://x"',
        "- c: * -> <shunt>",
        "+ d: * -> <shunt>",
    ]
