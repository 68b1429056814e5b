"""What is to be disrupted is carried out: nodes are tainted, replaced, and go when what replaces them
is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, cluster, pod, pool, state
from tests.addons.karpenter.pretended import Pretended, shared
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.candidates import Candidate
from tiphys.addons.karpenter.disrupting import Disrupter
from tiphys.addons.karpenter.disruption import Command
from tiphys.addons.karpenter.state import StateNode
from tiphys.api.core_v1 import Taint
from tiphys.machinery import errors, timestamps

TYPE = "m7.xlarge"


class Bench:
    def __init__(self, *states: StateNode) -> None:
        self.shared: Pretended = shared(*states)
        self.shared.settings = SimpleNamespace(spot_to_spot_consolidation=False)  # type: ignore[assignment]
        self.shared.times.batch_max = 1.0
        self.shared.cluster.nominated = {}
        self.ordered: list[tuple[Any, str]] = []
        self.made: list[StateNode] = []
        self.fails: Exception | None = None
        provisioner: Any = SimpleNamespace(make=self._make)
        self.disrupter = Disrupter(self.shared, provisioner)
        self.pool = pool()

    async def _make(self, wanted: list[Any], reason: str) -> list[Any]:
        self.ordered.append((len(wanted), reason))
        if self.fails is not None:
            raise self.fails
        assert self.shared.world.marked == {}, "not before what replaces them is ordered"
        return [one.claim for one in self.made[: len(wanted)]]

    def command(self, *states: StateNode, replacements: int = 0, method: str = "") -> Command:
        candidates = [
            Candidate(one, one.claim, self.pool, one.pods, 1.0, 0.0)
            for one in states
            if one.claim is not None
        ]
        new: list[Any] = [SimpleNamespace(price=0.5)] * replacements
        return Command(method or "empty", candidates, new)

    async def start(self, command: Command) -> None:
        world = cluster([self.pool], self.shared.world.all)
        await self.disrupter._start(command, world)

    async def proceed(self, later: float = 0) -> None:
        self.shared.time = NOW + later
        for running in list(self.disrupter._running):
            await self.disrupter._proceed(running)

    def deleted(self) -> list[str]:
        return self.shared.asked("delete")


def fresh(name: str, ready: bool = False) -> StateNode:
    """One that replaces another."""
    made = state(name, TYPE)
    assert made.claim is not None
    if not ready:
        made.claim.status.conditions = []
    return made


async def test_an_empty_node_goes_at_once() -> None:
    found = state("a", TYPE)
    bench = Bench(found)
    await bench.start(bench.command(found))
    assert [one[0] for one in bench.shared.asked("patch")] == ["Node a"], "it is tainted"
    assert bench.shared.world.marked == {"a": "Empty"}
    assert bench.shared.conditions == [(names.DISRUPTION_REASON, "True", "Empty")]
    assert bench.shared.log.said == [("begun", "default", "Empty", "a", 1)]
    assert bench.shared.counted["decisions"].counts == {("delete", "empty", "empty"): 1}
    assert bench.deleted() == []
    await bench.proceed()
    assert bench.deleted() == ["NodeClaim a"] and bench.disrupter._running == []
    assert bench.shared.disrupted == [("a", "empty")]
    assert bench.shared.events == [
        ("DisruptionTerminating", "Disrupting Node: Empty", False),
        ("DisruptionTerminating", "Disrupting NodeClaim: Empty", False),
    ]


async def test_a_claim_whose_node_is_gone_goes_alone() -> None:
    found = state("a", TYPE)
    bench = Bench(found)
    await bench.start(bench.command(found))
    found.node = None
    await bench.proceed()
    assert bench.deleted() == ["NodeClaim a"] and len(bench.shared.events) == 1


async def test_a_node_goes_when_what_replaces_it_is_there() -> None:
    old, first, second = state("a", TYPE, [pod("p")]), fresh("b"), fresh("c")
    bench = Bench(old)
    bench.made = [first, second]
    await bench.start(bench.command(old, replacements=2, method="drift"))
    assert bench.ordered == [(2, "drifted")]
    bench.shared.world.all += [first, second]
    await bench.proceed()
    assert bench.deleted() == []
    bench.shared.world.all[1:] = [fresh("b", ready=True), second]
    await bench.proceed(600)
    assert bench.deleted() == [] and len(bench.disrupter._running) == 1
    bench.shared.world.all[2:] = [fresh("c", ready=True)]
    await bench.proceed(600)
    assert bench.deleted() == ["NodeClaim a"]
    assert bench.shared.counted["decisions"].counts == {("replace", "drifted", "drift"): 1}


@pytest.mark.parametrize("how", ["late", "gone", "going"])
async def test_a_node_whose_replacement_fails_stays(how: str) -> None:
    old, new = state("a", TYPE), fresh("b")
    bench = Bench(old)
    bench.made = [new]
    await bench.start(bench.command(old, replacements=1, method="drift"))
    if how != "gone":
        bench.shared.world.all.append(new)
    if how == "going":
        assert new.claim is not None
        new.claim.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    await bench.proceed(601 if how == "late" else 0)
    assert bench.deleted() == [] and bench.disrupter._running == []
    assert bench.shared.world.marked == {}
    assert bench.shared.log.said[-1] == ("given up", "default", "a")
    assert bench.shared.counted["failed_commands"].counts == {("replace", "drifted"): 1}


@pytest.mark.parametrize("replacements, ordered", [(0, [(0, "empty")]), (1, [])])
async def test_who_cannot_be_tainted_stays(replacements: int, ordered: list[Any]) -> None:
    nodes = [state(name, TYPE) for name in ("a", "b", "c")]
    bench = Bench(*nodes)
    command = bench.command(*nodes, replacements=replacements)
    nodes[2].node = None
    patch = bench.shared.server.patch

    async def refusing(kind: Any, name: str, change: Any, *, media: str) -> Any:
        if name == "a":
            raise errors.conflict("nodes", "a", "changed")
        return await patch(kind, name, change, media=media)

    bench.shared.server.patch = refusing  # type: ignore[method-assign]
    await bench.start(command)
    assert bench.ordered == ordered
    assert list(bench.shared.world.marked) == ([] if replacements else ["b"])
    if replacements:
        assert bench.shared.log.said == [("given up", "default", "b")]


async def test_nobody_is_ordered_for_nobody() -> None:
    found = state("a", TYPE)
    bench = Bench(found)
    command = bench.command(found)
    found.node = None
    await bench.start(command)
    assert bench.ordered == [] and bench.disrupter._running == []


async def test_an_order_that_fails_is_given_up_and_told() -> None:
    found = state("a", TYPE)
    bench = Bench(found)
    bench.fails = errors.forbidden("nodeclaims", "x", "no")
    with pytest.raises(errors.StatusError):
        await bench.start(bench.command(found, replacements=1))
    assert bench.shared.log.said == [("given up", "default", "a")]
    assert bench.disrupter._running == [] and bench.shared.world.marked == {}


async def test_nodes_to_which_pods_will_come_are_left_alone() -> None:
    old, other, third = (state(name, TYPE) for name in ("a", "b", "c"))
    bench = Bench(old, other, third)
    command = bench.command(old)
    command.placed = {"b": []}
    await bench.start(command)
    assert bench.shared.cluster.nominated == {"b": NOW + 10}


async def test_what_somebody_left_half_done_is_given_back() -> None:
    left = state("a", TYPE, conditions=(names.DISRUPTION_REASON,))
    untouched = state("b", TYPE)
    bench = Bench(left, untouched)
    assert left.node is not None

    left.node.spec.taints = [Taint(key=names.DISRUPTED_TAINT, effect="NoSchedule")]
    cleared: list[tuple[Any, ...]] = []

    async def set_condition(name: str, wanted: Any, type_: str) -> None:
        cleared.append((name, wanted, type_))

    bench.shared.set_condition = set_condition  # type: ignore[method-assign]
    await bench.disrupter._tidy()
    assert [one[0] for one in bench.shared.asked("patch")] == ["Node a"]
    assert cleared == [("a", None, names.DISRUPTION_REASON)]


async def test_a_look_comes_in_its_time_and_what_waits_is_looked_at_again() -> None:
    bench = Bench()
    bench.shared.world.is_settled = False  # type: ignore[attr-defined]
    bench.shared.times.disruption = 10.0
    calls: list[str] = []

    async def looked() -> None:
        calls.append("look")

    async def validated(command: Any) -> None:
        calls.append("validate")

    bench.disrupter._look = looked  # type: ignore[method-assign]
    bench.disrupter._validate = validated  # type: ignore[method-assign]
    await bench.disrupter._tick()
    assert calls == []
    bench.shared.world.is_settled = True  # type: ignore[attr-defined]
    for later, after in ((0, 1), (9, 1), (10, 2)):
        bench.shared.time = NOW + later
        await bench.disrupter._tick()
        assert calls == ["look"] * after
    bench.shared.wake_disruption()
    await bench.disrupter._tick()
    assert calls == ["look"] * 3
    bench.disrupter._pending = (bench.command(), NOW + 25)
    for later, last in ((24, "look"), (25, "validate"), (26, "look")):
        bench.shared.time = NOW + later
        await bench.disrupter._tick()
        assert calls[-1] == last
    assert len(calls) == 5 and bench.disrupter._pending is None
