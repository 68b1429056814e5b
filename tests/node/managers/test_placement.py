"""What the agent sees of the managers of cores and memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.managers.alignment import AllocationError
from tiphys.node.managers.placement import MemoryBlock, Placement


class Manager:
    """Of what a test says that pods hold; `fails`: it cannot save."""

    def __init__(self, *holders: str) -> None:
        self.held = set(holders)
        self.released: list[str] = []
        self.saves = 0
        self.fails = False

    def holders(self) -> set[str]:
        return self.held

    def release(self, uid: str) -> None:
        self.released.append(uid)
        self.held.discard(uid)

    def save(self) -> None:
        self.saves += 1
        if self.fails:
            raise OSError("no space")

    # of cores and memory

    allocatable = frozenset({4, 2})

    def cpus(self, uid: str, container: str) -> set[int]:
        return {3, 1, 2} if uid in self.held else {0}

    def has_own(self, uid: str, container: str) -> bool:
        return uid in self.held

    def nodes(self, uid: str, container: str) -> set[int]:
        return {1, 0}


class Topology:
    providers: list[Any] = []

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses

    def allocate(self, one: Any) -> None:
        if self.refuses:
            raise AllocationError("there is none")


def placement(cpus: Manager | None, memory: Manager | None = None, **more: Any) -> Any:
    topology: Any = Topology(**more)
    first: Any = cpus
    second: Any = memory
    return Placement(topology, first, second)


def test_without_managers_containers_stay_where_they_are() -> None:
    nothing = Placement()
    assert nothing.admit(pod()) is None and not nothing.gives and not nothing.pins
    assert nothing.cpus("u", "c") == nothing.memory_nodes("u", "c") == ""
    assert nothing.own_cpus("u", "c") == [] and nothing.allocatable_cpus() == []
    assert nothing.memory_blocks("u", "c") == [] and nothing.allocatable_memory() == []
    assert not nothing.has_own_cpus("u", "c")
    assert nothing.count_shared_cpus() == nothing.count_exclusive_cpus() == 0


def test_what_a_container_has_is_shown() -> None:
    made = placement(Manager("u"), Manager())
    assert made.gives and made.pins
    assert (made.cpus("u", "c"), made.cpus("v", "c")) == ("1-3", "0")
    assert made.own_cpus("u", "c") == [1, 2, 3] and made.own_cpus("v", "c") == []
    assert made.has_own_cpus("u", "c") and not made.has_own_cpus("v", "c")
    assert made.allocatable_cpus() == [2, 4] and made.memory_nodes("u", "c") == "0-1"
    assert not placement(None, Manager()).pins


def test_a_pod_that_is_let_in_is_saved_and_one_that_is_not_gives_back() -> None:
    cpus, memory = Manager(), Manager()
    one = pod()
    one.metadata.uid = "u"
    told: list[bool] = []
    made = placement(cpus, memory)
    made.admitted = lambda seconds, failed: told.append(failed)
    assert made.admit(one) is None and cpus.saves == memory.saves == 1
    cpus, memory = Manager("u"), Manager()
    made = placement(cpus, memory, refuses=True)
    made.admitted = lambda seconds, failed: told.append(failed)
    rejection = made.admit(one)
    assert told == [False, True]
    assert rejection is not None and "there is none" in rejection.message
    assert cpus.released == memory.released == ["u"]


def test_only_what_somebody_holds_is_released() -> None:
    cpus, memory = Manager("u"), Manager()
    made = placement(cpus, memory)
    made.release("v")
    assert cpus.released == [] and cpus.saves == 0
    made.release("u")
    assert cpus.released == memory.released == ["u"] and cpus.saves == memory.saves == 1


def test_what_pods_had_that_are_gone_is_released() -> None:
    cpus, memory = Manager("u", "v"), Manager("w")
    placement(cpus, memory).keep({"u"})
    assert sorted(cpus.released) == sorted(memory.released) == ["v", "w"]


def test_a_disk_that_is_full_keeps_nobody_from_running() -> None:
    cpus, memory = Manager(), Manager()
    cpus.fails = True
    assert placement(cpus, memory).admit(pod()) is None and memory.saves == 1


def test_what_was_applied_is_not_applied_again() -> None:
    made = placement(Manager())
    assert not made.is_applied("id", "0-3")
    made.note_applied("id", "0-3")
    made.note_applied("other", "4")
    assert made.is_applied("id", "0-3") and not made.is_applied("id", "0-2")
    made.forget_containers({"other"})
    assert not made.is_applied("id", "0-3") and made.is_applied("other", "4")


@pytest.mark.parametrize(
    ("cpus", "memory", "qos", "text"),
    [
        (Manager(), None, "Guaranteed", 'CPU Manager policy "static"'),
        (None, Manager(), "Guaranteed", 'Memory Manager policy "Static"'),
        (Manager(), Manager(), "Guaranteed", 'CPU Manager policy "static"'),
        (None, None, "Guaranteed", ""),
        (Manager(), Manager(), "Burstable", ""),
    ],
)
def test_what_was_given_is_not_resized(
    cpus: Manager | None, memory: Manager | None, qos: str, text: str
) -> None:
    one = pod()
    one.status.qos_class = qos
    problem = placement(cpus, memory).resize_problem(one)
    assert (problem is None) if not text else problem.message.endswith(text)


def test_memory_is_shown_in_blocks() -> None:
    class Block:
        type, size, numa_affinity = "memory", 5, (0, 1)

    class Memory(Manager):
        def blocks(self, uid: str, container: str) -> list[Any]:
            return [Block]

        def allocatable(self) -> Any:  # type: ignore[override]
            return [(1, "memory", 7)]

    made = placement(None, Memory())
    assert made.memory_blocks("u", "c") == [MemoryBlock("memory", 5, (0, 1))]
    assert made.allocatable_memory() == [MemoryBlock("memory", 7, (1,))]
