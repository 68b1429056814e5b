"""A cluster with the training add-on, and machines for its pods."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.addons.training.fakeagent import FakeAgent
from tests.addons.training.machines import Machines, Starter
from tiphys.addons import OPTIONAL, installing, types
from tiphys.addons.host import Host
from tiphys.addons.training import Settings
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.api import core_v1
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class World:
    def __init__(self, cluster: LocalCluster, machines: Machines, settings: Settings) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.machines = machines
        self.settings = settings

    async def create(self, body: dict[str, Any]) -> None:
        await self.client.create(body)

    async def job(self, name: str = "train") -> HyperPodPyTorchJob:
        return await self.client.get(HyperPodPyTorchJob, name, "default")

    async def pods(self, name: str = "train") -> dict[str, core_v1.Pod]:
        found = await self.client.list(core_v1.Pod, "default", labels=f"HPJob={name}")
        return {pod.metadata.name: pod for pod in found.items}

    async def clear(self) -> None:
        """Deletes all jobs, and waits until their pods are gone."""
        for job in (await self.client.list(HyperPodPyTorchJob, "default")).items:
            await self.client.delete(
                HyperPodPyTorchJob, job.metadata.name, "default", propagation="Background"
            )

        async def gone() -> bool:
            return not await self.cluster.pods(labels="HPJob")

        await self.cluster.eventually(gone)

    async def restart_operator(self) -> None:
        """Ends the add-on, and has it begin again."""
        for paused in (True, False):
            patch = {"spec": {"paused": paused}}
            await self.client.patch(types.Addon, "training", patch, media=MERGE)
            await self.cluster.eventually(lambda wanted=not paused: self._serves(wanted), 60)

    async def _serves(self, wanted: bool) -> bool:
        url = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url):
                return wanted
        except aiohttp.ClientError:
            return not wanted

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def uids(self, name: str = "train") -> dict[str, str]:
        return {key: pod.metadata.uid for key, pod in (await self.pods(name)).items()}

    async def reaches(
        self, phase: str, restarts: int | None = 0, name: str = "train", seconds: float = 20
    ) -> HyperPodPyTorchJob:
        """Waits until a condition is true and the job was restarted so often; None: any number of
        times."""

        async def check() -> HyperPodPyTorchJob | None:
            found = await self.job(name)
            true = conditions.is_true(found.status.conditions, phase)
            restarted = restarts is None or found.status.restart_count == restarts
            return found if true and restarted else None

        try:
            made: HyperPodPyTorchJob = await self.cluster.eventually(check, seconds)
        except TimeoutError:
            found = await self.job(name)
            raise AssertionError(f"not {phase} with {restarts} restarts: {found.status}") from None
        return made


@asynccontextmanager
async def world(
    starter: Starter, nodes: int = 2, cpu: str = "8", **settings: Any
) -> AsyncIterator[World]:
    chosen = Settings(
        agent_port=free_port(), metrics_port=free_port(), **{"poll_seconds": 0.1, **settings}
    )
    async with LocalCluster(controllers=True) as cluster:
        addon = OPTIONAL["training"]
        await installing.enable(cluster.client, addon, chosen)
        host = cluster.client_as(installing.HOST)
        Host(host, OPTIONAL, cluster.root / "addons", cluster.tasks).start()

        async def ready() -> bool:
            found = await cluster.client.get(types.Addon, "training")
            return conditions.is_true(found.status.conditions, "Ready")

        await cluster.eventually(ready, 60)
        machines = Machines(cluster, starter, time.time)
        await machines.start(*(f"machine-{index}" for index in range(nodes)), cpu=cpu)
        try:
            yield World(cluster, machines, chosen)
        finally:
            await machines.stop()


class Agents:
    """Agents that are servers in the test, by the name of their pod."""

    def __init__(self) -> None:
        self.port = 0
        self.mute = False  # whether new ones answer nobody
        self.by_pod: dict[str, FakeAgent] = {}

    async def start(self, pod: core_v1.Pod, address: str) -> _Served:
        agent = FakeAgent()
        if not self.mute:
            await agent.serve(address, self.port)
        self.by_pod[pod.metadata.name] = agent
        return _Served(agent)

    def of_rank(self, rank: int) -> FakeAgent:
        return next(agent for agent in self.by_pod.values() if agent.rank == rank)


class _Served:
    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    async def wait(self) -> int:
        await self._agent.ended.wait()
        await self._agent.close()
        return 0

    async def kill(self) -> None:
        await self._agent.close()


@asynccontextmanager
async def fake_world(
    nodes: int = 2, cpu: str = "8", **settings: Any
) -> AsyncIterator[tuple[World, Agents]]:
    agents = Agents()
    async with world(agents.start, nodes, cpu, **settings) as made:
        agents.port = made.settings.agent_port
        yield made, agents
