"""What is known of nodes, and what pods use there that no topology has placed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.kueue.builders import PREFIX, node, queued_pod
from tests.addons.pretended import Pretended
from tiphys.addons.kueue.clusternodes import ClusterNodes, is_placed_by_topology
from tiphys.api import core_v1

ONE = {"cpu": 1000, "pods": 1}
TWO = {"cpu": 2000, "pods": 2}
NONE = {"cpu": 0, "pods": 0}


class Bench:
    def __init__(self) -> None:
        self.server = Pretended()
        self.calls = 0
        self.waited = 0
        informers = SimpleNamespace(of=self.server.of, synced=self._synced)
        context: Any = SimpleNamespace(informers=informers)
        self.nodes = ClusterNodes(cast(Any, context), self._changed)

    async def _synced(self) -> None:
        self.waited += 1

    def _changed(self) -> None:
        self.calls += 1

    def put(self, obj: Any) -> bool:
        """Whether that gives or takes room for those who wait."""
        before = self.calls
        self.server.put(obj)
        return self.calls > before

    def take(self, obj: Any) -> bool:
        before = self.calls
        self.server.take(obj)
        return self.calls > before


def pod(name: str = "p", on: str = "n", **more: Any) -> core_v1.Pod:
    return queued_pod(name, spec={"nodeName": on} if on else {}, **more)


@pytest.mark.parametrize(
    "annotation, placed",
    [
        ("podset-required-topology", True),
        ("podset-preferred-topology", True),
        ("podset-unconstrained-topology", True),
        ("podset-slice-required-topology", True),
        ("podset-slice-required-topology-constraints", True),
        ("podset-slice-size", False),
        ("role-hash", False),
    ],
)
def test_a_pod_says_that_a_topology_places_it(annotation: str, placed: bool) -> None:
    assert is_placed_by_topology({f"{PREFIX}/{annotation}": "x"}) is placed


async def test_nobody_looks_before_there_is_a_topology() -> None:
    bench = Bench()
    bench.put(node("n", {}))
    assert (bench.nodes.nodes, bench.nodes.others, bench.calls) == ([], {}, 0)
    bench.put(pod())
    await bench.nodes.follow()
    await bench.nodes.follow()
    assert bench.waited == 1, "once"
    assert [one.metadata.name for one in bench.nodes.nodes] == ["n"]
    assert bench.nodes.others == {"n": ONE}


async def test_pods_are_counted_while_they_are_on_a_node() -> None:
    bench = Bench()
    await bench.nodes.follow()
    assert not bench.put(pod("a", on="")), "nobody has less room"
    assert bench.nodes.others == {}
    assert not bench.put(pod("a")) and not bench.put(pod("b"))
    assert bench.nodes.others == {"n": TWO}
    assert not bench.put(pod("a")), "as it was"
    assert bench.nodes.others == {"n": TWO}
    assert bench.put(pod("a", phase="Succeeded"))
    assert bench.nodes.others == {"n": ONE}
    assert not bench.put(pod("a", phase="Succeeded")) and bench.nodes.others == {"n": ONE}
    assert bench.take(pod("b"))
    assert bench.nodes.others == {"n": NONE}
    assert not bench.take(pod("a", phase="Succeeded")) and bench.nodes.others == {"n": NONE}


async def test_pods_that_a_topology_places_are_counted_by_it() -> None:
    bench = Bench()
    await bench.nodes.follow()
    assert not bench.put(pod(podset_required_topology="rack"))
    assert bench.nodes.others == {}


@pytest.mark.parametrize(
    "changed, matters",
    [
        (node("n", {}), False),
        (node("n", {"rack": "r"}), True),
        (node("n", {}, cpu=5), True),
        (node("n", {}, unschedulable=True), True),
        (node("n", {}, taints=[{"key": "a", "effect": "NoSchedule"}]), True),
    ],
)
async def test_nodes_that_changed_may_have_room(changed: core_v1.Node, matters: bool) -> None:
    bench = Bench()
    await bench.nodes.follow()
    first = node("n", {})
    assert bench.put(first)
    changed.metadata.annotations = {"seen": "now"}
    assert bench.put(changed) is matters
    assert bench.take(changed)


async def test_a_node_that_is_not_ready_any_more_has_none() -> None:
    bench = Bench()
    await bench.nodes.follow()
    bench.put(node("n", {}))
    lost = node("n", {})
    lost.status.conditions = []
    assert bench.put(lost)
