"""Which pods a node takes, and what becomes of those that it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import node_context
from tiphys.api import core_v1
from tiphys.node.pod.worker import PodWorker
from tiphys.node.podadmission import PodAdmission
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.sysctls import SysctlAllowlist


class Node:
    """A node of two processors; `refuses` names who keeps a pod out."""

    def __init__(self, refuses: str = "") -> None:
        self.context = node_context()
        self.context.allocatable.update({"cpu": "2", "memory": "1Gi", "pods": "10"})
        self.refuses = refuses
        self.workers: dict[str, Any] = {}
        self.released: list[str] = []
        self.rejected: list[str] = []
        placer: Any = SimpleNamespace(place=self._place, release=self.released.append)
        self.shutdown: Any = SimpleNamespace(is_under_way=refuses == "shutdown")
        conditions = ("MemoryPressure",) if refuses == "pressure" else ()
        evictor: Any = SimpleNamespace(conditions=conditions)
        self.context.devices.allocate = self._allocate
        self.admission = PodAdmission(
            self.context,
            self.workers,
            SysctlAllowlist(()),
            placer,
            evictor,
            self.shutdown,
            self._suits,
        )

    async def _place(self, one: core_v1.Pod) -> Rejection | None:
        return Rejection("Placed", "no") if self.refuses == "placer" else None

    async def _allocate(self, one: core_v1.Pod) -> Rejection | None:
        return Rejection("Devices", "no") if self.refuses == "devices" else None

    async def _suits(self, spec: core_v1.PodSpec) -> bool:
        return self.refuses != "labels"

    def worker(self, name: str, cpu: str = "1", **spec: Any) -> PodWorker:
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
        one = pod(name, containers=[container], restartPolicy="Always", **spec)
        one.metadata.uid = name
        made = PodWorker(self.context, one, None, None)
        self.workers[name] = made

        async def reject(rejection: Rejection) -> None:
            self.rejected.append(rejection.reason)

        made.reject = reject  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [
        ("", None),
        ("shutdown", "NodeShutdown"),
        ("pressure", "Evicted"),
        ("placer", "Placed"),
        ("labels", "NodeAffinity"),
        ("devices", "Devices"),
    ],
)
async def test_who_keeps_a_pod_out(refuses: str, reason: str | None) -> None:
    node = Node(refuses)
    worker = node.worker("p")
    if refuses == "pressure":
        worker.managed.pod.status.qos_class = "BestEffort"
    admitted = await node.admission.is_admitted(worker)
    assert (node.rejected[:1] or [None]) == [reason] and admitted is (reason is None)
    assert worker.managed.holds_room is (reason is None)
    assert node.released == ([] if reason is None else ["p"])


@pytest.mark.parametrize(("cpu", "fits"), [("1", True), ("1001m", False)])
async def test_room_is_what_others_leave(cpu: str, fits: bool) -> None:
    node = Node()
    assert await node.admission.is_admitted(node.worker("first"))
    node.worker("waiting", "2")  # holds no room yet
    assert await node.admission.is_admitted(node.worker("second", cpu)) is fits
    assert node.rejected == ([] if fits else ["OutOfcpu"])


async def test_a_deleted_pod_needs_no_room() -> None:
    node = Node("placer")
    worker = node.worker("p", "9")
    worker.pod.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert await node.admission.is_admitted(worker) and node.rejected == []


async def test_one_that_is_deleted_while_it_is_rejected_is_ended_as_any() -> None:
    node = Node("placer")
    worker = node.worker("p")

    async def reject(rejection: Rejection) -> None:
        worker.pod.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"

    worker.reject = reject  # type: ignore[method-assign]
    assert await node.admission.is_admitted(worker)


@pytest.mark.parametrize(
    ("priority", "preempted", "reason"),
    [(2000000000, ["first"], []), (0, [], ["OutOfcpu"])],
)
async def test_others_make_room_for_a_critical_pod(
    priority: int, preempted: list[str], reason: list[str]
) -> None:
    node = Node()
    first = node.worker("first", "2")
    assert await node.admission.is_admitted(first)
    first.managed.ended.set()
    critical = node.worker("critical", "2", priority=priority)
    assert await node.admission.is_admitted(critical) is bool(preempted)
    assert node.rejected == reason
    evicted = [uid for uid, one in node.workers.items() if one.managed.eviction_grace is not None]
    assert evicted == preempted and critical.managed.holds_room is bool(preempted)


async def test_a_critical_pod_that_nobody_can_make_room_for_is_rejected() -> None:
    node = Node()
    critical = node.worker("critical", "3", priority=2000000000)
    assert not await node.admission.is_admitted(critical)
    assert node.rejected == ["UnexpectedAdmissionError"] and not critical.managed.holds_room


async def test_nobody_is_ended_for_a_pod_that_does_not_suit_the_node() -> None:
    node = Node()
    first = node.worker("first", "2")
    assert await node.admission.is_admitted(first)
    node.refuses = "labels"
    critical = node.worker("critical", "2", priority=2000000000)
    assert not await node.admission.is_admitted(critical)
    assert node.rejected == ["NodeAffinity"] and first.managed.eviction_grace is None


async def test_who_leaves_lets_others_look_again() -> None:
    node = Node()
    growing, other = node.worker("growing"), node.worker("other")
    woken: list[str] = []
    growing.managed.resync = lambda: woken.append("growing")  # type: ignore[method-assign]
    other.managed.resync = lambda: woken.append("other")  # type: ignore[method-assign]
    growing.managed.resources.pending = Rejection("Deferred", "no room")  # type: ignore[assignment]
    node.admission.retry_resizes()
    assert woken == ["growing"]
