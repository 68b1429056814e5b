"""300 routers at one server: what it costs the API server, and what is left when the server is gone. Takes five minutes."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from tests.addons.routeserver.processes import Api, RouterProcess, Server, api, eventually
from tiphys.addons.routeserver.eskip import Route, read_routes
from tiphys.addons.routeserver.fetching import Fetcher
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.client.tasks import TaskGroup

pytestmark = pytest.mark.slow

MANY, FEW = 300, 3
OBJECTS = 300  # Ingresses, and as many services
WINDOW = 60.0  # seconds that are counted
INTERVAL = 3.0
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
GROUPS = "/apis/zalando.org/v1/namespaces/default/routegroups"
READ = ("ingresses", "routegroups", "services", "endpointslices")


async def fill(api: Api, count: int) -> None:
    """Ingresses of as many services, with three pods each."""
    for number in range(count):
        name = f"shop-{number}"
        port = {"name": "http", "port": 80, "targetPort": 8080}
        meta = {"name": name}
        await api.create(SERVICES, {"metadata": meta, "spec": {"ports": [port]}})
        labels = {"kubernetes.io/service-name": name}
        endpoints = [
            {"addresses": [f"10.{pod}.{number // 250}.{number % 250}"]} for pod in range(1, 4)
        ]
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
        slice_ = {"metadata": {**meta, "labels": labels}, "addressType": "IPv4"}
        await api.create(SLICES, {**slice_, "endpoints": endpoints, "ports": ports})
        await api.create(INGRESSES, ingress(name, name))


def ingress(name: str, to: str) -> dict[str, Any]:
    backend = {"service": {"name": to, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    rule = {"host": f"{name}.example.org", "http": {"paths": [path]}}
    return {"metadata": {"name": name}, "spec": {"rules": [rule]}}


# Routers read their tables each in a process of its own. Here they are in one, which reads a table once.
read_once = functools.lru_cache(maxsize=4)(read_routes)


class Pollers:
    """Routers, without what they route. `tables` counts those that have each number of routes."""

    def __init__(self, url: str, count: int) -> None:
        self.tables: list[int] = [0] * count
        self._url = f"{url}/routes"
        self.fetchers: list[Fetcher] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pollers]:
        tasks = TaskGroup("pollers")
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            for index in range(len(self.tables)):
                take = self._taker(index)
                fetcher = Fetcher(self._url, take, INTERVAL, session, read_once)
                self.fetchers.append(fetcher)
                delay = INTERVAL * index / len(self.tables)
                tasks.start(fetcher.run(delay), f"poller-{index}", vital=True)
            try:
                yield self
            finally:
                await tasks.stop()

    def _taker(self, index: int) -> Any:
        def take(routes: Sequence[Route]) -> None:
            self.tables[index] = len(routes)

        return take

    async def all_have(self, count: int, seconds: float = 30.0) -> None:
        async def have() -> bool:
            return all(table >= count for table in self.tables)

        await eventually(have, seconds)

    def answers(self) -> Counter[int]:
        return sum((fetcher.answers for fetcher in self.fetchers), Counter())

    def received(self) -> int:
        return sum(fetcher.received for fetcher in self.fetchers)


class Counted(NamedTuple):
    """Of one window: lists of each resource, CPU seconds of the API server, answers, bytes of bodies."""

    lists: dict[str, int]
    cpu: float
    answers: Counter[int]
    received: int


async def count(api: Api, pollers: Pollers) -> Counted:
    lists, cpu = await api.lists(), api.process.cpu()
    answers, received = pollers.answers(), pollers.received()
    await asyncio.sleep(WINDOW)  # the window itself
    after = await api.lists()
    return Counted(
        {resource: after.get(resource, 0) - lists.get(resource, 0) for resource in READ},
        api.process.cpu() - cpu,
        pollers.answers() - answers,
        pollers.received() - received,
    )


async def direct(api: Api, seconds: float) -> tuple[int, float]:
    """Every router reads the cluster itself: whole polls made, and the API server's CPU seconds."""
    polls = 0
    paths = (
        "/apis/networking.k8s.io/v1/ingresses",
        "/apis/zalando.org/v1/routegroups",
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
    )

    async def router(client: Client, delay: float) -> None:
        nonlocal polls
        await asyncio.sleep(delay)
        while True:
            began = time.monotonic()
            for path in paths:
                await client.request("GET", path)
            polls += 1
            await asyncio.sleep(max(INTERVAL - (time.monotonic() - began), 0))

    tasks = TaskGroup("direct")
    async with Client(load(api.kubeconfig), "direct") as client:
        for index in range(MANY):
            tasks.start(router(client, INTERVAL * index / MANY), f"router-{index}", vital=True)
        cpu = api.process.cpu()
        await asyncio.sleep(seconds)  # the window itself
        used = api.process.cpu() - cpu
        await tasks.stop()
    return polls, used


async def test_300_routers_cost_the_api_server_what_3_do(tmp_path: Path) -> None:
    async with api() as running:
        await fill(running, OBJECTS)
        idle = (await count(running, Pollers("", 0))).cpu
        server = Server(running, tmp_path)
        await server.start()
        try:
            await eventually(server.is_loaded)
            counted = {}
            for pollers in (FEW, MANY):
                async with Pollers(server.url, pollers).running() as polled:
                    await polled.all_have(OBJECTS)
                    counted[pollers] = await count(running, polled)
                    if pollers == MANY:
                        late = await change(running, server, polled)
        finally:
            await server.kill()
        polls, used = await direct(running, 20.0)
    few, many = counted[FEW], counted[MANY]
    one_poll = (used - idle * 20.0 / WINDOW) / polls
    served = many.cpu - idle
    wanted = one_poll * MANY * WINDOW / INTERVAL  # if the API server could keep up with them
    print(f"\nlists in {WINDOW:.0f} s: {few.lists} at {FEW}, {many.lists} at {MANY}")
    print(f"CPU of the API server: {few.cpu:.3f} s and {many.cpu:.3f} s, idle {idle:.3f} s")
    print(f"answers: {dict(many.answers)}, {many.received} bytes of bodies")
    print(f"a change reached all {late:.2f} s after the server had it")
    print(f"direct: {polls} polls in 20 s, {one_poll * 1000:.1f} ms each; {wanted:.1f} s a window")
    for seen in (few, many):
        assert all(18 <= reads <= 22 for reads in seen.lists.values())
    assert many.answers[304] >= 0.99 * many.answers.total() > 0.9 * MANY * WINDOW / INTERVAL
    assert many.received == 0
    assert late <= 3.5
    assert wanted >= 50 * served


async def change(api: Api, server: Server, pollers: Pollers) -> float:
    """Seconds from the server's new table to the last router that has it."""
    before = max(pollers.tables)
    await api.create(INGRESSES, ingress("new", "shop-0"))

    async def served() -> bool:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{server.url}/routes") as answer,
        ):
            return int(answer.headers["X-Count"]) > before

    await eventually(served)
    began = time.monotonic()
    await pollers.all_have(before + 1)
    return time.monotonic() - began


# --- the server dies ---


@asynccontextmanager
async def backend() -> AsyncIterator[str]:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="sold")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def group(url: str) -> dict[str, Any]:
    spec = {
        "hosts": ["shop.example.org"],
        "backends": [{"name": "shop", "type": "network", "address": url}],
        "defaultBackends": [{"backendName": "shop"}],
    }
    kind = {"apiVersion": "zalando.org/v1", "kind": "RouteGroup"}
    return {**kind, "metadata": {"name": "shop"}, "spec": spec}


async def buy(port: int, count: int) -> Counter[int]:
    """Requests one after the other, over ten connections."""
    statuses: Counter[int] = Counter()
    url, headers = f"http://127.0.0.1:{port}/", {"Host": "shop.example.org"}
    async with aiohttp.ClientSession() as session:

        async def customer() -> None:
            for _ in range(count // 10):
                async with session.get(url, headers=headers) as answer:
                    statuses[answer.status] += 1

        await asyncio.gather(*(customer() for _ in range(10)))
    return statuses


async def test_routers_go_on_without_the_server_and_new_ones_wait_for_it(tmp_path: Path) -> None:
    async with api() as running, backend() as url:
        await running.create(GROUPS, group(url))
        server = Server(running, tmp_path)
        old, new = RouterProcess(server), RouterProcess(server)
        try:
            await server.start()
            await eventually(server.is_loaded)
            await old.start()
            await eventually(old.is_ready)
            assert await buy(old.port, 1000) == {200: 1000}
            await server.kill()
            await new.start()
            assert await buy(old.port, 3000) == {200: 3000}
            assert not await new.is_ready()
            assert await buy(new.port, 10) == {503: 10}
            await server.start()
            await eventually(new.is_ready)
            assert await buy(new.port, 10) == {200: 10}
        finally:
            for process in (server, old, new):
                await process.kill()
