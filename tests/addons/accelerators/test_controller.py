"""One look at a fleet: nodes are made to look as it says, and it says how it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Patched
from tiphys.addons.accelerators import DRIVER
from tiphys.addons.accelerators.controller import FleetReconciler
from tiphys.addons.accelerators.types import Fleet
from tiphys.api import core_v1, resource_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions, timestamps

NOW = 1_800_000_000.0
GPU = "nvidia.com/gpu"


class Bench:
    def __init__(self) -> None:
        self.server = Patched()
        self.events: list[tuple[str, str, str]] = []
        self.later = 0.0
        self.applied = 0
        recorder: Any = SimpleNamespace(record=self._record)
        server = cast(Any, self.server)
        nobody: Any = None
        context = Context(server, server, recorder, nobody, lambda: NOW + self.later)
        self.reconciler = FleetReconciler(context, "accelerators")
        self.reconciler.apply = self._apply  # type: ignore[method-assign]

    async def _apply(self, owner: Any, obj: Any) -> Any:
        self.applied += 1
        return self.server.put(obj)

    def _record(self, obj: Any, kind: str, reason: str, message: str, **_: Any) -> None:
        self.events.append((kind, reason, message))

    def node(self, name: str, **labels: str) -> None:
        self.server.put(from_builtins({"metadata": {"name": name, "labels": labels}}, core_v1.Node))

    def get(self, name: str) -> core_v1.Node:
        found = self.server.of(core_v1.Node).get(name)
        assert found is not None
        return cast(core_v1.Node, found)

    def fleet(self, nodes: int = 1, selector: Any = None, **more: Any) -> None:
        pool = {"name": "p", "nodes": nodes, "gpus": 2, "product": "X"}
        spec = {"pools": [pool], **more}
        if selector is not None:
            spec["nodeSelector"] = selector
        meta = {"name": "f", "creationTimestamp": timestamps.rfc3339(NOW)}
        self.server.put(from_builtins({"metadata": meta, "spec": spec}, Fleet))

    @property
    def there(self) -> Fleet:
        found = self.server.of(Fleet).get("f")
        assert found is not None
        return cast(Fleet, found)

    async def look(self, later: float = 0) -> float | None:
        self.later = later
        copy = from_builtins(to_builtins(self.there), Fleet)
        return await self.reconciler.reconcile(copy)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_node_gets_labels_devices_and_capacity(bench: Bench) -> None:
    bench.node("a", own="label")
    bench.fleet()
    assert await bench.look() is None
    node = bench.get("a")
    assert node.metadata.labels["own"] == "label" and node.metadata.labels[f"{GPU}.count"] == "2"
    assert str(node.status.capacity[GPU]) == str(node.status.allocatable[GPU]) == "2"
    devices = bench.server.of(resource_v1.ResourceSlice).get(f"a-{DRIVER}")
    assert devices is not None and len(devices.spec.devices) == 2
    version = node.metadata.resource_version
    await bench.look()
    assert (bench.get("a").metadata.resource_version, bench.applied) == (version, 1)
    assert bench.events == []


async def test_a_fleet_says_how_it_is(bench: Bench) -> None:
    bench.node("a")
    bench.fleet(nodes=2)
    await bench.look()
    status = bench.there.status
    assert (status.nodes, status.gpus, status.healthy, status.interrupted) == (1, 2, 2, [])
    found = conditions.find(status.conditions, "Ready")
    assert found is not None
    told = (found.status, found.reason, found.message)
    assert told == ("False", "NotEnoughNodes", "1 more nodes are needed")
    bench.node("b")
    await bench.look()
    found = conditions.find(bench.there.status.conditions, "Ready")
    assert found is not None
    told = (found.status, found.reason, found.message)
    assert told == ("True", "Complete", "every node is there")


@pytest.mark.parametrize(
    ("selector", "labels", "taken"),
    [
        (None, {}, True),
        (None, {"node-role.kubernetes.io/control-plane": ""}, False),
        ({"matchLabels": {"a": "b"}}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
    ],
)
async def test_a_fleet_is_of_nodes_that_it_selects(
    bench: Bench, selector: Any, labels: dict[str, str], taken: bool
) -> None:
    bench.node("a", **labels)
    bench.fleet(selector=selector)
    await bench.look()
    assert (GPU in bench.get("a").status.capacity) is taken


async def test_a_node_that_is_taken_away_is_told_step_by_step(bench: Bench) -> None:
    bench.node("a")
    event = {"pool": "p", "after": 10, "notice": 5, "returnsAfter": 20}
    bench.fleet(interruptions=[event])
    told = []
    for later, again in ((9, 1), (10, 5), (15, 20), (35, None)):
        bench.events.clear()
        assert await bench.look(later) == again
        taints = [taint.effect for taint in bench.get("a").spec.taints]
        told.append((taints, [message for _, _, message in bench.events]))
    assert told == [
        ([], []),
        (["NoSchedule"], ["Node a: notice"]),
        (["NoExecute"], ["Node a: gone"]),
        ([], ["Node a: over"]),
    ]
    assert bench.events == [("Warning", "Interruption", "Node a: over")]
    await bench.look(12)
    assert bench.there.status.interrupted == ["a"] and bench.there.status.healthy == 2
    await bench.look(15)
    assert str(bench.get("a").status.capacity[GPU]) == "0"


async def test_nodes_concern_every_fleet(bench: Bench) -> None:
    bench.fleet()
    keys: list[str] = []
    bench.reconciler.watch(keys.append)
    bench.node("a")
    assert keys == ["f"]
    bench.server.take(bench.get("a"))
    assert keys == ["f", "f"]
