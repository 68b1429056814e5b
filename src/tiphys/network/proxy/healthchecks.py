"""Health check node ports: a load balancer asks each node there whether it has pods of a service
whose traffic stays local (externalTrafficPolicy: Local).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import web

from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy.endpoints import ServiceKey, service_key

log = logging.getLogger(__name__)


class _Wanted(NamedTuple):
    service: ServiceKey
    port: int


class HealthChecks:
    """A server for each service that has such a port, at the node's `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._checks: dict[_Wanted, _Check] = {}

    async def sync(
        self,
        services: Iterable[core_v1.Service],
        slices: Iterable[discovery_v1.EndpointSlice],
        node: str,
    ) -> None:
        """Starts, stops and updates the servers to what the services say."""
        wanted = {
            _Wanted(
                ServiceKey(service.metadata.namespace, service.metadata.name),
                service.spec.health_check_node_port,
            )
            for service in services
            if service.spec.health_check_node_port
        }
        for key in self._checks.keys() - wanted:
            await self._checks.pop(key).stop()
        if not wanted:
            return
        counts = local_endpoints(slices, node)
        for key in wanted:
            check = self._checks.setdefault(key, _Check(key.service))
            check.count = counts.get(key.service, 0)
            await check.start(self._address, key.port)


def local_endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], node: str
) -> dict[ServiceKey, int]:
    """How many ready endpoints the node has of each service."""
    addresses: dict[ServiceKey, set[str]] = {}
    for endpoint_slice in slices:
        of_service = addresses.setdefault(service_key(endpoint_slice), set())
        for endpoint in endpoint_slice.endpoints:
            if endpoint.node_name == node and endpoint.conditions.ready is not False:
                of_service.update(endpoint.addresses)
    return {key: len(of_service) for key, of_service in addresses.items()}


class _Check:
    """The server of one service. `count` is what it says."""

    def __init__(self, service: ServiceKey) -> None:
        self._service = service
        self.count = 0
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Does nothing when it runs. Where the port is taken, the next change of any service tries
        again."""
        if self._runner is not None:
            return
        server = web.Server(self._answer, access_log=None)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
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
        body = {
            "service": self._service._asdict(),
            "localEndpoints": self.count,
            "serviceProxyHealthy": True,
        }
        headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(self.count),
        }
        return web.Response(
            status=200 if self.count else 503,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers=headers,
        )
