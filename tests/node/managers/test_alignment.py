"""Cores and memory near each other, or a pod that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.managers.builders import GIB, guaranteed
from tiphys.api import core_v1
from tiphys.node.managers.alignment import TopologyManager
from tiphys.node.managers.hints import Hint, Hints
from tiphys.node.managers.options import TopologyOptions
from tiphys.node.managers.placement import Placement, place
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import NUMANode, Topology, regular

MACHINE = regular(sockets=2, cores=4, memory=10 * GIB)  # CPUs 0-3 and 4-7, 0 is reserved
REFUSED = ("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


def aligned(folder: Path, policy: str, scope: str = "container") -> Placement:
    settings = Settings(
        cpu_policy="static",
        memory_policy="Static",
        reserved_memory=((0, {"memory": GIB}),),
        topology_policy=policy,
        topology_scope=scope,
    )
    return place(settings, MACHINE, {"cpu": 1000, "memory": GIB}, folder)


def where(placement: Placement, uid: str, name: str = "c0") -> tuple[str, str]:
    return placement.cpus(uid, name), placement.memory_nodes(uid, name)


def test_cores_follow_the_memory(tmp_path: Path) -> None:
    placement = aligned(tmp_path, "single-numa-node")
    assert placement.admit(guaranteed("a", "2", memory="10Gi")) is None
    assert where(placement, "a") == ("4-5", "1")
    assert placement.admit(guaranteed("b", "3", memory="9Gi")) is None
    assert where(placement, "b") == ("1-3", "0")


@pytest.mark.parametrize(
    ("policy", "cpus", "refused"),
    [
        ("single-numa-node", "5", True),
        ("restricted", "5", False),  # no node has five: two are as few as can be
        ("best-effort", "5", False),
        ("none", "5", False),
    ],
)
def test_what_one_node_cannot_hold(tmp_path: Path, policy: str, cpus: str, refused: bool) -> None:
    placement = aligned(tmp_path, policy)
    wide = guaranteed("a", cpus, memory="12Gi")
    assert placement.admit(wide) == (REFUSED if refused else None)


def test_restricted_refuses_what_other_pods_have_split(tmp_path: Path) -> None:
    placement = aligned(tmp_path, "restricted")
    for uid in "ab":
        assert placement.admit(guaranteed(uid, "2", memory="6Gi")) is None
    assert placement.admit(guaranteed("c", "3", memory="1Gi")) == REFUSED
    assert aligned(tmp_path / "other", "best-effort").admit(guaranteed("c", "3")) is None


def test_a_whole_pod_is_on_one_node(tmp_path: Path) -> None:
    by_pod = aligned(tmp_path, "single-numa-node", "pod")
    assert by_pod.admit(guaranteed("a", "2", "2")) is None
    assert [where(by_pod, "a", name)[1] for name in ("c0", "c1")] == ["1", "1"]
    assert by_pod.admit(guaranteed("b", "2", "2")) == REFUSED
    by_container = aligned(tmp_path / "other", "single-numa-node")
    for uid in "ab":
        assert by_container.admit(guaranteed(uid, "2", "1")) is None


class Cards:
    """A device near node 1, for whoever asks."""

    given: Hint | None = None

    def container_hints(self, pod: core_v1.Pod, container: core_v1.Container) -> Hints:
        return {"example.com/card": [Hint(0b10, True), Hint(0b11, False)]}

    def pod_hints(self, pod: core_v1.Pod) -> Hints:
        return self.container_hints(pod, pod.spec.containers[0])

    def allocate(self, pod: core_v1.Pod, container: core_v1.Container, affinity: Hint) -> None:
        self.given = affinity


def test_cores_follow_a_device() -> None:
    manager = TopologyManager(MACHINE, "restricted")
    cards = Cards()
    manager.providers = [cards]
    manager.allocate(guaranteed("a", "1"))
    assert cards.given == Hint(0b10, True)


def test_nodes_close_to_each_other_are_taken_first() -> None:
    far = {
        n: NUMANode(GIB, tuple(10 if n == o else 10 * (n + o) for o in range(4))) for n in range(4)
    }
    near = Topology(MACHINE.layout, far)
    lists = {"x": [Hint(0b0101, True), Hint(0b0011, True), Hint(0b1100, True)]}
    wide = Topology(MACHINE.layout, {**far, 0: NUMANode(GIB, (10, 90, 20, 30))})
    for machine, best in ((near, 0b0011), (wide, 0b0101)):
        manager = TopologyManager(machine, "restricted", "pod", TopologyOptions(closest=True))
        assert manager._affinity([lists]) == Hint(best, True)


def test_machines_that_do_not_suit_are_refused() -> None:
    large = regular(sockets=9)
    with pytest.raises(ValueError, match="unsupported on machines with more than 8 NUMA Nodes"):
        TopologyManager(large, "restricted")
    TopologyManager(large, "restricted", settings=TopologyOptions(most_nodes=9))
    silent = Topology(MACHINE.layout, {0: NUMANode(GIB), 1: NUMANode(GIB)})
    with pytest.raises(ValueError, match="cannot discover NUMA topology"):
        TopologyManager(silent, "restricted", settings=TopologyOptions(closest=True))
