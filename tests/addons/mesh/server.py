"""The add-on on a real API server, with pods that nobody runs and clients in the place of sidecars."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from tiphys.addons import installing, mesh, types
from tiphys.addons.host import Host
from tiphys.addons.mesh.injection import PROXY
from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

ACCOUNTS = resource_of(core_v1.ServiceAccount)


class Mesh:
    """The add-on on an API server, with accounts and pods that nobody runs."""

    def __init__(self, cluster: LocalCluster, settings: mesh.Settings, root: bytes) -> None:
        self.cluster, self.client = cluster, cluster.client
        self.settings = settings
        self.target = f"127.0.0.1:{settings.xds_port}"
        self.root = root

    async def pod(self, name: str, sidecar: bool = False) -> core_v1.Pod:
        """Of the account of its name."""
        meta = ObjectMeta(name=name, namespace="default")
        await self.client.create(core_v1.ServiceAccount(metadata=meta))
        container = core_v1.Container(name="web", image="web")
        spec = core_v1.PodSpec(service_account_name=name, containers=[container])
        if sidecar:
            proxy = core_v1.Container(name=PROXY, image="proxy", restart_policy="Always")
            spec.init_containers = [proxy]
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
        """How a stream with these tokens ends. It asks nothing: gRPC's client says `internal` when
        it writes to a stream that has just been ended."""
        async with self.stream(*tokens) as stream, asyncio.timeout(20):
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


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Mesh]:
    async with LocalCluster() as cluster:
        settings = mesh.Settings(
            address="127.0.0.1", xds_port=free_port(), webhook_port=free_port(), lifetime=4
        )
        await installing.enable(cluster.client, mesh.ADDON, settings)
        offered = {"mesh": mesh.ADDON}
        Host(cluster.client_as(installing.HOST), offered, folder, cluster.tasks).start()

        async def ready() -> bool:
            found = await cluster.client.get(types.Addon, "mesh")
            return conditions.is_true(found.status.conditions, "Ready")

        await cluster.eventually(ready, 30)
        secret = await cluster.client.get(core_v1.Secret, mesh.AUTHORITY, "tiphys-addons")
        yield Mesh(cluster, settings, secret.data["tls.crt"])
