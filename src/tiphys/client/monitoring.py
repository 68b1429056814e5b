"""The page of metrics and the health checks of a component that has no other server: controllers,
scheduler, add-ons.

As with upstream's components, whoever is asked for is served over TLS; the API server says whose a
token is, and who may get ``/metrics``. Health checks are for everybody.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tiphys.api.base import encode
from tiphys.client.client import Client
from tiphys.client.delegation import (
    ANONYMOUS,
    Asked,
    Caller,
    Delegation,
    ReviewError,
    caller_of,
    has_ended,
)
from tiphys.client.exposition import render
from tiphys.client.servertls import fault_of, server_context
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

_HEALTH = frozenset(("/healthz", "/livez", "/readyz"))
_METRICS = "/metrics"
_RETRY = 10.0  # seconds until a port that another process has is tried again
_SHUTDOWN = 1  # seconds that connections have when the server stops


@dataclass(frozen=True)
class Endpoint:
    """Where a component serves. Files are PEM; `client_ca` signs the certificates of callers."""

    address: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path

    def context(self) -> ssl.SSLContext:
        """Callers without a certificate come with a token."""
        return server_context(self.certificate, self.key, self.client_ca)


class MonitoringServer:
    """Serves the metrics of the component whose `client` it is given."""

    def __init__(self, client: Client) -> None:
        self._registry = client.metrics.registry
        self._delegation = Delegation(client)
        self._rendering = asyncio.Lock()  # one page at a time: each takes a thread

    async def run(self, endpoint: Endpoint) -> None:
        """Serves until it is cancelled. A port that is taken is tried again: a component also
        works without its metrics."""
        server = web.Server(self._answer, access_log=None)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await self._listen(runner, endpoint)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.ServerRunner, endpoint: Endpoint) -> None:
        context = endpoint.context()
        while True:
            site = web.TCPSite(runner, endpoint.address, endpoint.port, ssl_context=context)
            try:
                await site.start()
                return
            except OSError as error:
                await site.stop()
                log.warning("Metrics are not served on port %d: %s", endpoint.port, error)
            await asyncio.sleep(_RETRY)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._page(request)
        except StatusError as error:
            return web.Response(
                status=error.code,
                body=encode(error.status),
                content_type="application/json",
            )

    async def _page(self, request: web.BaseRequest) -> web.Response:
        """Raises StatusError."""
        path = request.path
        if path in _HEALTH:
            return web.Response(text="ok")
        await self._check(request, path)
        if path != _METRICS:
            raise errors.page_not_found()
        if request.method not in ("GET", "HEAD"):
            raise errors.method_refused()
        accept = request.headers.get("Accept", "")
        accept_encoding = request.headers.get("Accept-Encoding", "")
        async with self._rendering:
            page = await asyncio.to_thread(render, self._registry, accept, accept_encoding)
        return web.Response(body=page.body, headers=page.headers)

    async def _check(self, request: web.BaseRequest, path: str) -> None:
        """Raises StatusError 401, 403, or 500 if the API server does not answer the reviews."""
        verb = request.method.lower()
        try:
            caller = await self._caller(request)
            if await self._delegation.allows(caller, Asked(verb, path=path)):
                return
        except ReviewError as error:
            raise errors.internal(str(error)) from None
        raise errors.path_forbidden(caller.name, verb, path)

    async def _caller(self, request: web.BaseRequest) -> Caller:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        caller = caller_of(certificate)
        if caller is not None:
            return caller
        authorization = request.headers.get("Authorization", "")
        is_bad = fault_of(transport) or (certificate and has_ended(certificate))
        if not authorization and not is_bad:
            return ANONYMOUS
        caller = await self._delegation.bearer(authorization)
        if caller is None:
            raise errors.unauthorized()
        return caller
