"""What begins on each node: a server at the node's address, its page, and its place behind
kube-dns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.network.builders import service
from tests.network.informers import Given
from tiphys.addons import dns
from tiphys.addons.addon import NodeContext
from tiphys.addons.dns import configured, monitoring, publishing
from tiphys.addons.dns.server import DNSServer
from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup


class Begun:
    """What was begun, and with what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[tuple[str, Any]] = []
        self.servers: list[DNSServer] = []
        self.forgotten: list[str] = []
        begun = self

        async def start(server: DNSServer, address: str, port: int = 53) -> None:
            begun.servers.append(server)
            begun.rows.append(("server", (address, port)))

        async def serve(page: monitoring.Page, address: str) -> None:
            begun.rows.append(("page", address))

        async def publish(client: Any, informers: Any, name: str, address: str) -> None:
            begun.rows.append(("publish", (name, address)))

        def follow(client: Any, tasks: TaskGroup, configure: Any) -> None:
            begun.rows.append(("follow", configure.__func__))

        def forget(server: DNSServer, subject: str) -> None:
            begun.forgotten.append(subject)

        monkeypatch.setattr(DNSServer, "start", start)
        monkeypatch.setattr(DNSServer, "forget", forget)
        monkeypatch.setattr(monitoring.Page, "serve", serve)
        monkeypatch.setattr(publishing, "publish", publish)
        monkeypatch.setattr(configured, "follow", follow)


@pytest.fixture
async def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    return Begun(monkeypatch)


async def test_a_node_answers_at_its_address_and_says_so(begun: Begun) -> None:
    given, tasks = Given(), TaskGroup("node")
    client: Any = None
    informers: Any = given
    context = NodeContext(client, informers, tasks, "n1", "10.1.0.1", "cluster.local", ())
    await dns.ADDON.start_on_node(context)
    await asyncio.sleep(0)
    assert sorted(begun.rows, key=lambda row: row[0]) == [
        ("follow", DNSServer.configure),
        ("page", "10.1.0.1"),
        ("publish", ("n1", "10.1.0.1")),
        ("server", ("10.1.0.1", 53)),
    ]
    given.of(core_v1.Service).put(service())
    assert begun.forgotten == ["d/s", "10.96.0.9"], "answers given before may be others now"
    await tasks.stop()
