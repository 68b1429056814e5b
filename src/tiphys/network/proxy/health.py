"""How the proxy itself is, for load balancers that ask at port 10256: /healthz says whether the
node takes new connections, /livez whether the proxy works. Paths and bodies are kube-proxy's.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tiphys.api import core_v1

log = logging.getLogger(__name__)

PORT = 10256
_LATE_SECONDS = 60.0  # for changes to wait: twice kube-proxy's period
_TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


class ProxyHealth:
    """`queued` and `updated` are called as changes come and are in force. `clock` is monotonic,
    `probed` is called with each answer: its path and status."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        probed: Callable[[str, int], None] = lambda path, status: None,
    ) -> None:
        self._clock = clock
        self.probed = probed
        self._waiting_since: float | None = None
        self._last_updated = datetime.now(UTC)
        self.node: core_v1.Node | None = None

    def queued(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._clock()

    def updated(self) -> None:
        self._waiting_since = None
        self._last_updated = datetime.now(UTC)

    def is_healthy(self) -> bool:
        since = self._waiting_since
        return since is None or self._clock() - since < _LATE_SECONDS

    def is_node_eligible(self) -> bool:
        """Not for a node that is going, or that an autoscaler is about to delete."""
        node = self.node
        if node is None or node.metadata.deletion_timestamp:
            return False
        return all(taint.key != _TO_BE_DELETED for taint in node.spec.taints)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        is_healthy = self.is_healthy()
        is_fine = is_healthy
        body: dict[str, Any] = {}
        if path == "/healthz":
            body["nodeEligible"] = self.is_node_eligible()
            is_fine = is_healthy and body["nodeEligible"]
        now = datetime.now(UTC)
        updated = now if is_fine else self._last_updated
        body["lastUpdated"] = updated.isoformat()
        body["currentTime"] = now.isoformat()
        body["healthy"] = is_healthy
        return 200 if is_fine else 503, body


async def serve(health: ProxyHealth, addresses: list[str], port: int = PORT) -> web.ServerRunner:
    """A server that runs until its `cleanup`. Where the port is taken, a warning says so: the
    services work all the same."""

    async def respond(request: web.BaseRequest) -> web.Response:
        if request.path not in ("/healthz", "/livez"):
            return web.Response(status=404, text="404 page not found\n")
        status, body = health.answer(request.path)
        health.probed(request.path, status)
        return web.Response(
            status=status,
            body=json.dumps(body).encode(),
            content_type="application/json",
            headers={"X-Content-Type-Options": "nosniff"},
        )

    server = web.Server(respond, access_log=None)
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
    await runner.setup()
    for address in addresses:
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            log.warning("The proxy's health is not served at %s: %s", address, error)
    return runner
