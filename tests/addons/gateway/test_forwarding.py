"""Rules as routes of Envoy: what it matches, changes, forwards and answers itself."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.gateway.envoy_routes import routes
from tiphys.addons.gateway.model import (
    Backend,
    Match,
    PathMatch,
    PathRewrite,
    Redirect,
    Rule,
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
