"""One copy's part in an election, as the Lease shows it: without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tiphys.api import coordination_v1
from tiphys.client import leader as module
from tiphys.client.client import Unreachable
from tiphys.client.leader import DURATION, LeaderElection
from tiphys.machinery import errors


class Server:
    """Has one Lease, or none, and fails as it is told to."""

    def __init__(self) -> None:
        self.lease: coordination_v1.Lease | None = None
        self.error: Exception | None = None
        self.version = 0
        self.leads: list[bool] = []
        self.metrics = SimpleNamespace(set_leading=lambda name, leads: self.leads.append(leads))

    async def get(self, kind: type, name: str, namespace: str) -> coordination_v1.Lease:
        if self.error is not None:
            raise self.error
        if self.lease is None:
            raise errors.not_found("leases", name)
        return self.lease

    async def create(self, lease: coordination_v1.Lease) -> None:
        await self.update(lease)

    async def update(self, lease: coordination_v1.Lease) -> None:
        self.version += 1
        lease.metadata.resource_version = str(self.version)
        self.lease = lease


class World:
    """Copies that share a server and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.server = Server()
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now)
        monkeypatch.setattr(module, "time", clock)

    def copy(self, identity: str) -> LeaderElection:
        client: Any = self.server
        return LeaderElection(client, "component", identity, now=lambda: self.now)

    @property
    def spec(self) -> coordination_v1.LeaseSpec:
        assert self.server.lease is not None
        return self.server.lease.spec


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_the_first_makes_the_lease_and_renews_it(world: World) -> None:
    one = world.copy("a")
    assert await one._attempt(10)
    first = world.spec
    assert (first.holder_identity, first.lease_duration_seconds) == ("a", DURATION)
    assert first.lease_transitions == 0 and first.acquire_time == first.renew_time
    began = first.acquire_time
    world.now += 5
    assert await one._attempt(10)
    assert world.spec.acquire_time == began != world.spec.renew_time
    assert world.spec.lease_transitions == 0


async def test_another_takes_over_when_it_saw_no_renewal_for_so_long(world: World) -> None:
    one, other = world.copy("a"), world.copy("b")
    await one._attempt(10)
    assert not await other._attempt(10)
    world.now += 10
    await one._attempt(10)
    world.now += 10
    assert not await other._attempt(10), "it was renewed meanwhile"
    world.now += DURATION - 0.1
    assert not await other._attempt(10)
    world.now += 0.1
    assert await other._attempt(10)
    assert (world.spec.holder_identity, world.spec.lease_transitions) == ("b", 1)


async def test_how_long_a_lease_lasts_its_holder_says(world: World) -> None:
    one, other = world.copy("a"), world.copy("b")
    await one._attempt(10)
    world.spec.lease_duration_seconds = 3
    assert not await other._attempt(10)
    world.now += 3
    assert await other._attempt(10)


@pytest.mark.parametrize("holder", ["", None, "a"])
async def test_a_lease_that_nobody_else_has_is_free(world: World, holder: str | None) -> None:
    await world.copy("x")._attempt(10)
    world.spec.holder_identity = holder
    assert await world.copy("a")._attempt(10) and world.spec.holder_identity == "a"


@pytest.mark.parametrize(
    "error", [errors.internal("x"), Unreachable("x"), errors.forbidden("x", "y", "z")]
)
async def test_a_failure_is_no_lease(world: World, error: Exception) -> None:
    world.server.error = error
    assert not await world.copy("a")._attempt(10) and world.server.lease is None


async def test_who_lets_go_lets_another_take_over_at_once(world: World) -> None:
    one, other = world.copy("a"), world.copy("b")
    await one._attempt(10)
    await other.release()
    assert world.spec.holder_identity == "a", "it is not the other's"
    await one.release()
    assert (world.spec.holder_identity, world.spec.lease_duration_seconds) == ("", 1)
    assert await other._attempt(10) and world.spec.lease_transitions == 1
    world.server.error = Unreachable("x")
    await other.release()
    assert world.server.leads == [False] * 3


async def test_who_could_not_renew_leads_no_longer(world: World) -> None:
    one = world.copy("a")
    await one.acquire()
    assert world.server.leads == [False, True] and one._seconds_left() == module.RENEW
    world.now += module.RENEW
    await one.hold()
    assert world.server.leads == [False, True, False]
