"""No container before the policies about its pod: the agent asks, waits, and tells when the pod has
ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.builders import pod as build_pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informer
from tiphys.node.agent import Agent
from tiphys.node.hollow import HollowRuntime
from tiphys.node.options import NodeOptions
from tiphys.testing import LocalCluster


class Gate:
    """Isolation that takes as long as the test likes."""

    def __init__(self) -> None:
        self.asked, self.open = asyncio.Event(), asyncio.Event()
        self.addresses: list[str] = []
        self.refuses = False
        self.released: list[str] = []

    async def isolate(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None:
        self.addresses += addresses
        self.asked.set()
        if self.refuses:
            raise TimeoutError("network policies about the pod are not in force")
        await self.open.wait()

    def release(self, pod: core_v1.Pod) -> None:
        self.released.append(pod.metadata.name)


@pytest.fixture
async def gate(server: LocalCluster) -> AsyncIterator[Gate]:
    """A node of the server, `n1`, that isolates pods by it."""
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    made = Gate()
    options = NodeOptions("n1", "127.0.0.1", server.root, Path(), Path(), Path(), 10250)
    agent = Agent(server.client, HollowRuntime(0), options, list, server.tasks, isolation=made)
    await agent.start()
    pods = Informer(server.client, core_v1.Pod, fields="spec.nodeName=n1")
    pods.on_change(agent.pod_changed)
    server.tasks.start(pods.run(), "pods")
    yield made


async def status(server: LocalCluster) -> core_v1.PodStatus:
    return (await server.client.get(core_v1.Pod, "p", "default")).status


async def test_a_container_starts_once_its_pod_is_isolated(
    server: LocalCluster, gate: Gate
) -> None:
    await server.client.create(build_pod(nodeName="n1"))
    await gate.asked.wait()
    await server.eventually(lambda: _has_address(server))
    assert (await status(server)).phase == "Pending"
    gate.open.set()
    await server.eventually(lambda: _is(server, "Running"))
    assert gate.addresses == [(await status(server)).pod_ip]
    await server.client.delete(core_v1.Pod, "p", "default", grace=1)
    await server.eventually(lambda: gate.released == ["p"])


async def test_a_container_that_waits_for_policies_says_so(
    server: LocalCluster, gate: Gate
) -> None:
    gate.refuses = True
    await server.client.create(build_pod(nodeName="n1"))

    async def told() -> bool:
        rows = (await status(server)).container_statuses
        waiting = rows[0].state.waiting if rows and rows[0].state else None
        return waiting is not None and "network policies about the pod" in waiting.message

    await server.eventually(told)
    assert (await status(server)).phase == "Pending"


async def _is(server: LocalCluster, phase: str) -> bool:
    return (await status(server)).phase == phase


async def _has_address(server: LocalCluster) -> bool:
    return bool((await status(server)).pod_ip)
