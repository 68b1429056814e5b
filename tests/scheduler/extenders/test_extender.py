"""Extenders that are really asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.builders import pod
from tests.scheduler.builders import default_account
from tiphys.api import core_v1
from tiphys.scheduler.configuration import ConfigurationError, Profile
from tiphys.scheduler.extenders.configuration import parse_extenders
from tiphys.scheduler.extenders.extender import (
    Extender,
    ExtenderError,
    FilterAnswer,
    Victims,
)
from tiphys.scheduler.main import Scheduler
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Service:
    """Refuses every node but `only`; likes `liked` best; remembers what it was asked."""

    only: tuple[str, ...] = ("hollow-1", "hollow-2")
    liked = "hollow-2"
    broken = False

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        verb, wish = request.match_info["verb"], await request.json()
        self.asked.append((verb, wish))
        if self.broken:
            return web.Response(status=500)
        if verb == "filter":
            names = wish["NodeNames"]
            failed = {name: "not ours" for name in names if name not in self.only}
            return web.json_response(
                {"NodeNames": [n for n in names if n in self.only], "FailedNodes": failed}
            )
        if verb == "preempt":
            left = {n: row for n, row in wish["NodeNameToMetaVictims"].items() if n in self.only}
            return web.json_response({"NodeNameToMetaVictims": left})
        return web.json_response(
            [{"Host": name, "Score": 10 * (name == self.liked)} for name in wish["NodeNames"]]
        )


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    port = free_port()
    made = Service(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/{verb}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made
    await runner.cleanup()


async def test_an_extender_filters_and_weighs(service: Service) -> None:
    asked = Extender(service.url, "filter", "prioritize", weight=5, node_cache_capable=True)
    async with LocalCluster(nodes=3) as cluster:
        await default_account(cluster)
        scheduler = Scheduler(
            cluster.client, cluster.tasks, [Profile("extended", extenders=(asked,))]
        )
        cluster.tasks.start(scheduler.run(), "extended", vital=True)
        for number in range(4):
            await cluster.client.create(pod(f"p{number}", schedulerName="extended"))

        async def placed() -> list[str]:
            found = [p.spec.node_name for p in await cluster.pods()]
            return found if len(found) == 4 and all(found) else []

        assert await cluster.eventually(placed) == ["hollow-2"] * 4
        service.only = ()
        await cluster.client.create(pod("refused", schedulerName="extended"))

        async def refused() -> bool:
            found = await cluster.client.get(core_v1.Pod, "refused", "default")
            return any("3 not ours" in c.message for c in found.status.conditions)

        await cluster.eventually(refused)
    assert {verb for verb, _ in service.asked} == {"filter", "prioritize"}


async def test_one_that_fails_stops_the_pod_unless_it_may_be_ignored(service: Service) -> None:
    service.broken = True
    node = core_v1.Node()
    node.metadata.name = "n"
    with pytest.raises(ExtenderError, match="500"):
        await Extender(service.url, "filter").filter(pod(), [node])
    assert await Extender(service.url, "filter", ignorable=True).filter(
        pod(), [node]
    ) == FilterAnswer({"n"})


def test_only_pods_with_its_resources_are_its_business() -> None:
    asked = Extender("http://x", managed_resources=frozenset(("example.com/gpu",)))
    assert not asked.is_interested(pod())
    containers = [{"name": "c", "image": "i", "resources": {"limits": {"example.com/gpu": "1"}}}]
    assert asked.is_interested(pod(containers=containers))


def test_a_configuration_is_read() -> None:
    (found,) = parse_extenders(
        {
            "extenders": [
                {
                    "urlPrefix": "https://x/e",
                    "filterVerb": "f",
                    "prioritizeVerb": "p",
                    "weight": 2,
                    "httpTimeout": "1m30s",
                    "nodeCacheCapable": True,
                    "managedResources": [{"name": "a.b/c"}],
                    "ignorable": True,
                }
            ]
        }
    )
    assert (
        found.filter_verb,
        found.weight,
        found.timeout,
        found.enable_https,
        found.node_cache_capable,
    ) == (
        "f",
        2,
        90.0,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"urlPrefix": "x"}, "urlPrefix"),
        ({"urlPrefix": "http://x", "prioritizeVerb": "p"}, "weight"),
    ],
)
def test_a_wrong_configuration_names_the_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        parse_extenders({"extenders": [row]})


async def test_an_extender_has_a_say_in_who_makes_room(service: Service) -> None:
    asked, one = Extender(service.url, preempt_verb="preempt", node_cache_capable=True), pod("p")
    one.metadata.uid = "u"
    victims = {"hollow-0": Victims([one], 0), "hollow-1": Victims([one], 1)}
    assert await asked.preempt(pod("important"), victims) == {"hollow-1": ({"u"}, 1)}
    assert await Extender(service.url).preempt(pod("important"), victims) == {
        "hollow-0": ({"u"}, 0),
        "hollow-1": ({"u"}, 1),
    }
