"""The workers of pods, from the first sight of a pod to its end."""

from __future__ import annotations

import asyncio
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, StatusServer, client_of, node_context
from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.workers import PodWorkers
from tiphys.node.podrunner import PodRunner

PROBES: dict[str, Any] = {"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}


class Admission:
    """Lets every pod in."""

    async def is_admitted(self, worker: Any) -> bool:
        return True

    def retry_resizes(self) -> None: ...


class Node:
    """A hollow node without an API server: `changed` is what its informer shows."""

    def __init__(self) -> None:
        self.server = StatusServer()
        client = client_of(patch=self.server.patch, delete=self.server.delete)
        self.workers = PodWorkers()
        self.ended = asyncio.Event()
        placer: Any = SimpleNamespace(release=lambda uid: self.ended.set())
        admission: Any = Admission()
        context = node_context(RecordingRuntime(), client)
        tasks = TaskGroup("node")
        self.runner = PodRunner(context, self.workers, placer, admission, tasks)

    async def runs(self, one: core_v1.Pod) -> weakref.ref[ManagedPod]:
        """Runs a pod until it is deleted; returns what might be left of it."""
        self.runner.pod_changed(None, one)
        await self.server.until("Running")
        left = weakref.ref(self.workers[one.metadata.uid].managed)
        deleted = wanted("1000000")
        deleted.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        deleted.metadata.deletion_grace_period_seconds = 1
        self.runner.pod_changed(one, deleted)
        await self.ended.wait()
        self.runner.pod_changed(deleted, None)
        return left


def wanted(version: str) -> core_v1.Pod:
    one = pod(containers=[{"name": "c", "image": "i", **PROBES}], restartPolicy="Always")
    one.metadata.uid = "u"
    one.metadata.resource_version = version
    return one


async def test_a_pod_that_is_gone_is_freed_without_a_collection(uncollected: None) -> None:
    node = Node()
    left = await node.runs(wanted("0"))
    assert node.server.deleted and not node.workers
    for _ in range(10):  # tasks that have ended let go of it
        await asyncio.sleep(0)
    assert left() is None


async def test_a_pod_whose_end_is_seen_before_it_is_answered_is_removed_once() -> None:
    node = Node()
    runtime = node.runner._node.runtime
    assert isinstance(runtime, RecordingRuntime)

    async def delete(*facts: Any, **more: Any) -> None:
        deleted = wanted("1000000")
        node.runner.pod_changed(deleted, None)  # its watch is faster than the answer
        for _ in range(20):
            await asyncio.sleep(0)
        await node.server.delete(*facts, **more)

    node.runner._node.client.delete = delete  # type: ignore[method-assign]
    await node.runs(wanted("0"))
    assert [what for what, _ in runtime.calls].count("remove sandbox") == 1


async def test_a_pod_without_files_is_not_woken_to_refresh_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float | None] = []
    changed = ManagedPod.changed

    async def noting(managed: ManagedPod, timeout: float | None = None) -> None:
        waits.append(timeout)
        await changed(managed, timeout)

    monkeypatch.setattr(ManagedPod, "changed", noting)
    await Node().runs(wanted("0"))
    assert waits and set(waits) == {None}
