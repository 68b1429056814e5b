"""The add-on at work: an xDS server that follows the cluster's services."""

from __future__ import annotations

import asyncio

from tiphys.addons.optional import Context
from tiphys.machinery.addresses import authority
from tiphys.network.xds.cache import CLUSTER, Cache
from tiphys.network.xds.server import XdsServer
from tiphys.network.xds.source import ServiceSource

_PERIOD = 5.0  # seconds between updates of what `tiphys addon status` reports


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when the address is taken."""
    cache = Cache()
    source = ServiceSource(cache, context.informers)
    await context.informers.synced()
    source.start()
    server = XdsServer(cache)
    settings = context.settings
    port = await server.start(authority(settings.address, settings.port))
    where = f"xDS at {authority(settings.address, port)}"
    reported = ""
    try:
        while True:
            message = f"{where}: {len(cache.all(CLUSTER))} ports, {len(server.connections)} clients"
            if message != reported:
                context.ready(message)
                reported = message
            await asyncio.sleep(_PERIOD)
    finally:
        await server.stop()
