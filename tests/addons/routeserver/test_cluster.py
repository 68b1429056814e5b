"""The add-on on a cluster: from objects to a router's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml

from tiphys.addons import OPTIONAL, installing, types
from tiphys.addons.host import Host
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.eskip import Route, read_routes
from tiphys.addons.routeserver.router import Router
from tiphys.api import core_v1
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster

EXAMPLE = Path(__file__).parents[3] / "src/tiphys/addons/routeserver/example/shop.yaml"
PATHS = {
    "Service": "/api/v1/namespaces/default/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "RouteGroup": "/apis/zalando.org/v1/namespaces/default/routegroups",
}
INTERVAL = 0.1


class Served:
    """A cluster with the add-on, whose server polls faster than it would in earnest."""

    def __init__(self, cluster: LocalCluster, url: str) -> None:
        self.cluster, self.url = cluster, url

    async def create(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            body = msgspec.json.encode(obj)
            await self.cluster.client.request("POST", PATHS[obj["kind"]], body)

    async def delete(self, kind: str) -> None:
        await self.cluster.client.request("DELETE", PATHS[kind])

    async def text(self, path: str = "/routes") -> str:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return await answer.text()

    async def routes(self) -> dict[str, Route]:
        return {route.id: route for route in read_routes(await self.text())}

    async def has(self, *ids: str) -> None:
        async def there() -> bool:
            text = await self.text()
            return all(f"{id_}:" in text for id_ in ids)

        await self.cluster.eventually(there)

    async def counts(self, key: str) -> int:
        lines = (await self.text("/metrics")).splitlines()
        return next(int(line.rsplit(" ", 1)[1]) for line in lines if f'"{key}"' in line)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    addon = OPTIONAL["routeserver"]
    async with LocalCluster() as cluster:
        settings = installing.settings_of(addon, ["port=0", f"interval={INTERVAL}"])
        await installing.enable(cluster.client, addon, settings)
        Host(cluster.client_as(installing.HOST), OPTIONAL, tmp_path, cluster.tasks).start()

        async def address() -> str:
            status = (await cluster.client.get(types.Addon, addon.name)).status
            ready = conditions.find(status.conditions, "Ready")
            return ready.message.partition("/routes")[0] if ready and ready.status == "True" else ""

        yield Served(cluster, await cluster.eventually(address))


def example() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(EXAMPLE.read_text()))


INGRESS = "kube_default__shop__shop_example_org_____shop"
GROUP = "kube_rg__default__terms__get__0_0"


async def test_the_example_is_served(served: Served) -> None:
    await served.create(*example())
    await served.has(INGRESS, GROUP)
    routes = await served.routes()
    assert routes[INGRESS].backend.address == "http://192.0.2.10:8080"


async def test_a_broken_object_gets_an_event_and_others_stay(served: Served) -> None:
    broken = example()[3]
    broken["metadata"] = {
        "name": "broken",
        "annotations": {"zalando.org/skipper-filter": "setPath("},
    }
    await served.create(broken, *example())
    await served.has(INGRESS, GROUP)
    assert "broken" not in await served.text()

    async def told() -> bool:
        events = (await served.cluster.client.list(core_v1.Event)).items
        return [e.involved_object.name for e in events if e.reason == "NotRouted"] == ["broken"]

    await served.cluster.eventually(told)


async def test_when_all_objects_are_gone_the_last_table_stays(served: Served) -> None:
    await served.create(*example())
    await served.has(INGRESS, GROUP)
    await served.delete("Ingress")
    await served.delete("RouteGroup")

    async def counted() -> bool:
        return await served.counts("routes.empty") > 1

    await served.cluster.eventually(counted)
    assert await served.routes()


async def asks(port: int, host: str, path: str = "/") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host}) as answer,
    ):
        return answer.status, await answer.text()


Started = Callable[[str], Awaitable[tuple[Router, int, int]]]


@pytest.fixture
async def start(served: Served) -> AsyncIterator[Started]:
    """Starts a router in a mode; with its ports."""
    routers: list[Router] = []

    async def started(mode: str) -> tuple[Router, int, int]:
        cluster = served.cluster
        router = Router(mode, f"{served.url}/routes", cluster.client, cluster.tasks)
        routers.append(router)
        return router, *await router.start(Options(), "127.0.0.1", 0, 0, INTERVAL)

    yield started
    for router in routers:
        await router.stop()


async def test_a_router_is_not_ready_before_its_first_table(served: Served, start: Started) -> None:
    router, port, support = await start("Exec")
    assert (await asks(support, "any", "/ready"))[0] == 503
    assert (await asks(port, "terms.example.org"))[0] == 503
    await served.create(*example())
    await served.cluster.eventually(lambda: router.ready)
    assert (await asks(support, "any", "/ready"))[0] == 200
    assert await asks(port, "terms.example.org") == (200, "Pay, then we send it.")


async def test_pre_changes_nothing_and_says_what_exec_would(served: Served, start: Started) -> None:
    await served.create(*example())
    router, port, support = await start("Pre")
    await served.cluster.eventually(lambda: router.routes and router.served)
    await served.cluster.eventually(lambda: not router.difference())
    wrong = [each for each in router.served if each.id != GROUP]
    router.served = [*wrong, Route(GROUP)]
    assert (await asks(support, "any", "/diff"))[1].splitlines()[1] == f"+ {GROUP}: * -> <shunt>"
    assert [each.id for each in router.difference()] == [GROUP]
    assert await asks(port, "terms.example.org") == (200, "Pay, then we send it.")
