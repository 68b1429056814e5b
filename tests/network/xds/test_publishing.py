"""The order in which resources are handed to Envoy: nothing is named before it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from tiphys.network.xds import publishing as module
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, SECRET, Cache
from tiphys.network.xds.publishing import Publisher

SHORT = {CLUSTER: "cluster", ENDPOINTS: "endpoints", LISTENER: "listener", ROUTE: "route", SECRET: "secret"}  # fmt: skip


class Said:
    """A message of that text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def SerializeToString(self, *, deterministic: bool = True) -> bytes:
        return self._text.encode()


class Server:
    """Remembers, of each step, what the cache had, and what it was to settle."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.steps: list[tuple[str, list[str]]] = []
        self.refuses: dict[str, dict[str, str]] = {}
        self.again: list[set[str]] = []
        self.is_silent = False

    async def settled(self, names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
        there = " ".join(
            f"{SHORT[type_url]}:{name}" for type_url in SHORT for name in self._cache.all(type_url)
        )
        asked = sorted(
            f"{SHORT[type_url]}:{name}" for type_url in names for name in names[type_url]
        )
        self.steps.append((there, asked))
        if self.is_silent:
            await asyncio.Event().wait()
        wanted = {type_url: set(of_type) for type_url, of_type in names.items()}
        return {
            type_url: {name: why for name, why in bad.items() if name in wanted.get(type_url, ())}
            for type_url, bad in self.refuses.items()
            if wanted.get(type_url)
        }

    def send_again(self, type_url: str, names: set[str]) -> None:
        assert type_url == LISTENER
        self.again.append(names)


class World:
    def __init__(self) -> None:
        self.cache = Cache()
        self.server = Server(self.cache)
        self.endpoints = "e1"
        self.publisher = Publisher(self.cache, self.server, self._endpoints_of)  # type: ignore[arg-type]
        self.resources: dict[str, dict[str, Said]] = {}

    def _endpoints_of(self, name: str) -> Said:
        return Said(f"{name} {self.endpoints}")

    async def publish(self, **names: str) -> dict[str, dict[str, str]]:
        types = {short: type_url for type_url, short in SHORT.items()}
        self.resources = {
            types[short]: {name: Said(name) for name in text.split()}
            for short, text in names.items()
        }
        return await self.publisher.publish(self.resources)


async def test_what_is_named_comes_first_and_goes_last() -> None:
    world = World()
    await world.publish(cluster="a", listener="l", route="l/r", secret="s")
    assert world.server.steps == [
        ("cluster:a endpoints:a secret:s", ["cluster:a", "endpoints:a"]),
        ("cluster:a endpoints:a listener:l route:l/r secret:s", ["listener:l"]),
        ("cluster:a endpoints:a listener:l route:l/r secret:s", ["route:l/r"]),
        ("cluster:a endpoints:a listener:l route:l/r secret:s", []),
    ]
    world.server.steps.clear()
    await world.publish(cluster="b", listener="m", route="m/r", secret="t")
    assert [there for there, _ in world.server.steps] == [
        "cluster:a cluster:b endpoints:a endpoints:b listener:l route:l/r secret:s secret:t",
        "cluster:a cluster:b endpoints:a endpoints:b listener:m route:l/r route:m/r secret:s secret:t",
        "cluster:a cluster:b endpoints:a endpoints:b listener:m route:l/r route:m/r secret:s secret:t",
        "cluster:b endpoints:b listener:m route:m/r secret:t",
    ]
    assert world.server.steps[-1][1] == [
        "cluster:a", "endpoints:a", "route:l/r", "secret:s",
    ]  # fmt: skip


async def test_only_clusters_that_are_new_are_waited_for() -> None:
    world = World()
    await world.publish(cluster="a b")
    world.server.steps.clear()
    await world.publish(cluster="a b c")
    assert world.server.steps[0][1] == ["cluster:c", "endpoints:c"]


async def test_what_is_refused_is_told_and_a_listeners_routes_are_not_waited_for() -> None:
    world = World()
    world.server.refuses = {LISTENER: {"l": "bad"}, ROUTE: {"m/r": "worse"}}
    refused = await world.publish(listener="l m", route="l/r m/r")
    assert refused == {LISTENER: {"l": "bad"}, ROUTE: {"m/r": "worse"}}
    assert world.server.steps[2][1] == ["route:m/r"]
    assert world.server.again == [set()]
    await world.publish(listener="l m")
    await world.publish(listener="m")
    assert world.server.again[1:] == [{"l"}, set()], "it is sent again while it is there"
    world.server.refuses = {}
    await world.publish(listener="l m")
    await world.publish(listener="l m")
    assert world.server.again[-1] == set(), "it was taken the last time"


async def test_another_envoy_may_have_more_against_what_did_not_change() -> None:
    world = World()
    await world.publish(cluster="a", listener="l")
    before = world.cache.all(ENDPOINTS)["a"].version
    world.endpoints = "e2"
    world.server.refuses = {LISTENER: {"l": "bad"}}
    assert await world.publisher.unchanged(world.resources) == {LISTENER: {"l": "bad"}}
    assert world.cache.all(ENDPOINTS)["a"].version != before
    await world.publish(cluster="a", listener="l")
    assert world.server.again[-1] == {"l"}


@pytest.mark.parametrize(
    ("ports", "changed"),
    [(None, ["s.d:80|x", "t.d:80"]), ({"s.d:80"}, ["s.d:80|x"]), ({"u.d:80"}, []), (set(), [])],
)
async def test_endpoints_change_by_themselves(ports: set[str] | None, changed: list[str]) -> None:
    world = World()
    await world.publish(cluster="s.d:80|x t.d:80")
    told: list[str] = []
    world.cache.listen(lambda type_url, names: told.extend(sorted(names)))
    world.endpoints = "e2"
    world.publisher.refresh(ports)
    assert told == changed


async def test_an_envoy_that_says_nothing_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    world = World()
    world.server.is_silent = True
    assert await world.publish(cluster="a", listener="l") == {}
    assert len(world.server.steps) == 4 and "Envoy has not said what it makes of" in caplog.text
