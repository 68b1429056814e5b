"""Of several copies one leads, and none goes on leading on its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tiphys.api import coordination_v1
from tiphys.client import leader
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.client.leader import LeaderElection
from tiphys.testing import LocalCluster


class Deaf(Client):
    """A client whose server stops answering when `hangs` is set. `asked`: how often it was."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.hangs = False
        self.asked = 0

    async def request(self, *args: Any, **more: Any) -> bytes:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        return await super().request(*args, **more)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("DURATION", 1), ("RENEW", 0.6), ("RETRY", 0.05)):
        monkeypatch.setattr(leader, name, seconds)


async def test_one_leads_and_hands_over(server: LocalCluster, quick: None) -> None:
    first, second = (LeaderElection(server.client, "work", name) for name in ("a", "b"))
    await first.acquire()
    waiting = asyncio.ensure_future(second.acquire())
    holding = asyncio.ensure_future(first.hold())
    seen: set[str | None] = set()

    async def renewed() -> bool:
        seen.add(
            (await server.client.get(coordination_v1.Lease, "work", "kube-system")).spec.renew_time
        )
        return len(seen) > 25  # longer than the lease itself holds

    await server.eventually(renewed)
    assert not waiting.done() and not holding.done()
    holding.cancel()
    await first.release()
    async with asyncio.timeout(5):
        await waiting
    lease = await server.client.get(coordination_v1.Lease, "work", "kube-system")
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("b", 1)


async def test_who_leads_asks_now_and_then(server: LocalCluster, quick: None) -> None:
    client = Deaf(server.client.config)
    first = LeaderElection(client, "work", "a")
    await first.acquire()
    began = time.monotonic()
    holding = asyncio.ensure_future(first.hold())

    async def has_renewed() -> bool:
        return client.asked > 8

    await server.eventually(has_renewed)
    holding.cancel()
    assert client.asked <= 2 * ((time.monotonic() - began) / leader.RETRY + 3)
    await client.close()


async def test_who_hears_nothing_stops_before_another_may_start(
    server: LocalCluster, quick: None
) -> None:
    deaf = Deaf(server.client.config)
    first, second = LeaderElection(deaf, "work", "a"), LeaderElection(server.client, "work", "b")
    await first.acquire()
    deaf.hangs = True
    began = time.monotonic()
    waiting = asyncio.ensure_future(second.acquire())
    async with asyncio.timeout(5):
        await first.hold()
        stopped = time.monotonic() - began
        assert not waiting.done() and stopped < leader.DURATION
        await waiting
    await deaf.close()
