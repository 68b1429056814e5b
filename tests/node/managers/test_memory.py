"""Whose memory comes from which NUMA node."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.managers.builders import GIB, container, guaranteed
from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.hints import Hint
from tiphys.node.managers.memory import MemoryManager, reserved_memory
from tiphys.node.managers.memorystate import FILE, MemoryState, NodeMemory
from tiphys.node.managers.placement import Placement, place
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import regular

MACHINE = regular(sockets=2, cores=4, memory=10 * GIB)
RESERVED = ((0, {"memory": GIB}),)  # 9 GiB of node 0 are left, 10 of node 1


def placed(folder: Path, **settings: str) -> Placement:
    chosen = Settings(memory_policy="Static", reserved_memory=RESERVED, **settings)
    return place(chosen, MACHINE, {"memory": GIB}, folder)


def manager(folder: Path) -> MemoryManager:
    return MemoryManager(MACHINE, MemoryState.load(folder / "state", "Static"), dict(RESERVED))


def nodes(placement: Placement, uid: str, name: str = "c0") -> str:
    return placement.memory_nodes(uid, name)


def test_memory_comes_from_one_node_while_one_has_it(tmp_path: Path) -> None:
    placement = placed(tmp_path)
    for uid in "abc":
        assert placement.admit(guaranteed(uid, "1", memory="5Gi")) is None
    assert [nodes(placement, uid) for uid in "abc"] == ["0", "1", "1"]
    rejection = placement.admit(guaranteed("d", "1", memory="5Gi"))
    assert rejection is not None
    assert rejection.reason == "UnexpectedAdmissionError"
    assert "[memorymanager] failed to get the default NUMA affinity" in rejection.message
    placement.release("b")
    assert placement.admit(guaranteed("d", "1", memory="5Gi")) is None
    assert nodes(placement, "d") == "1"


def test_a_group_of_nodes_is_not_shared_with_single_ones(tmp_path: Path) -> None:
    placement = placed(tmp_path)
    assert placement.admit(guaranteed("wide", "1", memory="12Gi")) is None
    assert nodes(placement, "wide") == "0-1"
    assert placement.admit(guaranteed("a", "1", memory="1Gi")) is None
    assert nodes(placement, "a") == "0-1"
    placement.release("wide")
    placement.release("a")
    assert placement.admit(guaranteed("a", "1", memory="1Gi")) is None
    assert nodes(placement, "a") == "0"
    assert placement.admit(guaranteed("wide", "1", memory="12Gi")) is not None


def test_init_containers_hand_their_memory_on(tmp_path: Path) -> None:
    placement = placed(tmp_path)
    inits = [container("init", "1", "8Gi")]
    assert placement.admit(guaranteed("a", "1", memory="8Gi", initContainers=inits)) is None
    assert nodes(placement, "a", "init") == nodes(placement, "a") == "0"
    placement.release("a")
    assert placement.admit(guaranteed("b", "1", memory="9Gi")) is None
    assert nodes(placement, "b") == "0", "nothing of it was freed twice, or not at all"
    assert placement.admit(guaranteed("c", "1", memory="11Gi")) is not None


def test_others_are_not_pinned(tmp_path: Path) -> None:
    placement = placed(tmp_path)
    burstable = guaranteed("b", "1", memory="1Gi")
    burstable.status.qos_class = "Burstable"
    assert placement.admit(burstable) is None
    assert nodes(placement, "b") == ""


def test_hints_are_the_nodes_that_have_as_much(tmp_path: Path) -> None:
    one = manager(tmp_path)
    pod = guaranteed("a", "1", memory="10Gi")
    hints = [Hint(0b10, True), Hint(0b11, False)]
    assert one.container_hints(pod, pod.spec.containers[0]) == {"memory": hints}
    one.allocate(pod, pod.spec.containers[0], Hint(0b10, True))
    assert one.pod_hints(pod) == {"memory": [Hint(0b10, True)]}
    other = guaranteed("b", "1", memory="5Gi")
    assert one.pod_hints(other) == {"memory": [Hint(0b01, True)]}


def test_a_narrow_hint_is_widened_to_what_has_room(tmp_path: Path) -> None:
    one = manager(tmp_path)
    pod = guaranteed("a", "1", memory="12Gi")
    one.allocate(pod, pod.spec.containers[0], Hint(0b01, True))
    assert one.nodes("a", "c0") == [0, 1]


def test_what_was_given_survives_the_agent(tmp_path: Path) -> None:
    before = placed(tmp_path)
    assert before.admit(guaranteed("a", "1", memory="8Gi")) is None
    after = placed(tmp_path)
    assert nodes(after, "a") == "0"
    assert after.admit(guaranteed("b", "1", memory="8Gi")) is None
    assert nodes(after, "b") == "1"


def test_a_state_of_other_reservations_is_refused(tmp_path: Path) -> None:
    assert placed(tmp_path).admit(guaranteed("a", "1", memory="8Gi")) is None
    more = Settings(memory_policy="Static", reserved_memory=((0, {"memory": 2 * GIB}),))
    with pytest.raises(CheckpointError, match="expected machine state is different"):
        place(more, MACHINE, {"memory": 2 * GIB}, tmp_path)


COMINGS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 12)), max_size=15)


@hypothesis.settings(deadline=None, max_examples=40)
@given(COMINGS)
def test_all_memory_comes_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("memory")
    placement = placed(folder)
    for uid, size in events:
        if nodes(placement, uid):
            placement.release(uid)
        else:
            inits = [container("init", "1", f"{size + 1}Gi")]
            pod = guaranteed(uid, "1", memory=f"{size}Gi", initContainers=inits)
            placement.admit(pod)
        placed(folder)  # the state is always one that blocks account for
    placement.keep([])
    assert [node.memory_map["memory"].free for node in machine(folder)] == [9 * GIB, 10 * GIB]
    assert all(not node.number_of_assignments for node in machine(folder))


def machine(folder: Path) -> list[NodeMemory]:
    state = MemoryState.load(folder / FILE, "Static")
    return [state.machine[0], state.machine[1]]


@pytest.mark.parametrize(
    ("reservations", "total", "problem"),
    [
        ([(7, {"memory": GIB})], GIB, "references a NUMA node 7 that does not exist"),
        ([(0, {"memory": GIB})], 5, 'the total amount "1073741824" of type "memory" is not equal'),
        ([], GIB, 'is not equal to the value "1073741824" determined by Node Allocatable feature'),
    ],
)
def test_reservations_are_what_the_node_keeps_back(
    reservations: list[tuple[int, dict[str, int]]], total: int, problem: str
) -> None:
    with pytest.raises(ValueError, match="memory") as refusal:
        reserved_memory(MACHINE, reservations, {"memory": total})
    assert problem in str(refusal.value)
