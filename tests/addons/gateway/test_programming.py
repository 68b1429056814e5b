"""Each step from objects to Envoy and to statuses: what is sent, what is not, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.addons.gateway.reports import gateway as gateway_of
from tests.addons.gateway.reports import http_route, listener
from tests.addons.gateway.reports import service as service_of
from tests.addons.pretended import Pretended
from tiphys.addons.gateway import CONTROLLER, Settings, programming
from tiphys.addons.gateway.programming import Programmer
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass
from tiphys.addons.gateway.watching import Watcher
from tiphys.addons.gateway.writing import Writer
from tiphys.api.base import from_builtins
from tiphys.network.xds.cache import LISTENER


class Published:
    """Remembers what it was to publish; `refuses` is what Envoy has against it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.refuses: dict[str, dict[str, str]] = {}
        self.fails: Exception | None = None

    async def publish(self, resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        return self._said("publish", resources)

    async def unchanged(self, resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        return self._said("unchanged", resources)

    def _said(self, what: str, resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        if self.fails is not None:
            raise self.fails
        self.calls.append((what, sorted(resources[LISTENER])))
        return self.refuses


class Edge:
    """A Gateway `edge` with a route to `shop`, and all that follows from it."""

    def __init__(self) -> None:
        self.cluster = Pretended()
        cluster: Any = self.cluster
        self.watcher = Watcher(cluster)
        self.watcher.start(lambda names: None)
        self.published: Any = Published()
        writer = Writer(cluster, cluster, cluster, "", lambda: 10.0)
        self.programmer = Programmer(self.watcher, self.published, writer, Settings())
        ours = {"metadata": {"name": "ours"}, "spec": {"controllerName": CONTROLLER}}
        self.gateway = gateway_of([listener("a")])
        for one in (from_builtins(ours, GatewayClass), self.gateway, service_of("shop")):
            self.cluster.put(one)
        self.cluster.put(http_route())

    def conditions(self) -> dict[str, str]:
        """Of the Gateway, as they were written last."""
        written = [status for key, status in self.cluster.patched if key.startswith("Gateway ")]
        return {
            one["type"]: f"{one['reason']}: {one['message']}" for one in written[-1]["conditions"]
        }


PORT = "127.0.80.2:80"


async def test_a_step_publishes_and_says_what_is_served() -> None:
    made = Edge()
    assert made.watcher.changed.is_set()
    assert await made.programmer.step() == f"Envoy serves {PORT}"
    assert made.published.calls == [("publish", [PORT])]
    assert not made.watcher.changed.is_set()
    assert made.conditions()["Programmed"] == "Programmed: "


async def test_without_anything_to_serve_that_is_said() -> None:
    made = Edge()
    made.cluster.take(made.gateway)
    assert await made.programmer.step() == "Envoy serves no port yet"


async def test_what_is_no_change_to_envoy_is_not_published_again() -> None:
    made = Edge()
    await made.programmer.step()
    made.cluster.put(service_of("other"))
    assert made.watcher.changed.is_set()
    await made.programmer.step()
    assert [what for what, _ in made.published.calls] == ["publish", "unchanged"]
    made.cluster.put(gateway_of([listener("a", port=81)]))
    await made.programmer.step()
    assert made.published.calls[2] == ("publish", ["127.0.80.2:81"])


async def test_what_envoy_refuses_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(programming, "_RETRIED", 0.0)
    made = Edge()
    made.published.refuses = {LISTENER: {PORT: "address in use"}}
    for _ in range(2):
        await made.programmer.step()
        async with asyncio.timeout(5):
            await made.watcher.changed.wait()
    assert [what for what, _ in made.published.calls] == ["publish", "publish"]
    assert made.conditions()["Programmed"] == "Invalid: address in use"
    said = f"Envoy refused Listener {PORT}: address in use"
    assert [record.getMessage() for record in caplog.records] == [said]
    made.published.refuses = {}
    assert await made.programmer.step() == f"Envoy serves {PORT}"
    await made.programmer.step()
    assert [what for what, _ in made.published.calls][2:] == ["publish", "unchanged"]
    assert not made.watcher.changed.is_set(), "nothing is to be tried again"
    made.published.refuses = {LISTENER: {PORT: "address in use"}}
    await made.programmer.step()
    assert len(caplog.records) == 2, "it is another time"


async def test_a_change_that_nobody_has_thought_of_ends_nothing() -> None:
    made = Edge()
    await made.programmer.step()
    made.published.fails = ValueError("what?")
    message = await made.programmer.step()
    assert message == ("Envoy serves what it had, for the last change failed: ValueError('what?')")
    made.published.fails = None
    assert await made.programmer.step() == f"Envoy serves {PORT}"
    assert isinstance(made.cluster.of(Gateway).get("default/edge"), Gateway)
