"""Health check node ports: a load balancer asks each node there whether it has pods of a service
whose traffic stays local (externalTrafficPolicy: Local).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable

from aiohttp import web

from tiphys.api import discovery_v1
from tiphys.network.proxy.endpoints import ServiceKey

log = logging.getLogger(__name__)


class HealthChecks:
    """A server for each service that has such a port, at the node's `addresses`. Where the proxy is
    not healthy, no node port is."""

    def __init__(
        self, addresses: Iterable[str], is_healthy: Callable[[], bool] = lambda: True
    ) -> None:
        self._addresses = tuple(addresses)
        self._is_healthy = is_healthy
        self._checks: dict[ServiceKey, _Check] = {}

    async def put(self, service: ServiceKey, port: int, count: int) -> None:
        """What a service has: its port, 0 for none, and how many endpoints on the node."""
        check = self._checks.get(service)
        if check is not None and check.port != port:
            await self._checks.pop(service).stop()
            check = None
        if not port:
            return
        if check is None:
            check = self._checks[service] = _Check(service, port, self._is_healthy)
        check.count = count
        await self.retry()

    async def retry(self) -> None:
        """Opens the ports that were taken before."""
        for check in self._checks.values():
            await check.start(self._addresses)

    async def close(self) -> None:
        while self._checks:
            await self._checks.popitem()[1].stop()


def local_endpoints(slices: Iterable[discovery_v1.EndpointSlice], node: str) -> int:
    """How many ready endpoints the node has of a service: of the family of which it has more, for
    most pods are in the slices of both."""
    addresses: dict[str, set[str]] = {}
    for endpoint_slice in slices:
        of_family = addresses.setdefault(endpoint_slice.address_type, set())
        for endpoint in endpoint_slice.endpoints:
            if endpoint.node_name == node and endpoint.conditions.ready is not False:
                of_family.update(endpoint.addresses[:1])
    return max(map(len, addresses.values()), default=0)


class _Check:
    """The server of one service. `count` is what it says."""

    def __init__(self, service: ServiceKey, port: int, is_healthy: Callable[[], bool]) -> None:
        self._service = service
        self.port = port
        self._is_healthy = is_healthy
        self.count = 0
        self._runner: web.ServerRunner | None = None

    async def start(self, addresses: Iterable[str]) -> None:
        """Does nothing when it runs. Where the port is taken, it stays closed."""
        if self._runner is not None:
            return
        server = web.Server(self._answer, access_log=None)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            for address in addresses:
                await web.TCPSite(runner, address, self.port).start()
        except OSError as error:
            name = "/".join(self._service)
            log.warning("The health check node port of service %s is not open: %s", name, error)
            await runner.cleanup()
            return
        self._runner = runner

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        """The body and headers are kube-proxy's."""
        is_healthy = self._is_healthy()
        body = {
            "service": self._service._asdict(),
            "localEndpoints": self.count,
            "serviceProxyHealthy": is_healthy,
        }
        headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(self.count),
        }
        return web.Response(
            status=200 if self.count and is_healthy else 503,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers=headers,
        )
