"""A cluster with the add-on on a real Envoy, and small backends on the loopback."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.addons import gateway, installing, types
from tiphys.addons.host import Host
from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Pod:
    """A web server that says its name and what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.requests = 0

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        await asyncio.sleep(float(request.query.get("delay", 0)))
        return web.json_response(
            {
                "pod": self.name,
                "path": request.raw_path,
                "host": request.host,
                "headers": {name.lower(): value for name, value in request.headers.items()},
            }
        )

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def slice(self, service: str, ready: bool = True) -> discovery_v1.EndpointSlice:
        """A slice for each pod: on one address, their ports tell them apart."""
        state = discovery_v1.EndpointConditions(ready=ready, serving=True, terminating=not ready)
        return discovery_v1.EndpointSlice(
            metadata=ObjectMeta(
                name=f"{service}-{self.name}",
                namespace="default",
                labels={"kubernetes.io/service-name": service},
            ),
            address_type="IPv4",
            endpoints=[discovery_v1.Endpoint(addresses=["10.1.0.1"], conditions=state)],
            ports=[discovery_v1.EndpointPort(name="http", port=self.port)],
        )


class World:
    def __init__(
        self,
        cluster: LocalCluster,
        stack: AsyncExitStack,
        session: aiohttp.ClientSession,
        settings: gateway.Settings,
    ) -> None:
        self.cluster, self.client = cluster, cluster.client
        self._stack = stack
        self.session = session
        self.settings = settings
        self.http_port, self.https_port = settings.http_port, settings.https_port
        self.address = "127.0.81.1"

    async def service(self, name: str, pods: int = 1, app_protocol: str | None = None) -> list[Pod]:
        port = core_v1.ServicePort(name="http", port=80, app_protocol=app_protocol)
        spec = core_v1.ServiceSpec(ports=[port])
        meta = ObjectMeta(name=name, namespace="default")
        await self.client.create(core_v1.Service(metadata=meta, spec=spec))
        return [await self.pod(name, f"{name}-{number}") for number in range(pods)]

    async def pod(self, service: str, name: str) -> Pod:
        pod = Pod(name)
        await pod.start()
        self._stack.push_async_callback(pod.stop)
        await self.client.create(pod.slice(service))
        return pod

    async def get(
        self,
        host: str,
        path: str = "/",
        *,
        address: str = "",
        port: int = 0,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and what the pod says; what is no JSON has its headers. Never follows a redirect."""
        url = f"http://{address or self.address}:{port or self.http_port}{path}"
        sent = {"Host": host, **(headers or {})}
        async with self.session.request(method, url, headers=sent, allow_redirects=False) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, answer.headers.copy()

    async def pod_of(self, host: str, path: str = "/", **options: Any) -> str | int:
        """The name of the service that answers, or the status that is none of its."""
        status, said = await self.get(host, path, **options)
        return str(said["pod"]).rpartition("-")[0] if status == 200 else status

    async def until(self, check: Callable[[], Awaitable[object]], seconds: float = 30) -> Any:
        """The first true result."""
        last: object = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        last = await check()
                    except aiohttp.ClientConnectionError as error:
                        last = error
                    else:
                        if last:
                            return last
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it did not become so; last: {last!r}") from None


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # Endpoints on the loopback are refused by the API server, as upstream does: Envoy is led there.
    import tiphys.network.xds.services as services

    real = services.socket

    def there(address: str, port: int) -> Any:
        return real("127.0.0.1" if address.startswith("10.1.") else address, port)

    monkeypatch.setattr(services, "socket", there)
    settings = gateway.Settings(
        addresses="127.0.81.0/28", http_port=free_port(), https_port=free_port()
    )
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(LocalCluster())
        await installing.enable(cluster.client, gateway.ADDON, settings)
        offered = {"gateway": gateway.ADDON}
        Host(cluster.client_as(installing.HOST), offered, cluster.root / "a", cluster.tasks).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def ready() -> bool:
            found = await cluster.client.get(types.Addon, "gateway")
            return conditions.is_true(found.status.conditions, "Ready")

        await cluster.eventually(ready, 60)
        yield World(cluster, stack, session, settings)


def ingress(
    name: str,
    host: str = "",
    paths: dict[str, str] | None = None,
    tls: str = "",
    path_type: str = "Prefix",
) -> networking_v1.Ingress:
    """`paths` are services by path."""
    rows = [
        networking_v1.HTTPIngressPath(path=path, path_type=path_type, backend=backend(service))
        for path, service in (paths or {}).items()
    ]
    rule = networking_v1.IngressRule(host=host, http=networking_v1.HTTPIngressRuleValue(paths=rows))
    spec = networking_v1.IngressSpec(rules=[rule] if rows else [])
    if tls:
        spec.tls = [networking_v1.IngressTLS(hosts=[host] if host else [], secret_name=tls)]
    return networking_v1.Ingress(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def backend(service: str) -> networking_v1.IngressBackend:
    port = networking_v1.ServiceBackendPort(number=80)
    return networking_v1.IngressBackend(
        service=networking_v1.IngressServiceBackend(name=service, port=port)
    )


def pair(*names: str) -> tuple[bytes, bytes]:
    """A certificate for the names that signs itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM), pem


def secret(name: str, chain: bytes, key: bytes, namespace: str = "default") -> core_v1.Secret:
    return core_v1.Secret(
        metadata=ObjectMeta(name=name, namespace=namespace),
        type="kubernetes.io/tls",
        data={"tls.crt": chain, "tls.key": key},
    )


async def serial(address: str, port: int, name: str) -> int:
    """Of the certificate that is shown to who asks for a name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number
