"""A small HTTP router that takes its routes from a route server: ``python -m
tiphys.addons.routeserver.router``.

It stands in for Skipper, which is in no package registry: it reads the same tables and knows the
predicates and filters that `matching` and `proxying` list. It is there to try the route server with
and to prove what that promises:

- it is not ready before its first table (Skipper's ``-wait-first-route-load``);
- when the server is away it continues with the table it has;
- in mode Pre it routes by what it reads of the cluster itself, and reports how the server's table
  differs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from tiphys.addons.routeserver.comparing import Difference, differences
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.eskip import Route
from tiphys.addons.routeserver.fetching import Fetcher
from tiphys.addons.routeserver.matching import Matcher, Request
from tiphys.addons.routeserver.polling import INTERVAL, Poller
from tiphys.addons.routeserver.proxying import Backends, exchange_of
from tiphys.addons.routeserver.table import Table, Tables
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.client.tasks import TaskGroup

MODES = ("False", "Pre", "Exec")


class _Direct(Tables):
    """The router's own reading of the cluster, in modes False and Pre."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router = router

    def load(self, table: Table) -> bool:
        changed = super().load(table)
        if changed:
            self._router.use(table.routes)
        return changed


class Router:
    """`routes` are those it works by; `served` are the server's, which in mode Pre are only
    compared."""

    def __init__(self, mode: str, url: str, client: Client | None, tasks: TaskGroup) -> None:
        self.mode = mode
        self.routes: Sequence[Route] = ()
        self.served: Sequence[Route] = ()
        self._url = url
        self._client = client
        self._tasks = tasks
        self._matcher: Matcher | None = None
        self._session: aiohttp.ClientSession | None = None
        self._runners: list[web.ServerRunner] = []
        self.fetcher: Fetcher | None = None

    @property
    def ready(self) -> bool:
        return self._matcher is not None

    def use(self, routes: Sequence[Route]) -> None:
        """From now on requests go by these."""
        self._matcher = Matcher(routes)
        self.routes = routes

    def difference(self) -> list[Difference]:
        """How the server's table is another than the one in use."""
        return differences(self.routes, self.served)

    async def start(
        self, options: Options, address: str, port: int, support: int, interval: float = INTERVAL
    ) -> tuple[int, int]:
        """Listens for requests and, on the support port, for questions about itself; returns both
        ports."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        if self.mode != "Exec":
            assert self._client is not None, "modes False and Pre read the cluster"
            poller = Poller(self._client, options, _Direct(self), interval=interval)
            self._tasks.start(poller.run(), "polling", vital=True)
        if self.mode != "False":
            self.fetcher = Fetcher(self._url, self._take_served, interval, self._session)
            self._tasks.start(self.fetcher.run(), "fetching", vital=True)
        backends = Backends(self._session)

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(backends, request)

        return (
            await self._listen(answer, address, port),
            await self._listen(self._about, address, support),
        )

    async def _listen(self, answer: object, address: str, port: int) -> int:
        server = web.Server(answer, access_log=None)  # type: ignore[arg-type]
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, address, port).start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def _take_served(self, routes: Sequence[Route]) -> None:
        self.served = routes
        if self.mode == "Exec":
            self.use(routes)

    async def _answer(self, backends: Backends, request: web.BaseRequest) -> web.StreamResponse:
        if self._matcher is None:
            return web.Response(status=503, text="no routes yet\n")
        asked = Request(
            request.method, request.host, request.path, request.headers, random.random()
        )
        route = self._matcher.find(asked)
        if route is None:
            return web.Response(status=404)
        body = request.content if request.body_exists else None
        return await backends.answer(route, exchange_of(request), body)

    async def _about(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/ready":
            return web.Response(status=200 if self.ready else 503)
        if request.path == "/diff":
            lines = [str(each) for each in self.difference()]
            return web.Response(text="".join(f"{line}\n" for line in lines))
        return web.Response(status=404)


async def run(arguments: argparse.Namespace) -> None:
    tasks = TaskGroup("router")
    async with contextlib.AsyncExitStack() as stack:
        client = None
        if arguments.mode != "Exec":
            kubeconfig = Path(arguments.kubeconfig) if arguments.kubeconfig else None
            client = await stack.enter_async_context(Client(load(kubeconfig), agent="router"))
        router = Router(arguments.mode, arguments.routes, client, tasks)
        stack.push_async_callback(tasks.stop)
        stack.push_async_callback(router.stop)
        options = Options(zone=arguments.zone)
        ports = await router.start(options, arguments.address, arguments.port, arguments.support)
        print(f"routes requests at {ports[0]}, tells of itself at {ports[1]}", flush=True)
        await tasks.failed.wait()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Raises SystemExit with a line on how it is used."""
    parser = argparse.ArgumentParser(
        prog="router", description="routes HTTP by a route server's table"
    )
    parser.add_argument(
        "--routes", default="http://127.0.0.1:9990/routes", help="where the table is"
    )
    parser.add_argument("--mode", choices=MODES, default="Exec")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    parser.add_argument("--support", type=int, default=9911, help="port of /ready and /diff")
    parser.add_argument("--zone", default="", help="of modes False and Pre")
    parser.add_argument("--kubeconfig", default="", help="of modes False and Pre")
    return parser.parse_args(given)


def main() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(arguments()))


if __name__ == "__main__":
    main()
