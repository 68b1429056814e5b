"""What a node does that is short of something."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, client_of, node_context
from tiphys.api import core_v1
from tiphys.node.pod.evictor import Evictor, Senses
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.pressure import Observed, parse_thresholds
from tiphys.node.states import Usage


class Short:
    """A node with three pods, `a` using most, and what is left of its memory and disk."""

    def __init__(
        self, thresholds: str = "memory.available<100", grace: float | None = None
    ) -> None:
        """`grace`: of soft thresholds."""
        self.now = 0.0
        self.left = {"memory.available": 50, "nodefs.available": 500, "pid.available": 50}
        self.images = 0
        context: Any = node_context(RecordingRuntime(), client_of())
        self.events = context.recorder
        self.pods = [self._pod(context, name) for name in ("a", "b", "c")]
        self.told: list[str] = []
        self.evictions: list[str] = []
        senses = Senses(
            self.observe,
            self.usage,
            self.reclaim,
            lambda: self.now,
            self.processes,
            lambda reason, message: self.told.append(message),
            self.evictions.append,
        )
        parsed = parse_thresholds(thresholds)
        if grace is not None:
            parsed = [one._replace(grace=grace) for one in parsed]
        self.evictor = Evictor(parsed, senses, max_grace=20)

    def _pod(self, context: Any, name: str) -> ManagedPod:
        one = pod(containers=[{"name": "c", "image": "i"}])
        one.metadata.name = one.metadata.uid = name
        return ManagedPod(context, one)

    def observe(self) -> dict[str, Observed]:
        return {signal: Observed(left, 1000) for signal, left in self.left.items()}

    async def usage(self) -> dict[str, dict[str, Usage]]:
        used = {"a": 30, "b": 20, "c": 10}
        return {uid: {"c": Usage(working_set=each, disk=each)} for uid, each in used.items()}

    async def processes(self, one: core_v1.Pod) -> int:
        return {"a": 5, "b": 9, "c": 7}[one.metadata.name]

    async def reclaim(self) -> int:
        self.left["nodefs.available"] += self.images
        return self.images

    async def look(self) -> str:
        """The name of the pod that goes; "" for none."""
        evicted = await self.evictor.look(self.pods)
        return evicted.pod.metadata.name if evicted is not None else ""


async def test_one_pod_goes_at_a_time_and_the_next_once_it_is_gone() -> None:
    node = Short()
    assert await node.look() == "a"
    failure = node.pods[0].failure
    assert failure is not None and failure.reason == "Evicted"
    assert failure.message.startswith("The node was low on resource: memory. Threshold quantity: ")
    node.pods[0].ended.set()
    assert await node.look() == "b"
    assert node.evictor.conditions == ("MemoryPressure",)
    assert node.told == ["Attempting to reclaim memory"] * 2
    assert node.evictions == ["memory.available"] * 2


async def test_the_next_goes_when_the_first_does_not_end() -> None:
    node = Short()
    looks = []
    for node.now in (0.0, 29.0, 30.0):
        looks.append(await node.look())
    assert looks == ["a", "", "b"]


@pytest.mark.parametrize(("own", "expected"), [(5, 5.0), (60, 20.0), (0, 1.0)])
async def test_a_soft_threshold_leaves_a_pod_some_time(own: int, expected: float) -> None:
    node = Short(grace=10)
    node.pods[0].pod.spec.termination_grace_period_seconds = own
    assert await node.look() == "" and node.evictor.conditions == ("MemoryPressure",)
    node.now = 10.0
    assert await node.look() == "a"
    assert node.pods[0].eviction_grace == expected


async def test_a_hard_threshold_leaves_it_none() -> None:
    node = Short()
    await node.look()
    failure = node.pods[0].failure
    assert node.pods[0].eviction_grace == 1.0
    assert failure is not None and node.pods[0].disruption == failure.message


async def test_processes_are_counted_by_pod() -> None:
    node = Short("pid.available<100")
    assert await node.look() == "b" and node.evictor.conditions == ("PIDPressure",)


async def test_a_pod_that_ends_is_waited_for() -> None:
    node = Short()
    node.pods[2].pod.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert await node.look() == ""


async def test_nobody_goes_from_a_node_with_enough() -> None:
    node = Short()
    node.left["memory.available"] = 100
    assert await node.look() == "" and node.evictor.conditions == ()


async def test_unused_images_go_before_pods() -> None:
    node = Short("nodefs.available<600")
    node.images = 100
    assert await node.look() == "" and node.evictor.conditions == ("DiskPressure",)
    node.images, node.left["nodefs.available"] = 10, 500
    assert await node.look() == "a"


async def test_images_are_left_when_memory_is_short() -> None:
    node = Short()
    node.images = 1000
    assert await node.look() == "a" and node.left["nodefs.available"] == 500
