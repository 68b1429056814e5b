"""The metrics of a node's DNS server, and whether it is ready, over HTTP in the pods' network.

All on one port, the one of CoreDNS' metrics: its ports for health (8080) and readiness (8181) are
those of the node here, and pods of the node's network may have them.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from tiphys.addons.dns.metrics import DNSMetrics
from tiphys.addons.dns.publishing import METRICS_PORT
from tiphys.addons.dns.source import InformerSource
from tiphys.client.exposition import render

log = logging.getLogger(__name__)

_RETRY = 10.0  # seconds until a port in use is retried


class Page:
    """``/metrics``, ``/ready`` (503 until the services are known) and ``/health``."""

    def __init__(self, metrics: DNSMetrics, source: InformerSource) -> None:
        self._metrics = metrics
        self._source = source
        self._rendering = asyncio.Lock()  # one at a time: each takes a thread

    async def serve(self, address: str, port: int = METRICS_PORT) -> None:
        """Until it is cancelled. Names are answered without it, too: a port that is taken is tried
        again."""
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), access_log=None)
        await runner.setup()
        try:
            await self._listen(runner, address, port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.ServerRunner, address: str, port: int) -> None:
        while True:
            site = web.TCPSite(runner, address, port)
            try:
                await site.start()
                return
            except OSError as error:
                await site.stop()
                log.warning("Metrics of cluster DNS are not served on port %d: %s", port, error)
            await asyncio.sleep(_RETRY)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        if request.path == "/health":
            return web.Response(text="OK")
        if request.path == "/ready":
            ready = self._source.has_synced
            return web.Response(status=200 if ready else 503, text="OK" if ready else "kubernetes")
        if request.path != "/metrics":
            return web.Response(status=404)
        accept = request.headers.get("Accept", "")
        compression = request.headers.get("Accept-Encoding", "")
        async with self._rendering:
            page = await asyncio.to_thread(render, self._metrics.registry, accept, compression)
        return web.Response(body=page.body, headers=page.headers)
