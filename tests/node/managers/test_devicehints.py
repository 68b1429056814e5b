"""Devices near NUMA nodes, as the topology manager sees them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.devices.deviceresources import ResourceView
from tiphys.node.managers.alignment import AllocationError, TopologyManager
from tiphys.node.managers.devicehints import DeviceHints, device_hints
from tiphys.node.managers.hints import NOWHERE, Hint
from tiphys.node.managers.options import BEST_EFFORT, SINGLE_NODE
from tiphys.node.managers.topology import regular

NONE, ZERO, ONE, BOTH = 0, 1, 2, 3  # sets of NUMA nodes
GPU = "example.com/gpu"


@pytest.mark.parametrize(
    ("usable", "every", "wanted", "expected"),
    [
        ([ZERO, ONE], [ZERO, ONE], 1, {(ZERO, True), (ONE, True), (BOTH, False)}),
        ([ZERO, ONE], [ZERO, ONE], 2, {(BOTH, True)}),
        ([ZERO, ONE], [ZERO, ZERO, ONE], 2, {(BOTH, False)}),
        ([ZERO, ZERO], [ZERO, ZERO, ONE], 2, {(ZERO, True), (BOTH, False)}),
        ([BOTH], [BOTH], 1, {(ZERO, True), (ONE, True), (BOTH, False)}),
        ([NONE], [ZERO, NONE], 1, set()),
    ],
)
def test_sets_of_nodes_with_enough_devices(
    usable: list[int], every: list[int], wanted: int, expected: set[tuple[int, bool]]
) -> None:
    assert {tuple(hint) for hint in device_hints(usable, every, wanted)} == expected


class Devices:
    """Four devices, two near each of two NUMA nodes; `free` are those that containers can have."""

    def __init__(self, *free: str, nodes: dict[str, tuple[int, ...]] | None = None) -> None:
        near = {"a": (0,), "b": (0,), "c": (1,), "d": (1,)}
        self.nodes = near if nodes is None else nodes
        self.free = set(free)
        self.held: dict[str, set[str]] = {}
        self.noted: dict[str, list[int] | None] = {}

    def wanted(self, pod: core_v1.Pod, container: core_v1.Container) -> dict[str, int]:
        limit = container.resources.limits.get(GPU)
        return {GPU: int(limit)} if limit else {}

    def view(self, name: str) -> ResourceView:
        return ResourceView(self.nodes, self.free)

    def ids_held(self, uid: str, containers: Iterable[str]) -> dict[str, set[str]]:
        return self.held

    def note_affinity(self, uid: str, container: str, nodes: list[int] | None) -> None:
        self.noted[container] = nodes


def asking(*counts: int, inits: tuple[int, ...] = ()) -> core_v1.Pod:
    def container(name: str, count: int) -> dict[str, Any]:
        limits = {GPU: str(count)} if count else {}
        return {"name": name, "image": "i", "resources": {"limits": limits}}

    return pod(
        containers=[container(f"c{n}", count) for n, count in enumerate(counts)],
        initContainers=[container(f"i{n}", count) for n, count in enumerate(inits)],
    )


def hints(devices: Devices, *counts: int, inits: tuple[int, ...] = ()) -> Any:
    provider = DeviceHints(devices, [0, 1])  # type: ignore[arg-type]
    return provider.pod_hints(asking(*counts, inits=inits)).get(GPU, "nothing")


def test_who_wants_no_devices_has_no_hints() -> None:
    assert hints(Devices("a"), 0) == "nothing"


def test_devices_that_are_nowhere_in_particular_do_not_matter() -> None:
    assert hints(Devices("a", nodes={"a": ()}), 1) is None
    assert hints(Devices("a", nodes={"a": (7,)}), 1) is None, "the machine has no such node"


def test_what_cannot_be_had_has_no_hint() -> None:
    assert hints(Devices("a"), 2) == []


def test_containers_are_summed_and_init_containers_come_before_them() -> None:
    devices = Devices("a", "b", "c", "d")
    assert Hint(BOTH, True) in hints(devices, 2, 1)
    assert Hint(ZERO, True) in hints(devices, 1, 1, inits=(2, 1))
    assert Hint(BOTH, True) in hints(devices, 1, inits=(3,))


def test_what_a_pod_has_it_keeps() -> None:
    devices = Devices("a", "b")
    devices.held = {GPU: {"c", "d"}}
    assert hints(devices, 2) == [Hint(ONE, True), Hint(BOTH, False)]
    assert hints(devices, 1) == []


def manager(devices: Devices, policy: str) -> TopologyManager:
    made = TopologyManager(regular(sockets=2, cores=1, threads=1), policy)
    made.providers = [DeviceHints(devices, [0, 1])]  # type: ignore[arg-type]
    return made


def test_a_container_has_its_devices_from_one_node_where_these_are_free() -> None:
    devices = Devices("a", "c", "d")
    manager(devices, SINGLE_NODE).allocate(asking(2, 0))
    assert devices.noted == {"c0": [1]}


def test_a_pod_whose_devices_are_apart_is_refused_or_not() -> None:
    with pytest.raises(AllocationError) as refused:
        manager(Devices("a", "c"), SINGLE_NODE).allocate(asking(2))
    assert refused.value.reason == "TopologyAffinityError"
    devices = Devices("a", "c")
    manager(devices, BEST_EFFORT).allocate(asking(2))
    assert devices.noted == {"c0": [0, 1]}
    assert NOWHERE.nodes is None


def test_a_container_does_not_count_on_what_another_one_of_its_pod_gets() -> None:
    devices = Devices("a", "c")
    asked_twice, one = manager(devices, SINGLE_NODE), asking(1, 1)
    asked_twice.allocate(one)
    asked_twice.allocate(one)
    assert sorted(devices.noted.values()) == [[0], [1]]
    with pytest.raises(AllocationError):
        manager(Devices("a"), SINGLE_NODE).allocate(asking(1, 1))


def test_containers_may_have_what_init_containers_had() -> None:
    devices = Devices("a", "b")
    manager(devices, SINGLE_NODE).allocate(asking(2, inits=(2,)))
    assert devices.noted == {"i0": [0], "c0": [0]}
