"""Statuses are written where they say something new, and events once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.reports import gateway, http_route, listener, policy, report
from tests.addons.gateway.world import ingress
from tests.addons.pretended import Pretended
from tiphys.addons.gateway.compiling import Outcome
from tiphys.addons.gateway.ingress import Compiled
from tiphys.addons.gateway.model import World
from tiphys.addons.gateway.statuses import gateway_status, ingress_status
from tiphys.addons.gateway.writing import Writer
from tiphys.api.base import to_builtins
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import forbidden, not_found
from tiphys.machinery.mergepatch import merge


class Recorder:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []

    def record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((obj.metadata.name, kind, reason, message))


class Written:
    def __init__(self) -> None:
        self.client = Pretended()
        self.recorder = Recorder()
        client: Any = self.client
        recorder: Any = self.recorder
        self.writer = Writer(client, recorder, client, "", lambda: 10.0)

    async def write(self, **parts: Any) -> list[str]:
        """The objects whose status was written."""
        self.client.patched.clear()
        made = {
            "world": World(),
            "ingress": Compiled(),
            "gateways": report(),
            "address": "10.0.0.1",
        }
        await self.writer.write(Outcome(**{**made, **parts}))
        return [key for key, _ in self.client.patched]


async def test_every_object_is_written_to_and_only_when_it_changes() -> None:
    made = Written()
    edge, route, one = gateway([listener("a")]), http_route(), policy("p")
    found = report(edge, route, policies=[one])
    for obj in (edge, route, one, found.classes[0][0]):
        made.client.put(obj)
    keys = [
        "BackendTLSPolicy default/p",
        "Gateway default/edge",
        "GatewayClass /ours",
        "HTTPRoute default/r",
    ]
    assert sorted(await made.write(gateways=found)) == keys
    statuses = {key.partition(" ")[0]: status for key, status in made.client.patched}
    assert [one["value"] for one in statuses["Gateway"]["addresses"]] == ["127.0.80.2"]


async def test_what_stands_there_already_is_not_written_again() -> None:
    made = Written()
    one = ingress("a", "a.example", {"/": "shop"})
    made.client.put(one)
    ours = Compiled(ours=[one])
    assert await made.write(ingress=ours) == ["Ingress default/a"]
    [(_, status)] = made.client.patched
    assert status == {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    one.status = ingress_status("10.0.0.1")
    assert await made.write(ingress=ours) == []
    assert await made.write(ingress=ours, address="10.0.0.2") == ["Ingress default/a"]


async def test_an_ingress_that_is_no_longer_ours_loses_its_address_once() -> None:
    made = Written()
    one = ingress("a", "a.example", {"/": "shop"})
    made.client.put(one)
    await made.write(ingress=Compiled(ours=[one]))
    one.status = ingress_status("10.0.0.1")
    assert await made.write() == ["Ingress default/a"]
    [(_, change)] = made.client.patched
    assert merge(to_builtins(one.status), change) == {"loadBalancer": {}}
    assert await made.write() == []


async def test_a_gateway_for_which_no_address_is_left_says_so() -> None:
    made = Written()
    edge = gateway([listener("a")])
    edge.status = gateway_status(report(edge).gateways[0], "", 10.0)
    assert edge.status.addresses
    made.client.put(edge)
    assert await made.write(gateways=report(edge, addresses="10.0.0.255/24")) == [
        "Gateway default/edge"
    ]
    [(_, change)] = made.client.patched
    assert "addresses" not in merge(to_builtins(edge.status), change)


async def test_what_is_gone_is_not_written_to() -> None:
    assert await Written().write(ingress=Compiled(ours=[ingress("a", "", {"/": "shop"})])) == []


@pytest.mark.parametrize(
    "error",
    [not_found("ingresses", "a"), forbidden("ingresses", "a", "no"), Unreachable("away")],
)
async def test_a_status_that_cannot_be_written_ends_nothing(error: Exception) -> None:
    made = Written()
    for name in ("a", "b"):
        made.client.put(ingress(name, "", {"/": "shop"}))
    made.client.fails = error
    ours = [ingress(name, "", {"/": "shop"}) for name in ("a", "b")]
    assert await made.write(ingress=Compiled(ours=ours)) == []
    made.client.fails = None
    assert len(await made.write(ingress=Compiled(ours=ours))) == 2, "it is tried again"


async def test_an_event_is_told_once_until_its_reason_has_gone() -> None:
    made = Written()
    one = ingress("a", "", {"/": "lost"})
    one.metadata.uid = "u"
    lost = (one, "ServiceNotFound", "there is no service lost")
    told = ("a", "Warning", "ServiceNotFound", "there is no service lost")
    for events, count in (([lost], 1), ([lost], 1), ([], 1), ([lost], 2)):
        await made.write(ingress=Compiled(events=events))
        assert made.recorder.events == [told] * count
    await made.write(ingress=Compiled(events=[lost, (one, "ServiceNotFound", "another")]))
    assert len(made.recorder.events) == 3
