"""Which route takes a request."""

from __future__ import annotations

import pytest

from tiphys.addons.routeserver.comparing import differences
from tiphys.addons.routeserver.eskip import read_routes
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
