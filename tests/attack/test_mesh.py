"""Attacks on the mesh: tokens of others, others' keys, and a webhook that is sent anything."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("envoy.service")

from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc  # noqa: E402

from tests.addons.mesh.server import Mesh, ask, identity, running, told  # noqa: E402
from tiphys.addons import mesh  # noqa: E402
from tiphys.api import admissionregistration_v1  # noqa: E402
from tiphys.network.xds.cache import SECRET  # noqa: E402


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path) as mesh_:
        yield mesh_


async def test_who_does_not_prove_to_be_a_pod_is_not_let_in(made: Mesh) -> None:
    pod = await made.pod("asker")
    bound = await made.token(pod)
    head, body, _ = bound.split(".")
    for tokens, said in (
        ((), "one bearer token"),
        ((bound, bound), "one bearer token"),
        (("x" * 6500,), "at most"),
        (("a.b.c",), "not for mesh.tiphys.dev"),
        ((f"a.{base64.urlsafe_b64encode(b'[' * 4000).decode()}.c",), "not for mesh.tiphys.dev"),
        ((await made.token(pod, "https://kubernetes.default.svc.cluster.local"),), "not for"),
        ((await made.token(pod, bound=False),), "not bound to a pod"),
        ((f"{head}.{body}.c2lnbmF0dXJl",), "does not take the token"),
    ):
        code, details = await made.refusal(*tokens)
        assert code == grpc.StatusCode.UNAUTHENTICATED and said in details, (tokens, details)


async def test_nobody_is_served_anothers_key(made: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(made.root)
    async with grpc.aio.secure_channel(made.target, credentials) as channel:
        stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.FetchClientStatus(csds_pb2.ClientStatusRequest())
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    first, second = [await made.token(await made.pod(name)) for name in ("asker", "thief")]
    async with made.stream(first) as one, made.stream(second) as other:
        (own,) = await ask(one, SECRET, "certificate")
        seen = {
            resource.name: resource for resource in await ask(other, SECRET, "*", "certificate")
        }
        assert set(seen) == {"certificate", "authorities"}
        assert identity(seen["certificate"]).endswith("/sa/thief")
        assert seen["certificate"].resource.value != own.resource.value
        later = [resource for resource in await told(other) if resource.name == "certificate"]
        assert identity(later[0]).endswith("/sa/thief"), "news of another are not its own either"


async def test_the_webhook_takes_reviews_alone(made: Mesh) -> None:
    kind = admissionregistration_v1.MutatingWebhookConfiguration
    config = (await made.client.get(kind, mesh.WEBHOOK)).webhooks[0].client_config
    context = ssl.create_default_context(cadata=config.ca_bundle.decode())
    deep = b'{"request":{"object":' + b"[" * 100_000
    statuses = []
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        for body in (
            b"",
            b"null",
            b"[]",
            b'{"request":{"object":{"spec":5}}}',
            deep,
            b" " * (5 << 20),
        ):
            async with session.post(str(config.url), data=body, ssl=context) as answer:
                statuses.append(answer.status)
    assert statuses == [400, 400, 400, 400, 400, 413]
