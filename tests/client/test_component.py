"""A component ends for one of three reasons, and says which."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tiphys.api import coordination_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.component import Ending, Shrinkage, lead_and_run
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.testing import LocalCluster

FEW, MANY = 1_000, 50_000


def restarts(*seen: tuple[int, float]) -> list[bool]:
    """What is decided when so many objects are held at such times."""
    shrinkage = Shrinkage()
    return [shrinkage.should_restart(held, now) for held, now in seen]


def test_who_holds_far_less_than_once_restarts() -> None:
    assert restarts((MANY, 0), (FEW, 10), (FEW, 69), (FEW, 70)) == [False, False, False, True]


def test_it_waits_until_the_rush_is_over() -> None:
    assert not any(
        restarts(
            (MANY, 0),
            *((MANY - 400 * second, second) for second in range(120)),
            (MANY - 48_000, 170),
        )
    )


@pytest.mark.parametrize(
    "seen",
    [
        [(FEW, 0), (0, 10), (0, 100)],  # never many
        [(MANY, 0), (MANY // 2 + 1, 10), (MANY // 2 + 1, 100)],  # still half of it
        [(MANY, 0), (FEW, 10), (MANY, 60), (FEW, 71), (FEW, 130)],  # came again in between
    ],
)
def test_others_go_on(seen: list[tuple[int, float]]) -> None:
    assert not any(restarts(*seen))


async def test_the_end_of_a_rush_hands_the_lead_over(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shrinkage, "FEWER", 5)
    monkeypatch.setattr(Shrinkage, "CALM", 0.0)
    monkeypatch.setattr("tiphys.client.component._CHECK_EVERY", 0.01)
    for number in range(10):
        await server.client.create(
            core_v1.ConfigMap(metadata=ObjectMeta(name=f"c{number}", namespace="default"))
        )

    async def start(tasks: TaskGroup) -> Informers:
        informers = Informers(server.client, tasks)
        informers.of(core_v1.ConfigMap)
        await informers.synced()
        return informers

    running = asyncio.ensure_future(lead_and_run(server.client, "work", True, start))

    async def leads() -> bool:
        held = (await server.client.list(coordination_v1.Lease, "kube-system")).items
        return any(lease.metadata.name == "work" and lease.spec.holder_identity for lease in held)

    await server.eventually(leads)
    assert not running.done()
    await server.client.request("DELETE", "/api/v1/namespaces/default/configmaps")
    async with asyncio.timeout(20):
        assert await running is Ending.SHRUNK
    assert not await leads()


async def test_a_signal_and_a_failure_end_it(server: LocalCluster) -> None:
    async def start(tasks: TaskGroup) -> Informers:
        async def fail() -> None:
            raise RuntimeError("meant")

        tasks.start(fail(), "fails", vital=True)
        return Informers(server.client, tasks)

    async def refuse(tasks: TaskGroup) -> Informers:
        raise RuntimeError("meant")

    async def last(tasks: TaskGroup) -> Informers:
        os.kill(os.getpid(), signal.SIGTERM)
        return Informers(server.client, tasks)

    async with asyncio.timeout(20):
        assert await lead_and_run(server.client, "a", False, start) is Ending.LOST
        assert await lead_and_run(server.client, "b", False, refuse) is Ending.LOST
        assert await lead_and_run(server.client, "c", False, last) is Ending.STOPPED
