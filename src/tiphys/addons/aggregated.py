"""A server of an add-on behind the API server: it answers an API of its own (an APIService), and
reviews where it has any, over TLS.

Only the API server gets answers: it shows a certificate of the front proxy's authority,
which the cluster publishes in ``kube-system/extension-apiserver-authentication``. Who may ask is
decided there, before. Open paths need no authentication: webhooks are called without a
certificate.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from tiphys.addons.authority import passing_server
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apiregistration_v1, core_v1, discovery_v1
from tiphys.api.base import Struct, to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client
from tiphys.client.delegation import caller_of
from tiphys.client.servertls import ServerContext

_LARGEST = 4 << 20  # bytes of a request
_TRUST = "extension-apiserver-authentication"
# Of documentation: nothing is ever sent there.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


class AggregatedServer:
    """`name` is that of its Service in the add-ons' namespace, `title` what people read in its
    certificate. Routes are added to `router` before it starts."""

    def __init__(self, name: str, title: str, open_paths: Sequence[str] = ()) -> None:
        self._name = name
        self._title = title
        self._open = frozenset(open_paths)
        self._allowed: frozenset[str] = frozenset()
        self._runner: web.AppRunner | None = None
        self._app = web.Application(
            client_max_size=_LARGEST, middlewares=[self._only_the_api_server]
        )
        self.authority = ""

    @property
    def router(self) -> web.UrlDispatcher:
        return self._app.router

    async def start(self, client: Client, address: str, port: int, now: float, folder: Path) -> int:
        """Listens and returns the port. Raises OSError when it is taken, and StatusError when the
        cluster does not say who its front proxy is."""
        names = [f"{self._name}.{NAMESPACE}.svc"]
        self.authority, context = passing_server(self._title, names, now, folder)
        await self._trust(client, context)
        self._runner = web.AppRunner(self._app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=context).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def announce(
        self, client: Client, address: str, port: int, api_services: Sequence[str]
    ) -> None:
        """Publishes the server's address and authority in the cluster."""
        slice_ = {
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        await client.patch(discovery_v1.EndpointSlice, self._name, slice_, NAMESPACE, media=MERGE)
        patch = {"spec": {"caBundle": to_builtins(self.authority.encode())}}
        for name in api_services:
            await client.patch(apiregistration_v1.APIService, name, patch, media=MERGE)

    async def _trust(self, client: Client, context: ServerContext) -> None:
        config_map = await client.get(core_v1.ConfigMap, _TRUST, "kube-system")
        names = json.loads(config_map.data.get("requestheader-allowed-names", "[]"))
        self._allowed = frozenset(names)
        authority = config_map.data.get("requestheader-client-ca-file", "")
        context.ask(text=authority)

    @web.middleware
    async def _only_the_api_server(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        transport = request.transport
        caller = caller_of(transport.get_extra_info("peercert") if transport else None)
        is_known = caller is not None and (not self._allowed or caller.name in self._allowed)
        if not is_known and request.path not in self._open:
            return failure(403, "Forbidden", "this is for the API server alone")
        return await handler(request)


def own_address() -> str:
    """The address of this machine that others see: the API server connects to no loopback."""
    for family, elsewhere in _ELSEWHERE.items():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    raise OSError(errno.ENETUNREACH, "this machine has no way to any other")


# --- what it answers ---


def failure(code: int, reason: str, message: str) -> web.Response:
    """A Status."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "code": code,
    }
    if reason:
        body["reason"] = reason
    return web.json_response(body, status=code)


def group_document(group: str, versions: Sequence[str]) -> web.Response:
    """Of ``/apis/GROUP``, the preferred version first."""
    listed = [{"groupVersion": f"{group}/{one}", "version": one} for one in versions]
    return web.json_response(
        {
            "kind": "APIGroup",
            "apiVersion": "v1",
            "name": group,
            "versions": listed,
            "preferredVersion": listed[0],
        }
    )


def resource_list(group_version: str, rows: Sequence[dict[str, Any]]) -> web.Response:
    """Of ``/apis/GROUP/VERSION``."""
    return web.json_response(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": list(rows),
        }
    )


# --- what leads to it ---


def objects(name: str, address: str, group: str, versions: Sequence[str]) -> list[Struct]:
    """A Service without a selector, its slice and an APIService for each version, the preferred one
    first. `AggregatedServer.announce` fills in address and authority: so an add-on's account may
    change these objects, and create none."""
    service = core_v1.Service(metadata=ObjectMeta(name=name, namespace=NAMESPACE))
    service.spec.ports = [core_v1.ServicePort(name="https", port=443, protocol="TCP")]
    slice_ = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(
            name=name, namespace=NAMESPACE, labels={"kubernetes.io/service-name": name}
        ),
        address_type="IPv6" if ":" in address else "IPv4",
    )
    manifests: list[Struct] = [service, slice_]
    for place, version in enumerate(versions):
        api = apiregistration_v1.APIService(metadata=ObjectMeta(name=f"{version}.{group}"))
        api.spec = apiregistration_v1.APIServiceSpec(
            service=apiregistration_v1.ServiceReference(namespace=NAMESPACE, name=name, port=443),
            group=group,
            version=version,
            group_priority_minimum=100,
            version_priority=100 * (len(versions) - place),
        )
        manifests.append(api)
    return manifests
