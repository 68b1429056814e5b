"""Rules as routes of Envoy: what it matches, changes, forwards and answers itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import re2
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.type.v3 import percent_pb2

from tiphys.addons.gateway.envoy_routes import MadeHosts, route_configuration, routes
from tiphys.addons.gateway.model import (
    Backend,
    Cors,
    HeaderChange,
    Host,
    Match,
    Mirror,
    NamedMatch,
    PathMatch,
    PathRewrite,
    Redirect,
    Rule,
    Site,
    Target,
)

SHOP = Backend(Target("default", "shop", 80))


def envoy(rule: Rule, port: int = 80, secure: bool = False) -> list[Any]:
    return list(routes(rule, port, secure))


@pytest.mark.parametrize(
    ("redirect", "port", "secure", "expected"),
    [
        (Redirect(scheme="https", hostname="b"), 80, False, ("https", "b", 0)),
        (Redirect(hostname="b"), 8080, False, ("", "b", 8080)),
        (Redirect(hostname="b"), 443, True, ("", "b", 0)),
        (Redirect(scheme="https", hostname="b", port=8443), 80, False, ("https", "b", 8443)),
        (Redirect(scheme="http", hostname="b", port=80), 443, True, ("http", "b", 0)),
    ],
)
def test_a_redirect_names_a_port_only_when_it_is_no_usual_one(
    redirect: Redirect, port: int, secure: bool, expected: tuple[str, str, int]
) -> None:
    (made,) = envoy(Rule(redirect=redirect), port, secure)
    action = made.redirect
    assert (action.scheme_redirect, action.host_redirect, action.port_redirect) == expected


@pytest.mark.parametrize(
    ("match", "replacement", "prefix", "pattern"),
    [
        ("/a", "/b", "/b", ""),
        ("/a/", "/b/", "/b", ""),
        ("/a", "/", "", "^/a/*"),
        ("/", "/b", "/b/", ""),
    ],
)
def test_a_prefix_is_rewritten_without_doubling_slashes(
    match: str, replacement: str, prefix: str, pattern: str
) -> None:
    path = PathMatch("Prefix", match)
    rule = Rule(Match(path), (SHOP,), path=PathRewrite(replacement, prefix=True))
    (made,) = envoy(rule)
    assert made.route.prefix_rewrite == prefix
    assert made.route.regex_rewrite.pattern.regex == pattern


def test_the_share_of_a_lost_backend_fails() -> None:
    failing, made = envoy(Rule(backends=(Backend(SHOP.target, 3), Backend(None, 1))))
    assert failing.direct_response.status == 500
    assert failing.match.runtime_fraction.default_value.numerator == 250_000
    assert made.route.cluster == "shop.default:80"


def test_without_a_timeout_there_is_none() -> None:
    (made,) = envoy(Rule(backends=(SHOP,)))
    assert made.route.HasField("timeout") and made.route.timeout.ToNanoseconds() == 0


# --- matching ---


def match(path: PathMatch = PathMatch(), **more: Any) -> Any:
    (made,) = envoy(Rule(Match(path, **more), (SHOP,)))
    return made.match


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (PathMatch("Exact", "/a/"), "path", "/a/"),
        (PathMatch("Prefix", "/"), "prefix", "/"),
        (PathMatch("Prefix", "/a"), "path_separated_prefix", "/a"),
        (PathMatch("Prefix", "/a/"), "path_separated_prefix", "/a"),
    ],
)
def test_a_prefix_is_one_of_whole_elements(path: PathMatch, field: str, value: str) -> None:
    made = match(path)
    assert made.WhichOneof("path_specifier") == field
    assert getattr(made, field) == value


def test_what_a_request_has_to_be_like_is_asked_of_envoy() -> None:
    made = match(
        PathMatch("RegularExpression", "/a+"),
        method="GET",
        headers=(NamedMatch("x", "Exact", "1"), NamedMatch("y", "RegularExpression", "b+")),
        query=(NamedMatch("q", "Exact", "2"),),
    )
    assert made.safe_regex.regex == "/a+"
    shown = {one.name: one.string_match for one in made.headers}
    assert list(shown) == [":method", "x", "y"]
    assert (shown[":method"].exact, shown["x"].exact) == ("GET", "1")
    assert shown["y"].safe_regex.regex == "b+"
    assert [(one.name, one.string_match.exact) for one in made.query_parameters] == [("q", "2")]


@pytest.mark.parametrize(
    ("host", "is_meant"),
    [
        ("b.a.example", True),
        ("B.A.EXAMPLE", True),
        ("b.a.example:8080", True),
        ("c.b.a.example", False),
        ("a.example", False),
        ("b.axexample", False),
    ],
)
def test_a_wildcard_of_an_ingress_is_one_label(host: str, is_meant: bool) -> None:
    (made,) = envoy(Rule(backends=(SHOP,), single_level="*.a.example"))
    (header,) = made.match.headers
    assert header.name == ":authority"
    expression = re2.compile(header.string_match.safe_regex.regex)
    assert (expression.fullmatch(host) is not None) is is_meant


# --- changing ---


def test_headers_are_set_added_and_removed_but_never_the_host() -> None:
    change = HeaderChange((("a", "5%"), ("Host", "x")), (("b", "2"),), ("c", "HOST", ":path"))
    (made,) = envoy(Rule(backends=(SHOP,), request=change, response=change))
    for added, removed in (
        (made.request_headers_to_add, made.request_headers_to_remove),
        (made.response_headers_to_add, made.response_headers_to_remove),
    ):
        assert [(one.header.key, one.header.value) for one in added] == [("a", "5%%"), ("b", "2")]
        actions = [
            base_pb2.HeaderValueOption.HeaderAppendAction.Name(one.append_action) for one in added
        ]
        assert actions == ["OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"]
        assert list(removed) == ["c"]


@pytest.mark.parametrize(
    ("match", "replacement", "path", "expected"),
    [
        ("/a", "/", "/a/b", "/b"),
        ("/a", "/", "/a", "/"),
        ("/a", "/", "/a//b", "/b"),
        ("/", "/", "/x", "/x"),
        ("/a.b", "/", "/axb/c", "/axb/c"),
    ],
)
def test_a_prefix_is_taken_away(match: str, replacement: str, path: str, expected: str) -> None:
    rule = Rule(
        Match(PathMatch("Prefix", match)), (SHOP,), path=PathRewrite(replacement, prefix=True)
    )
    (made,) = envoy(rule)
    rewrite = made.route.regex_rewrite
    assert re2.sub(rewrite.pattern.regex, rewrite.substitution, path) == expected


def test_a_whole_path_is_replaced_as_it_is_written() -> None:
    (made,) = envoy(Rule(backends=(SHOP,), path=PathRewrite("/x\\1", prefix=False)))
    rewrite = made.route.regex_rewrite
    assert re2.sub(rewrite.pattern.regex, rewrite.substitution, "/a", count=1) == "/x\\1"


# --- forwarding ---


def test_what_has_reached_no_server_is_sent_to_another_up_to_three_times() -> None:
    (made,) = envoy(Rule(backends=(SHOP,), timeout=1.5, attempt_timeout=0.25, hostname="b"))
    retry = made.route.retry_policy
    words = set(retry.retry_on.split(","))
    assert words == {"connect-failure", "refused-stream", "reset-before-request"}
    assert retry.num_retries.value == 3
    assert [one.name for one in retry.retry_host_predicate] == [
        "envoy.retry_host_predicates.previous_hosts"
    ]
    assert made.route.timeout.ToMilliseconds() == 1500
    assert retry.per_try_timeout.ToMilliseconds() == 250
    assert made.route.host_rewrite_literal == "b"
    (plain,) = envoy(Rule(backends=(SHOP,)))
    assert not plain.route.retry_policy.HasField("per_try_timeout")


NEWS = Backend(Target("default", "news", 80), 3)


def test_requests_are_shared_by_weight_and_changed_for_each_backend() -> None:
    news = replace(NEWS, hostname="news", request=HeaderChange(remove=("c",)))
    (made,) = envoy(Rule(backends=(SHOP, news, Backend(SHOP.target, 0))))
    shares = made.route.weighted_clusters.clusters
    assert [(one.name, one.weight.value) for one in shares] == [
        ("shop.default:80", 1),
        ("news.default:80", 3),
    ]
    assert [one.host_rewrite_literal for one in shares] == ["", "news"]
    assert [list(one.request_headers_to_remove) for one in shares] == [[], ["c"]]


@pytest.mark.parametrize(
    ("backend", "is_plain"),
    [
        (SHOP, True),
        (replace(SHOP, weight=5), True),
        (replace(SHOP, hostname="b"), False),
        (replace(SHOP, request=HeaderChange(remove=("c",))), False),
        (replace(SHOP, response=HeaderChange(remove=("c",))), False),
    ],
)
def test_one_backend_that_changes_nothing_needs_no_weights(
    backend: Backend, is_plain: bool
) -> None:
    (made,) = envoy(Rule(backends=(backend,)))
    assert made.route.WhichOneof("cluster_specifier") == (
        "cluster" if is_plain else "weighted_clusters"
    )


@pytest.mark.parametrize(
    "backends", [(), (Backend(None),), (replace(SHOP, weight=0),), (Backend(None, 0),)]
)
def test_a_rule_without_a_backend_fails(backends: tuple[Backend, ...]) -> None:
    """Gateway API: what is sent to no backend, or to one that is not there, gets a 500."""
    (made,) = envoy(Rule(backends=backends))
    assert made.direct_response.status == 500


@pytest.mark.parametrize(
    ("lost", "there", "millionths"), [(1, 2, 333_333), (1, 99, 10_000), (99, 1, 990_000)]
)
def test_the_share_of_what_is_lost_is_exact(lost: int, there: int, millionths: int) -> None:
    failing, _ = envoy(Rule(backends=(Backend(None, lost), replace(SHOP, weight=there))))
    share = failing.match.runtime_fraction.default_value
    assert share.numerator == millionths
    assert percent_pb2.FractionalPercent.DenominatorType.Name(share.denominator) == "MILLION"


def test_a_mirror_gets_its_share() -> None:
    mirrors = (Mirror(NEWS.target, 250_000), Mirror(SHOP.target))  # type: ignore[arg-type]
    (made,) = envoy(Rule(backends=(SHOP,), mirrors=mirrors))
    shown = [
        (one.cluster, one.runtime_fraction.default_value.numerator)
        for one in made.route.request_mirror_policies
    ]
    assert shown == [("news.default:80", 250_000), ("shop.default:80", 1_000_000)]


# --- redirecting ---


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (301, "MOVED_PERMANENTLY"),
        (302, "FOUND"),
        (303, "SEE_OTHER"),
        (307, "TEMPORARY_REDIRECT"),
        (308, "PERMANENT_REDIRECT"),
    ],
)
def test_a_redirect_has_its_status(status: int, name: str) -> None:
    (made,) = envoy(Rule(redirect=Redirect(status=status)))
    codes = route_components_pb2.RedirectAction.RedirectResponseCode
    assert codes.Name(made.redirect.response_code) == name


@pytest.mark.parametrize(
    ("redirect", "port", "secure", "written"),
    [
        (Redirect(), 80, False, 0),
        (Redirect(), 8080, False, 8080),
        (Redirect(), 443, True, 0),
        (Redirect(port=80), 8080, False, 80),  # else the request's own port would stay
        (Redirect(port=80, hostname="b"), 8080, False, 0),
        (Redirect(scheme="https"), 8080, False, 443),
        (Redirect(scheme="https"), 443, False, 0),
    ],
)
def test_the_port_of_a_redirect(redirect: Redirect, port: int, secure: bool, written: int) -> None:
    """The documentation of HTTPRequestRedirectFilter: the scheme's own port where the scheme is
    named, else the listener's."""
    (made,) = envoy(Rule(redirect=redirect), port, secure)
    assert made.redirect.port_redirect == written


def test_a_redirect_replaces_a_path_or_its_prefix() -> None:
    at = Match(PathMatch("Prefix", "/a"))
    (whole,) = envoy(Rule(at, redirect=Redirect(path=PathRewrite("/b", prefix=False))))
    (part,) = envoy(Rule(at, redirect=Redirect(path=PathRewrite("/b", prefix=True))))
    (none,) = envoy(Rule(at, redirect=Redirect()))
    assert (whole.redirect.path_redirect, whole.redirect.prefix_rewrite) == ("/b", "")
    assert (part.redirect.path_redirect, part.redirect.prefix_rewrite) == ("", "/b")
    assert none.redirect.WhichOneof("path_rewrite_specifier") is None


# --- other origins ---


@pytest.mark.parametrize(
    ("origin", "asking", "is_allowed"),
    [
        ("https://a.example", "https://a.example", True),
        ("https://a.example", "https://axexample", False),
        ("https://*.a.example", "https://b.a.example", True),
        ("https://*.a.example", "https://c.b.a.example", True),
        ("https://*.a.example", "https://a.example", False),
        ("https://*.a.example", "https://b/.a.example", False),
        ("*", "http://anybody", True),
    ],
)
def test_an_origin_is_allowed(origin: str, asking: str, is_allowed: bool) -> None:
    cors = Cors((origin,), ("GET", "PUT"), ("x", "y"), ("z",), credentials=True, max_age=7)
    (made,) = envoy(Rule(backends=(SHOP,), cors=cors))
    policy = cors_pb2.CorsPolicy()
    made.typed_per_filter_config["envoy.filters.http.cors"].Unpack(policy)
    (matcher,) = policy.allow_origin_string_match
    if matcher.WhichOneof("match_pattern") == "exact":
        assert (matcher.exact == asking) is is_allowed
    else:
        assert (re2.fullmatch(matcher.safe_regex.regex, asking) is not None) is is_allowed
    assert (policy.allow_methods, policy.allow_headers) == ("GET,PUT", "x,y")
    assert (policy.expose_headers, policy.max_age) == ("z", "7")
    assert policy.allow_credentials.value


# --- virtual hosts ---


def configured(hosts: tuple[Host, ...], made: MadeHosts | None = None, **site: Any) -> Any:
    return route_configuration("r", 80, Site("s", hosts=hosts, **site), made or MadeHosts())


def test_what_no_rule_and_no_host_matches_is_not_found() -> None:
    one = Host("a.example", (Rule(backends=(SHOP,)),))
    made = configured((one, Host("b.example", status=421)))
    assert [list(host.domains) for host in made.virtual_hosts] == [
        ["a.example"],
        ["b.example"],
        ["*"],
    ]
    assert [host.routes[-1].direct_response.status for host in made.virtual_hosts] == [
        404,
        421,
        404,
    ]
    assert [len(host.routes) for host in made.virtual_hosts] == [2, 1, 1]
    assert made.ignore_port_in_host_matching
    own = configured((Host("*", status=421),))
    assert [host.routes[-1].direct_response.status for host in own.virtual_hosts] == [421]


def test_hosts_are_made_again_only_when_they_differ() -> None:
    made = MadeHosts()
    rule = Rule(redirect=Redirect())
    hosts = (Host("a.example", (rule,)), Host("b.example"))

    def messages(*args: Any) -> list[int]:
        made.begin()
        return [id(made.virtual_host("r", host, *args)) for host in hosts]

    first = messages(80, False)
    assert messages(80, False) == first
    assert not set(messages(81, False)) & set(first)
    second = messages(81, True)
    made.begin()
    assert messages(81, True) != second, "what was not asked for is forgotten"
