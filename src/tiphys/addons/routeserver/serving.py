"""The server that routers ask: /routes and /routes/{zone} with an ETag, /health, and /metrics.

Before the first load /routes is 404 and /health 503, so that a router that is configured to wait
for its first routes waits.
"""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from tiphys.addons.routeserver.polling import Poller
from tiphys.addons.routeserver.table import Tables

COUNT = "X-Count"
"""The header with the number of routes, as Skipper's route server sends it."""

_TEXT = "text/plain; charset=utf-8"


class RouteServer:
    """`answers` counts statuses, `sent` the bytes of bodies."""

    def __init__(self, tables: Tables, poller: Poller | None = None) -> None:
        self._tables = tables
        self._poller = poller
        self._runner: web.ServerRunner | None = None
        self.answers: Counter[int] = Counter()
        self.sent = 0

    async def start(self, address: str, port: int) -> int:
        """Listens; returns the port, which is another than the one given for 0. Raises OSError."""
        server = web.Server(self._answer, access_log=None)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError:
            await self.stop()
            raise
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = self._respond(request)
        self.answers[response.status] += 1
        body = response.body
        if isinstance(body, bytes) and request.method != "HEAD":
            self.sent += len(body)
        return response

    def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        path = request.path
        if path == "/routes":
            return self._routes(request, "")
        if path.startswith("/routes/") and "/" not in path[8:] and path[8:]:
            return self._routes(request, path[8:])
        if path == "/health":
            return self._health()
        if path == "/metrics":
            return web.Response(text=self.metrics(), headers={"Content-Type": _TEXT})
        return web.Response(status=404)

    def _health(self) -> web.Response:
        if self._tables.current is None:
            return web.Response(status=503, text="routes were not loaded yet\n")
        return web.Response(status=204)

    def _routes(self, request: web.BaseRequest, zone: str) -> web.Response:
        table = self._tables.current
        if table is None:
            return web.Response(status=404)
        body = table.body(zone)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        etag = f'"{body.digest}+gzip"' if packed else f'"{body.digest}"'
        headers = {"Content-Type": _TEXT, COUNT: str(body.count), "ETag": etag}
        headers["Vary"] = "Accept-Encoding"
        if is_known(request.headers.get("If-None-Match", ""), etag):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body.packed if packed else body.text, headers=headers)

    def metrics(self) -> str:
        """Counters under the names that Skipper's route server gives them, in the format of
        Prometheus."""
        table = self._tables.current
        counters = {
            "routes.empty": self._tables.empty,
            "routes.updated": self._tables.updates,
            "routes.fetch_errors": self._poller.failures if self._poller is not None else 0,
            "routes.polls": self._poller.polls if self._poller is not None else 0,
            **{str(status): count for status, count in sorted(self.answers.items())},
        }
        gauges = {
            "routes.total": table.complete.count if table is not None else 0,
            "routes.byte": len(table.complete.text) if table is not None else 0,
        }
        lines = ["# TYPE routesrv_custom_total counter"]
        lines += [f'routesrv_custom_total{{key="{k}"}} {v}' for k, v in counters.items()]
        lines += ["# TYPE routesrv_custom_gauges gauge"]
        lines += [f'routesrv_custom_gauges{{key="{k}"}} {v}' for k, v in gauges.items()]
        return "\n".join(lines) + "\n"


def is_known(if_none_match: str, etag: str) -> bool:
    """Whether the client has what the ETag stands for (RFC 9110, 13.1.2: compared weakly)."""
    known = (part.strip().removeprefix("W/") for part in if_none_match.split(","))
    return any(part in (etag, "*") for part in known)
