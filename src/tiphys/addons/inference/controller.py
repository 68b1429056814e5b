"""The add-on at work: the webhook between the versions, the reconcilers, and the router."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from base64 import b64encode
from pathlib import Path

from tiphys.addons.authority import Authority, AuthorityError, kept_authority, show
from tiphys.addons.inference import AUTHORITY, GROUP, KINDS, Settings, conversion
from tiphys.addons.inference.endpoints import (
    InferenceEndpointConfigs,
    JumpStartModels,
    Registrations,
)
from tiphys.addons.inference.router import Router
from tiphys.addons.installing import AddonError
from tiphys.addons.optional import Context
from tiphys.addons.reviews import converted
from tiphys.addons.webhook import Webhook, api_server_address
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.client.client import MERGE, Client
from tiphys.machinery.addresses import authority as host_port
from tiphys.network.xds.envoy import Envoy, NoEnvoy, program

_PATH = "/convert"
_LARGEST = 64 << 20  # bytes: a list is converted as a whole
_STARTING = 30.0  # seconds that Envoy may take until it serves
_SERVER = 365 * 24 * 3600  # seconds that the webhook's certificate is valid


async def run(context: Context) -> None:
    """Until it is cancelled. Raises AddonError when there is no Envoy, OSError when the webhook's
    port is taken."""
    settings: Settings = context.settings
    try:
        path = program(settings.envoy)
        authority = await kept_authority(
            context.client, AUTHORITY, GROUP, context.now(), "Tiphys inference"
        )
    except (NoEnvoy, AuthorityError) as error:
        raise AddonError(str(error)) from None
    sockets = Path(tempfile.mkdtemp(prefix="tiphys-inference-"))  # short, as names of sockets are
    webhook = Webhook({_PATH: lambda body: converted(body, conversion.converted)}, _LARGEST)
    router = Router(context, authority)
    try:
        await _serve_conversion(context, webhook, authority)
        router.watch()
        await context.informers.synced()
        await context.reconcile(InferenceEndpointConfigs, JumpStartModels, Registrations)
        await router.server.start(f"unix:{sockets / 'xds'}")
        await router.publish()
        envoy = Envoy(path, sockets, context.data_dir / "envoy.log", "inference")
        context.tasks.start(envoy.run(), "envoy", vital=True)
        context.tasks.start(router.renew(), "renew", vital=True)
        async with asyncio.timeout(_STARTING):
            await envoy.ready()
        await router.follow()
    finally:
        await router.server.stop()
        await webhook.stop()
        shutil.rmtree(sockets, ignore_errors=True)


async def _serve_conversion(context: Context, webhook: Webhook, authority: Authority) -> None:
    settings: Settings = context.settings
    address = settings.webhook_address or await api_server_address(context.client)
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.server(address, context.now(), _SERVER)
    show(shown, pair, context.data_dir)
    port = await webhook.start(address, settings.webhook_port, shown)
    for plural in KINDS:
        await _register(context.client, plural, host_port(address, port), authority.root)


async def _register(client: Client, plural: str, where: str, root: str) -> None:
    bundle = b64encode(root.encode()).decode()
    patch = {
        "spec": {
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {
                        "url": f"https://{where}{_PATH}",
                        "caBundle": bundle,
                    },
                    "conversionReviewVersions": ["v1"],
                },
            }
        }
    }
    name = f"{plural}.{GROUP}"
    await client.patch(CustomResourceDefinition, name, patch, media=MERGE)
