"""The add-on at work: its authority, the xDS server that sidecars prove themselves to, and the
webhook that makes pods members."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import grpc

from tiphys.addons.authority import Authority, Pair, kept_authority, show
from tiphys.addons.mesh import AUTHORITY, WEBHOOK, Settings
from tiphys.addons.mesh.admittance import Admittance
from tiphys.addons.mesh.bootstrap import bootstrap
from tiphys.addons.mesh.injection import Proxy
from tiphys.addons.mesh.sidecars import Sidecars
from tiphys.addons.mesh.statuses import PolicyReconciler, RouteReconciler
from tiphys.addons.mesh.watching import Source
from tiphys.addons.mesh.webhook import PATH, configuration, review
from tiphys.addons.optional import Context
from tiphys.addons.webhook import Webhook, api_server_address
from tiphys.api import admissionregistration_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client
from tiphys.machinery.addresses import authority as host_port
from tiphys.network.xds.cache import Cache
from tiphys.network.xds.server import XdsServer

log = logging.getLogger(__name__)

_PERIOD = 5.0  # seconds between updates of what `tiphys addon status` reports
_SERVER = 30 * 24 * 3600  # seconds that our own certificate is valid
_RENEWED = 24 * 3600  # seconds after which it is replaced


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when an address is taken, AuthorityError when the
    Secret holds no authority."""
    settings: Settings = context.settings
    address = settings.address or await api_server_address(context.client)
    authority = await kept_authority(
        context.client, AUTHORITY, settings.trust_domain, context.now()
    )
    cache = Cache()
    admittance = Admittance(context.client)
    source = Source(
        cache,
        context.informers,
        settings.trust_domain,
        lambda namespace: sidecars.refresh(namespace),
    )
    sidecars = Sidecars(cache, authority, settings, admittance, context, source.mode_of)
    await context.informers.synced()
    source.start()
    sidecars.start()
    await context.reconcile(PolicyReconciler, RouteReconciler)
    shown = _Shown(authority, address, context.data_dir, context.now())
    server = XdsServer(cache, sidecars.admit)
    xds_port = await server.start(host_port(address, settings.xds_port), shown.grpc_credentials())
    first = bootstrap(host_port(address, xds_port), authority.root)
    proxy = Proxy(settings.image, first, settings.drain)
    webhook = Webhook({PATH: lambda body: review(body, proxy)})
    try:
        port = await webhook.start(address, settings.webhook_port, shown.context)
        await _register(context.client, address, port, authority.root)
        context.tasks.start(sidecars.renew(), "renew", vital=True)
        context.tasks.start(shown.renew(context), "certificate", vital=True)
        await _tell(context, sidecars, host_port(address, xds_port))
    finally:
        await webhook.stop()
        await server.stop()


async def _tell(context: Context, sidecars: Sidecars, where: str) -> None:
    reported = ""
    while True:
        message = f"xDS at {where}: {len(sidecars.connected)} sidecars"
        if message != reported:
            context.ready(message)
            reported = message
        await asyncio.sleep(_PERIOD)


async def _register(client: Client, address: str, port: int, root: str) -> None:
    kind = admissionregistration_v1.MutatingWebhookConfiguration
    patch = {"webhooks": to_builtins(configuration(address, port, root))["webhooks"]}
    await client.patch(kind, WEBHOOK, patch, media=MERGE)


class _Shown:
    """What the two servers show of themselves: a certificate of the mesh's authority, which is
    replaced while they run."""

    def __init__(self, authority: Authority, address: str, folder: Path, now: float) -> None:
        self._authority = authority
        self._address = address
        self._folder = folder
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._replace(now)

    def _replace(self, now: float) -> None:
        self._pair = self._authority.server(self._address, now, _SERVER)
        show(self.context, self._pair, self._folder)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        shown = self._pair

        def newer() -> grpc.ServerCertificateConfiguration | None:
            """Called at every handshake, in a thread of gRPC's."""
            nonlocal shown
            if shown is self._pair:
                return None
            shown = self._pair
            return _configuration(shown)

        return grpc.dynamic_ssl_server_credentials(_configuration(shown), newer)

    async def renew(self, context: Context) -> None:
        while True:
            await asyncio.sleep(_RENEWED)
            self._replace(context.now())


def _configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(pair.key.encode(), pair.certificate.encode())]
    )
