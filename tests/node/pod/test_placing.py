"""Pods get their cores when they come, and others move aside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.node.builders import RecordingRuntime, node_context, running
from tests.node.managers.builders import guaranteed, static
from tiphys.api import core_v1
from tiphys.node.managers.topology import regular
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.placing import PodPlacer
from tiphys.node.runtime import RuntimeFault

MACHINE = regular(cores=4)


class Pinning(RecordingRuntime):
    """Keeps where containers were moved to; fails while it has a fault."""

    fault: Exception | None = None

    async def pin_container(self, id: str, cpus: str) -> None:
        self.calls.append(("pin", cpus))
        if self.fault is not None:
            raise self.fault


async def sharing(folder: Path) -> tuple[PodPlacer, ManagedPod, Pinning]:
    """A node on which a pod runs that has no cores for itself."""
    runtime = Pinning()
    placement = static(MACHINE, folder)
    burstable = guaranteed("shares", "1", restartPolicy="Always")
    burstable.status.qos_class = "Burstable"
    managed = await running(burstable, node_context(runtime, placement=placement))
    managed.holds_room = True
    return PodPlacer(placement, runtime, lambda: [managed], set), managed, runtime


async def test_others_move_aside_and_come_back(tmp_path: Path) -> None:
    placer, _, runtime = await sharing(tmp_path)
    assert await placer.place(guaranteed("alone", "2")) is None
    await placer.pin_containers()
    await placer.pin_containers()
    assert runtime.calls == [("pin", "0,3")], "once"
    placer.release("alone")
    await placer.pin_containers()
    assert runtime.calls == [("pin", "0,3"), ("pin", "0-3")]


async def test_what_the_runtime_refuses_is_tried_again(tmp_path: Path) -> None:
    placer, _, runtime = await sharing(tmp_path)
    runtime.fault = RuntimeFault("UNKNOWN", "busy")
    await placer.pin_containers()
    runtime.fault = None
    await placer.pin_containers()
    await placer.pin_containers()
    assert runtime.calls == [("pin", "0-3")] * 2


async def test_a_pod_that_has_ended_leaves_its_cores_to_the_next(tmp_path: Path) -> None:
    placer, managed, _ = await sharing(tmp_path)
    managed.pod.status.qos_class = "Guaranteed"
    assert await placer.place(managed.pod) is None
    assert await placer.place(guaranteed("next", "3")) is not None
    managed.holds_room = False
    assert await placer.place(guaranteed("next", "3")) is None


async def test_what_an_agent_before_gave_stays_until_its_pod_is_known(tmp_path: Path) -> None:
    static(MACHINE, tmp_path).admit(guaranteed("earlier", "1"))
    placement = static(MACHINE, tmp_path)
    placer = PodPlacer(placement, RecordingRuntime(), list, lambda: {"earlier"})
    assert await placer.place(guaranteed("next", "3")) is not None
    await placer.place_again(guaranteed("earlier", "1"))
    assert placement.cpus("earlier", "c0") == "1"


async def test_a_pod_keeps_its_cores_until_it_holds_room(tmp_path: Path) -> None:
    placer, _, _ = await sharing(tmp_path)
    first, second = guaranteed("first", "2"), guaranteed("second", "2")
    answers = await asyncio.gather(placer.place(first), placer.place(second))
    assert [answer is None for answer in answers] == [True, False]
    placer.release("first")
    assert await placer.place(second) is None


async def test_who_ends_while_another_is_decided_on_is_released_then(tmp_path: Path) -> None:
    placer, _, _ = await sharing(tmp_path)
    assert await placer.place(guaranteed("first", "3")) is None
    deciding = asyncio.create_task(placer.place(guaranteed("second", "1")))
    await asyncio.sleep(0)  # the decision has begun
    placer.release("first")
    assert await deciding is not None
    assert await placer.place(guaranteed("second", "3")) is None


async def test_a_guaranteed_pod_is_not_resized(tmp_path: Path) -> None:
    placement = static(MACHINE, tmp_path)
    problem = placement.resize_problem(guaranteed("a", "1"))
    assert problem == (
        "Infeasible",
        'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
    )


class Reserving(RecordingRuntime):
    limits: dict[str, Any]

    async def reserve(self, pod: core_v1.Pod, spec: core_v1.PodSpec, growing: bool = False) -> None:
        self.limits = spec.containers[0].resources.limits


async def test_cores_are_the_limit_of_who_has_them(tmp_path: Path) -> None:
    placement = static(MACHINE, tmp_path)
    runtime = Reserving()
    pod = guaranteed("alone", "1")
    assert placement.admit(pod) is None
    managed = await running(pod, node_context(runtime, placement=placement))
    await managed.reserve()
    assert runtime.limits == {"memory": "1Gi"}
    placement.release("alone")
    await managed.reserve()
    assert runtime.limits == {"cpu": "1", "memory": "1Gi"}
