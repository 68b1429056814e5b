"""Rules of routes as rules of the model, each part of them by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.builders import route, to
from tiphys.addons.gateway.backends import Unresolved
from tiphys.addons.gateway.model import (
    NO_CHANGE,
    HeaderChange,
    Match,
    NamedMatch,
    PathMatch,
    PathRewrite,
    Rule,
)
from tiphys.addons.gateway.routes import Compiled, Unsupported, compile_route
from tiphys.addons.gateway.types.grpc import GRPCRoute
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.streams import TCPRoute


class Resolver:
    """Knows every backend but those whose names say why not."""

    def target(self, one: Any, ref: Any, gateways: set[str]) -> Any:
        if ref.name.startswith("lost"):
            raise Unresolved("BackendNotFound", f"{ref.name} is not there")
        return f"to {ref.name}"


def compiled(*rules: dict[str, Any], kind: Any = HTTPRoute) -> Compiled:
    made = route(kind, "r", "gw", *rules)
    resolver: Any = Resolver()
    return compile_route(made, resolver, {"default/gw"})


def rule(**parts: Any) -> Rule:
    """The only rule of a route with these parts."""
    [made] = compiled({"backendRefs": to("shop"), **parts}).rules
    return made


def header(name: str, value: str = "v", kind: str = "Exact") -> dict[str, str]:
    return {"name": name, "value": value, "type": kind}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, Match()),
        ({"path": {"type": "PathPrefix", "value": "/a"}}, Match(PathMatch("Prefix", "/a"))),
        ({"path": {"type": "Exact", "value": "/a"}}, Match(PathMatch("Exact", "/a"))),
        (
            {"path": {"type": "RegularExpression", "value": "/a+"}},
            Match(PathMatch("RegularExpression", "/a+")),
        ),
        ({"method": "GET"}, Match(method="GET")),
        ({"headers": [header("X-A")]}, Match(headers=(NamedMatch("x-a", "Exact", "v"),))),
        (
            {
                "headers": [
                    header("X-A"),
                    header("x-a", "w"),
                    header("B", "b+", "RegularExpression"),
                ]
            },
            Match(
                headers=(
                    NamedMatch("x-a", "Exact", "v"),
                    NamedMatch("b", "RegularExpression", "b+"),
                )
            ),
        ),
        (
            {"queryParams": [header("Q"), header("Q", "w"), header("q")]},
            Match(query=(NamedMatch("Q", "Exact", "v"), NamedMatch("q", "Exact", "v"))),
        ),
    ],
)
def test_what_a_request_has_to_be_like(match: dict[str, Any], expected: Match) -> None:
    assert rule(matches=[match]).match == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (None, PathMatch()),
        ({"type": "Exact"}, PathMatch()),
        ({"service": "s.S", "method": "M"}, PathMatch("Exact", "/s.S/M")),
        ({"service": "s.S"}, PathMatch("Prefix", "/s.S")),
        ({"method": "M.x"}, PathMatch("RegularExpression", "/[^/]+/M\\.x")),
        (
            {"type": "RegularExpression", "service": "s.*"},
            PathMatch("RegularExpression", "/s.*/[^/]+"),
        ),
        (
            {"type": "RegularExpression", "method": "m.*"},
            PathMatch("RegularExpression", "/[^/]+/m.*"),
        ),
    ],
)
def test_calls_of_grpc_are_paths(method: dict[str, str] | None, expected: PathMatch) -> None:
    match = {"method": method, "headers": [header("X")]} if method else {"headers": [header("X")]}
    [made] = compiled({"matches": [match], "backendRefs": to("s")}, kind=GRPCRoute).rules
    assert made.match == Match(expected, headers=(NamedMatch("x", "Exact", "v"),))


@pytest.mark.parametrize(
    "match",
    [
        {"path": {"type": "RegularExpression", "value": "("}},
        {"headers": [header("a", "(", "RegularExpression")]},
        {"queryParams": [header("a", "(?=x)", "RegularExpression")]},
    ],
)
def test_an_expression_that_envoy_would_refuse_is_refused_here(match: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="is no regular expression of RE2"):
        rule(matches=[match])


def test_a_rule_for_each_match_and_one_for_none() -> None:
    matches = [{"path": {"type": "Exact", "value": path}} for path in ("/a", "/b")]
    made = compiled({"matches": matches, "backendRefs": to("shop")}, {"backendRefs": to("news")})
    paths = [(one.match.path.value, str(one.backends[0].target)) for one in made.rules]
    assert paths == [("/a", "to shop"), ("/b", "to shop"), ("/", "to news")]
    assert made.backends == []


def test_routes_of_connections_have_backends_and_no_rules() -> None:
    made = compiled({"backendRefs": to("shop", "news", weight=3)}, kind=TCPRoute)
    assert made.rules == [] and [one.weight for one in made.backends] == [3, 3]


CHANGE = {
    "set": [{"name": "a", "value": "1"}],
    "add": [{"name": "b", "value": "2"}],
    "remove": ["c"],
}
CHANGED = HeaderChange((("a", "1"),), (("b", "2"),), ("c",))


def test_headers_are_changed_on_both_ways() -> None:
    made = rule(
        filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": CHANGE},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["d"]}},
        ]
    )
    assert made.request == CHANGED and made.response == HeaderChange((), (), ("d",))
    plain = rule()
    assert plain.request == plain.response == NO_CHANGE


@pytest.mark.parametrize("value", ["a\nb", "a\x7f", "\x1f"])
def test_a_header_is_one_line(value: str) -> None:
    change = {"set": [{"name": "a", "value": value}]}
    with pytest.raises(Unsupported, match="has control characters"):
        rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": change}])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (None, None),
        ({"type": "ReplaceFullPath", "replaceFullPath": "/x"}, PathRewrite("/x", prefix=False)),
        ({"type": "ReplaceFullPath", "replaceFullPath": ""}, PathRewrite("/", prefix=False)),
        (
            {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/y"},
            PathRewrite("/y", prefix=True),
        ),
        ({"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}, PathRewrite("/", prefix=True)),
    ],
)
def test_paths_are_rewritten_and_redirected_alike(path: Any, expected: PathRewrite | None) -> None:
    rewrite: dict[str, Any] = {"hostname": "h"}
    redirect: dict[str, Any] = {"scheme": "https", "hostname": "h", "port": 8443, "statusCode": 301}
    if path is not None:
        rewrite["path"] = redirect["path"] = path
    made = rule(filters=[{"type": "URLRewrite", "urlRewrite": rewrite}])
    assert (made.hostname, made.path) == ("h", expected)
    to_other = rule(filters=[{"type": "RequestRedirect", "requestRedirect": redirect}]).redirect
    assert to_other is not None
    assert (to_other.scheme, to_other.hostname, to_other.port) == ("https", "h", 8443)
    assert (to_other.path, to_other.status) == (expected, 301)


def test_a_redirect_may_leave_everything_as_it_is() -> None:
    made = rule(filters=[{"type": "RequestRedirect", "requestRedirect": {}}]).redirect
    assert made is not None and (made.scheme, made.hostname, made.port) == ("", "", 0)


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        ({}, 1_000_000),
        ({"percent": 42}, 420_000),
        ({"percent": 0}, 0),
        ({"fraction": {"numerator": 1, "denominator": 3}}, 333_333),
    ],
)
def test_a_share_of_requests_is_mirrored(parts: dict[str, Any], share: int) -> None:
    mirrors = [
        {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": {"name": name, "port": 80}, **parts},
        }
        for name in ("copy", "other")
    ]
    made = rule(filters=mirrors)
    assert [(str(one.target), one.millionths) for one in made.mirrors] == [
        ("to copy", share),
        ("to other", share),
    ]


def test_what_other_origins_may_do() -> None:
    cors = {
        "allowOrigins": ["https://a"],
        "allowMethods": ["GET"],
        "allowHeaders": ["x"],
        "exposeHeaders": ["y"],
        "allowCredentials": True,
        "maxAge": 7,
    }
    made = rule(filters=[{"type": "CORS", "cors": cors}]).cors
    assert made is not None
    parts = (made.origins, made.methods, made.headers, made.exposed, made.credentials, made.max_age)
    assert parts == (("https://a",), ("GET",), ("x",), ("y",), True, 7)


def test_what_is_not_served_is_refused() -> None:
    with pytest.raises(Unsupported, match="filter ExtensionRef is not served"):
        rule(
            filters=[
                {"type": "ExtensionRef", "extensionRef": {"group": "g", "kind": "K", "name": "x"}}
            ]
        )


@pytest.mark.parametrize(
    ("filters", "refused"),
    [
        ([{"type": "RequestHeaderModifier", "requestHeaderModifier": CHANGE}], ""),
        ([{"type": "ResponseHeaderModifier", "responseHeaderModifier": CHANGE}], ""),
        ([{"type": "URLRewrite", "urlRewrite": {"hostname": "h"}}], ""),
        (
            [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}],
            "filter URLRewrite of a single backend is not served",
        ),
        (
            [{"type": "RequestRedirect", "requestRedirect": {}}],
            "filter RequestRedirect of a single",
        ),
    ],
)
def test_a_single_backend_may_change_less(filters: list[dict[str, Any]], refused: str) -> None:
    refs = [{**to("shop")[0], "filters": filters}]
    if refused:
        with pytest.raises(Unsupported, match=refused):
            rule(backendRefs=refs)
        return
    [one] = rule(backendRefs=refs).backends
    kind = filters[0]["type"]
    assert (one.request == CHANGED) is (kind == "RequestHeaderModifier")
    assert (one.response == CHANGED) is (kind == "ResponseHeaderModifier")
    assert one.hostname == ("h" if kind == "URLRewrite" else "")


def test_timeouts_are_seconds() -> None:
    made = rule(timeouts={"request": "1m30s", "backendRequest": "500ms"})
    assert (made.timeout, made.attempt_timeout) == (90.0, 0.5)


def test_a_backend_that_is_lost_is_told_and_keeps_its_place() -> None:
    mirror = {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"name": "lost-2", "port": 1}},
    }
    made = compiled({"backendRefs": to("lost", "shop"), "filters": [mirror]})
    assert [one.target for one in made.rules[0].backends] == [None, "to shop"]
    assert made.rules[0].mirrors == ()
    verdict = made.resolved
    assert (verdict.ok, verdict.reason) == (False, "BackendNotFound")
    assert verdict.message == "lost is not there"
    fine = compiled({"backendRefs": to("shop")}).resolved
    assert (fine.ok, fine.reason) == (True, "ResolvedRefs")
