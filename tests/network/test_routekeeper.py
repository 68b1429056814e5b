"""When the ways to other nodes' pods are looked at again."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import Any

import pytest

from tests.builders import node
from tiphys.api import core_v1
from tiphys.network import routekeeper as module
from tiphys.network.podroutes import HostRoute, Link, Routes, Tunnel
from tiphys.network.pods import NetworkError
from tiphys.network.routekeeper import RouteKeeper
from tiphys.network.tunnel import Device

DEVICE = Device("lo", ("10.1.1.1",), "192.0.2.1", 7, 1450)
ETH0 = Link("lo", ipaddress.ip_interface("192.0.2.1/24"))
TUNNEL = Tunnel(ipaddress.ip_network("10.1.2.0/24"), "10.1.2.1", "02:00", "192.0.2.2")


class Nodes(list[core_v1.Node]):
    """An informer that has what it is given."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self.listeners: list[Any] = []

    def on_change(self, listener: Any) -> None:
        self.listeners.append(listener)


class Informers:
    def __init__(self) -> None:
        self.nodes = Nodes()

    def of(self, kind: object) -> Nodes:
        return self.nodes


class Kernel:
    """What was done with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.wanted = Routes()
        self.error: Exception | None = None
        self.done = asyncio.Event()
        monkeypatch.setattr(module.tunnel, "links", self._links)
        monkeypatch.setattr(module.tunnel, "apply", self._apply)
        monkeypatch.setattr(module.tunnel, "guard", self._guard)
        monkeypatch.setattr(module, "routes", lambda *_: self.wanted)
        self._loop = asyncio.get_running_loop()

    def _links(self) -> list[Link]:
        return [ETH0]

    def _apply(self, device: Device, wanted: Routes) -> None:
        self.calls.append("apply")
        self._loop.call_soon_threadsafe(self.done.set)
        if self.error is not None:
            raise self.error

    def _guard(self, device: Device, tunnels: Any) -> None:
        self.calls.append(f"guard {len(tunnels)}")


@pytest.fixture
async def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def keeper() -> RouteKeeper:
    return RouteKeeper(Informers(), "n1", (), "host", DEVICE)  # type: ignore[arg-type]


async def test_the_guard_is_written_when_the_ways_are_others(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = keeper()
    with caplog.at_level(logging.INFO):
        await keeping.sync()
        await keeping.sync()
        direct = HostRoute(ipaddress.ip_network("10.1.3.0/24"), "192.0.2.3", "eth0")
        kernel.wanted = Routes(frozenset((direct,)), frozenset((TUNNEL,)), frozenset(("n3", "n2")))
        await keeping.sync()
    assert kernel.calls == ["apply", "guard 0", "apply", "apply", "guard 1"]
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] == [
        "Routes to other nodes' pods: 0 direct, 0 by tunnel",
        "Routes to other nodes' pods: 1 direct, 1 by tunnel",
    ]
    assert [line.split()[1] for line in said[2:]] == ["n2", "n3"]


async def test_the_links_that_matter_are_known_by_number(kernel: Kernel) -> None:
    keeping = keeper()
    await keeping.sync()
    assert keeping._links == {socket.if_nametoindex("lo")}
    assert module._numbers({"lo", "no-such-link"}) == {socket.if_nametoindex("lo")}


def changed(old: core_v1.Node | None, new: core_v1.Node | None) -> bool:
    keeping = keeper()
    keeping._node_changed(old, new)
    return keeping._changed.is_set()


def placed(cidrs: list[str], address: str = "192.0.2.2", **labels: str) -> core_v1.Node:
    made = node("n2", **labels)
    made.spec.pod_cidrs = cidrs
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=address)]
    return made


@pytest.mark.parametrize(
    ("old", "new", "matters"),
    [
        (None, placed(["a"]), True),
        (placed(["a"]), None, True),
        (placed(["a"]), placed(["a"], l="v"), False),
        (placed(["a"]), placed(["b"]), True),
        (placed(["a"]), placed(["a"], "192.0.2.3"), True),
    ],
)
async def test_heartbeats_change_no_ways(
    old: core_v1.Node | None, new: core_v1.Node | None, matters: bool
) -> None:
    assert changed(old, new) is matters


class Told:
    """A socket that says what it is told to."""

    def __init__(self, *said: Any) -> None:
        self.said = list(said)

    def recv(self, size: int) -> bytes:
        one = self.said.pop(0)
        if isinstance(one, Exception):
            raise one
        return bytes(one)


@pytest.mark.parametrize(
    ("said", "matters"),
    [
        ([BlockingIOError()], False),
        ([b"x", BlockingIOError()], False),
        ([b"y", BlockingIOError()], True),
        ([b"x", b"y", BlockingIOError()], True),
        ([OSError(105, "no room")], True),
    ],
)
async def test_what_the_kernel_tells_matters_if_it_is_of_our_links(
    monkeypatch: pytest.MonkeyPatch, said: list[Any], matters: bool
) -> None:
    monkeypatch.setattr(module.rtnetlink, "messages", lambda data: [data])
    monkeypatch.setattr(module.rtnetlink, "concerns", lambda each, links, protocol: each == b"y")
    keeping = keeper()
    told = Told(*said)
    keeping._heard(told)  # type: ignore[arg-type]
    assert keeping._changed.is_set() is matters and not told.said


async def test_ways_are_kept_until_the_node_stops(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("_BATCH_SECONDS", 0.0), ("_RETRY_SECONDS", 0.01), ("_LOOK_SECONDS", 60)):
        monkeypatch.setattr(module, name, seconds)
    keeping = keeper()
    task = asyncio.ensure_future(keeping.run())

    async def again() -> None:
        async with asyncio.timeout(10):
            await kernel.done.wait()
        kernel.done.clear()

    await again()
    keeping._changed.set()
    await again()
    kernel.error = NetworkError("broken")
    keeping._changed.set()
    await again()
    await again()  # soon, by itself
    assert "Routes to other nodes' pods are not all there: broken" in caplog.text
    assert len(keeping._nodes.listeners) == 1  # type: ignore[attr-defined]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_ways_are_looked_at_now_and_then_whatever_is_heard(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    task = asyncio.ensure_future(keeper()._keep())
    async with asyncio.timeout(10):
        while kernel.calls.count("apply") < 3:  # noqa: ASYNC110 - a list that a thread fills
            await asyncio.sleep(0)
    task.cancel()
