"""What is served at which port for which host names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.builders import route, to
from tests.addons.gateway.reports import (
    SECRETS,
    gateway,
    http_route,
    https,
    listener,
    report,
)
from tiphys.addons.gateway.gateways import Report
from tiphys.addons.gateway.types.streams import TCPRoute, TLSRoute


def hosts(made: Report) -> dict[str, dict[str, list[str]]]:
    """Services of each host, by site."""
    return {
        site.name: {
            host.name: [
                one.backends[0].target.service if one.backends[0].target else ""
                for one in host.rules
            ]
            or [str(host.status)]
            for host in site.hosts or ()
        }
        for port in made.ports
        for site in port.sites
    }


def named(name: str, service: str, *hostnames: str, **parent: Any) -> Any:
    spec: dict[str, Any] = {"hostnames": list(hostnames)} if hostnames else {}
    one = http_route(ref={"name": service, "port": 80}, parent=parent, **spec)
    one.metadata.name = name
    return one


def test_a_request_belongs_to_the_listener_with_the_closest_name() -> None:
    """GatewayHTTPListenerIsolation: a route of a wider listener gets none of a narrower one's."""
    edge = gateway(
        [
            listener("all"),
            listener("wild", hostname="*.example"),
            listener("one", hostname="a.example"),
        ]
    )
    made = report(
        edge,
        named("r1", "shop", sectionName="all"),
        named("r2", "news", "a.example", sectionName="wild"),
        named("r3", "rest", "b.example", sectionName="wild"),
    )
    assert hosts(made) == {
        "default/edge": {
            "a.example": ["404"],
            "b.example": ["rest"],
            "*.example": ["404"],
            "*": ["shop"],
        }
    }


def test_what_a_narrower_name_does_not_match_goes_to_the_wider_one() -> None:
    made = report(
        gateway([listener("all")]),
        named("r1", "shop"),
        named("r2", "news", "*.example"),
        named("r3", "rest", "a.example"),
    )
    assert hosts(made)["default/edge"] == {
        "a.example": ["rest", "news", "shop"],
        "*.example": ["news", "shop"],
        "*": ["shop"],
    }


def test_a_request_over_the_connection_of_another_host_is_misdirected() -> None:
    """GatewayHTTPSListenerDetectMisdirectedRequests: 421 (RFC 9110, 15.5.20)."""
    edge = gateway([https("1", "wild", "x.a.example"), https("2", "b", "b.example")])
    made = report(edge, named("r1", "shop"), secrets=SECRETS)
    assert hosts(made) == {
        "default/edge/1": {"x.a.example": ["shop"], "b.example": ["421"]},
        "default/edge/2": {"b.example": ["shop"], "x.a.example": ["421"]},
    }
    assert [site.names for site in made.ports[0].sites] == [("x.a.example",), ("b.example",)]
    assert set(made.secrets) == {"default/wild", "default/b"}


def test_a_listener_for_tls_of_every_name_has_no_names() -> None:
    row = listener("1", "HTTPS", 443, tls={"certificateRefs": [{"name": "wild"}]})
    made = report(gateway([row]), named("r1", "shop"), secrets=SECRETS)
    assert [site.names for site in made.ports[0].sites] == [()]


def stream(kind: Any, name: str, service: str, *hostnames: str) -> Any:
    spec = {"hostnames": list(hostnames)} if hostnames else {}
    return route(kind, name, "edge", {"backendRefs": to(service)}, **spec)


def test_connections_go_to_the_oldest_route() -> None:
    late, early = stream(TCPRoute, "a", "shop"), stream(TCPRoute, "b", "news")
    late.metadata.creation_timestamp = "2026-01-02T00:00:00Z"
    early.metadata.creation_timestamp = "2026-01-01T00:00:00Z"
    made = report(gateway([listener("a", "TCP", 9000)]), late, early)
    [site] = made.ports[0].sites
    assert site.hosts is None and [one.target.service for one in site.backends if one.target] == [
        "news"
    ]
    assert report(gateway([listener("a", "TCP", 9000)])).ports == [], "nobody to connect to"


@pytest.mark.parametrize(("mode", "secrets"), [("Passthrough", ()), ("Terminate", ("default/b",))])
def test_tls_is_parted_by_the_names_that_clients_ask_for(mode: str, secrets: Any) -> None:
    tls = {"mode": mode, "certificateRefs": [{"name": "b"}]}
    edge = gateway(
        [
            listener("all", "TLS", 443, tls=tls),
            listener("b", "TLS", 443, tls=tls, hostname="b.example"),
        ]
    )
    made = report(
        edge,
        stream(TLSRoute, "r1", "shop", "a.example", "b.example"),
        stream(TLSRoute, "r2", "news", "*.example"),
        secrets=SECRETS,
    )
    shown = {site.name: (site.names, site.secrets) for site in made.ports[0].sites}
    assert shown == {
        "default/edge/b/b.example": (("b.example",), secrets),
        "default/edge/all/a.example": (("a.example",), secrets),
        "default/edge/all/*.example": (("*.example",), secrets),
    }
