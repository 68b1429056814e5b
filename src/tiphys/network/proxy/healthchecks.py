"""Health check node ports: load balancers ask nodes there whether they have pods of a service whose traffic stays local."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from aiohttp import web

from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy.rules import SERVICE

log = logging.getLogger(__name__)


class HealthChecks:
    """A server for each service that has such a port, at the node's `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._servers: dict[tuple[str, str, int], _Check] = {}

    async def sync(
        self,
        services: Iterable[core_v1.Service],
        slices: Iterable[discovery_v1.EndpointSlice],
        node: str,
    ) -> None:
        wanted = {
            (s.metadata.namespace, s.metadata.name, s.spec.health_check_node_port)
            for s in services
            if s.spec.health_check_node_port
        }
        for key in self._servers.keys() - wanted:
            await self._servers.pop(key).stop()
        if not wanted:
            return
        counts = _local_endpoints(slices, node)
        for key in wanted:
            if key not in self._servers:
                self._servers[key] = _Check(*key[:2])
            check = self._servers[key]
            check.count = counts.get(key[:2], 0)
            await check.start(self._address, key[2])


class _Check:
    def __init__(self, namespace: str, name: str) -> None:
        self._service = {"namespace": namespace, "name": name}
        self.count = 0
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str, port: int) -> None:
        if self._runner is not None:
            return
        runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), access_log=None, shutdown_timeout=1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:  # somebody else has it: tried again with the next change
            log.warning("the health check node port of %s: %s", self._service["name"], error)
            await runner.cleanup()
            return
        self._runner = runner

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = {"service": self._service, "localEndpoints": self.count, "serviceProxyHealthy": True}
        headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(self.count),
        }
        status = 200 if self.count else 503
        return web.Response(
            status=status,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers=headers,
        )


def _local_endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], node: str
) -> dict[tuple[str, str], int]:
    """How many ready endpoints the node has, by namespace and name of their service."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in slices:
        mine = found.setdefault(
            (one.metadata.namespace, one.metadata.labels.get(SERVICE, "")), set()
        )
        for endpoint in one.endpoints:
            if endpoint.node_name == node and endpoint.conditions.ready is not False:
                mine.update(endpoint.addresses)
    return {key: len(addresses) for key, addresses in found.items()}
