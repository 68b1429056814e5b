"""Who is let in to the mesh's xDS server, and what each is served: real tokens of a real API
server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from tiphys.addons import installing, mesh, types
from tiphys.addons.host import Host
from tiphys.addons.mesh.types import MeshPolicy, MeshPolicySpec
from tiphys.api import admissionregistration_v1, authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions
from tiphys.network.xds.cache import LISTENER, SECRET
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

ACCOUNTS = resource_of(core_v1.ServiceAccount)


class Mesh:
    """The add-on on an API server, with accounts and pods that nobody runs."""

    def __init__(self, cluster: LocalCluster, port: int, root: bytes) -> None:
        self.cluster, self.client = cluster, cluster.client
        self.target = f"127.0.0.1:{port}"
        self.root = root

    async def pod(self, name: str) -> core_v1.Pod:
        """Of the account of its name."""
        meta = ObjectMeta(name=name, namespace="default")
        await self.client.create(core_v1.ServiceAccount(metadata=meta))
        container = core_v1.Container(name="web", image="web")
        spec = core_v1.PodSpec(service_account_name=name, containers=[container])
        return await self.client.create(core_v1.Pod(metadata=meta, spec=spec))

    async def token(
        self, pod: core_v1.Pod, audience: str = "mesh.tiphys.dev", bound: bool = True
    ) -> str:
        spec = authentication_v1.TokenRequestSpec(audiences=[audience], expiration_seconds=600)
        if bound:
            spec.bound_object_ref = authentication_v1.BoundObjectReference(
                kind="Pod", api_version="v1", name=pod.metadata.name, uid=pod.metadata.uid
            )
        request = authentication_v1.TokenRequest(spec=spec)
        answer = await self.client.post(ACCOUNTS, "default", pod.metadata.name, "token", request)
        return decode(answer, authentication_v1.TokenRequest).status.token

    @asynccontextmanager
    async def stream(self, *tokens: str) -> AsyncIterator[Any]:
        credentials = grpc.ssl_channel_credentials(self.root)
        async with grpc.aio.secure_channel(self.target, credentials) as channel:
            metadata = [("authorization", f"Bearer {token}") for token in tokens]
            stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
            stream = stub.DeltaAggregatedResources(metadata=metadata)
            yield stream
            stream.cancel()

    async def refusal(self, *tokens: str) -> tuple[Any, str]:
        """How a stream with these tokens ends."""
        async with self.stream(*tokens) as stream:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await ask(stream, SECRET, "certificate")
            return await stream.code(), await stream.details()


async def ask(stream: Any, type_url: str, *names: str) -> list[Any]:
    """The resources of the next answer."""
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
    await stream.write(request)
    return await told(stream)


async def told(stream: Any) -> list[Any]:
    async with asyncio.timeout(20):
        answer = await stream.read()
    return list(answer.resources)


def identity(resource: Any) -> str:
    """Of the certificate in a secret."""
    shown = secret_pb2.Secret.FromString(resource.resource.value).tls_certificate
    pem = shown.certificate_chain.inline_string.encode()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return str(names.value.get_values_for_type(x509.UniformResourceIdentifier)[0])


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with LocalCluster() as cluster:
        port = free_port()
        settings = mesh.Settings(
            address="127.0.0.1", xds_port=port, webhook_port=free_port(), lifetime=4
        )
        await installing.enable(cluster.client, mesh.ADDON, settings)
        offered = {"mesh": mesh.ADDON}
        Host(cluster.client_as(installing.HOST), offered, tmp_path, cluster.tasks).start()

        async def ready() -> bool:
            found = await cluster.client.get(types.Addon, "mesh")
            return conditions.is_true(found.status.conditions, "Ready")

        await cluster.eventually(ready, 30)
        secret = await cluster.client.get(core_v1.Secret, mesh.AUTHORITY, "tiphys-addons")
        yield Mesh(cluster, port, secret.data["tls.crt"])


async def test_a_sidecar_gets_what_is_its_own_and_news_of_it(made: Mesh) -> None:
    token = await made.token(await made.pod("asker"))
    async with made.stream(token) as stream:
        (first,) = await ask(stream, SECRET, "certificate")
        assert identity(first) == "spiffe://cluster.local/ns/default/sa/asker"
        (second,) = await told(stream)  # at half of four seconds
        assert identity(second) == identity(first) and second.version != first.version
        listeners = {one.name: one.version for one in await ask(stream, LISTENER)}
        assert {"inbound", "outbound", "probes"} <= set(listeners)
        meta = ObjectMeta(name="default", namespace="default")
        await made.client.create(MeshPolicy(metadata=meta, spec=MeshPolicySpec(mode="Strict")))
        changed: list[Any] = []
        while not any(one.name == "inbound" for one in changed):
            changed = await told(stream)
        await made.client.delete(core_v1.Pod, "asker", "default", grace=0)
        with pytest.raises((grpc.aio.AioRpcError, TypeError, AttributeError)):
            while True:
                await told(stream)
    assert (await made.refusal(token))[0] == grpc.StatusCode.UNAUTHENTICATED


async def test_who_does_not_prove_to_be_a_pod_is_not_let_in(made: Mesh) -> None:
    pod = await made.pod("asker")
    bound = await made.token(pod)
    head, body, _ = bound.split(".")
    for tokens, said in (
        ((), "one bearer token"),
        ((bound, bound), "one bearer token"),
        (("x" * 9000,), "at most"),
        (("a.b.c",), "not for mesh.tiphys.dev"),
        ((await made.token(pod, "https://kubernetes.default.svc.cluster.local"),), "not for"),
        ((await made.token(pod, bound=False),), "not bound to a pod"),
        ((f"{head}.{body}.c2lnbmF0dXJl",), "does not take the token"),
    ):
        code, details = await made.refusal(*tokens)
        assert code == grpc.StatusCode.UNAUTHENTICATED and said in details, (tokens, details)


async def test_the_mesh_leaves_nothing(made: Mesh) -> None:
    kind = admissionregistration_v1.MutatingWebhookConfiguration
    hooks = (await made.client.get(kind, mesh.WEBHOOK)).webhooks
    assert [one.failure_policy for one in hooks] == ["Fail"]
    await installing.disable(made.client, mesh.ADDON)
    assert not (await made.client.list(kind)).items
    names = [one.metadata.name for one in (await made.client.list(core_v1.Secret)).items]
    assert mesh.AUTHORITY not in names
