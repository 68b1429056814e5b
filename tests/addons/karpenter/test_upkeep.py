"""What is looked at every second: static pools, machines that go, nodes that fell silent, and what
somebody left behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, pod, pool, state
from tests.addons.karpenter.pretended import Pretended, shared
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.state import StateNode
from tiphys.addons.karpenter.upkeep import Upkeep
from tiphys.api.base import canonical_quantity
from tiphys.machinery import errors, timestamps

TYPE = "m7.xlarge"


class Bench:
    def __init__(self, *states: StateNode) -> None:
        self.shared: Pretended = shared(*states)
        self.made: list[tuple[int, str]] = []
        provisioner: Any = SimpleNamespace(make=self._make)
        self.upkeep = Upkeep(self.shared, provisioner)

    async def _make(self, nodes: list[Any], reason: str) -> None:
        self.made.append((len(nodes), reason))

    async def look(self, later: float = 0) -> None:
        self.shared.time = NOW + later
        await self.upkeep._look()

    def deleted(self) -> list[str]:
        return [name.split()[1] for name in self.shared.asked("delete")]


def going(made: StateNode) -> StateNode:
    assert made.claim is not None
    made.claim.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    return made


def marked(made: StateNode) -> StateNode:
    made.marked = True
    return made


def of(name: str, **facts: Any) -> StateNode:
    made = state(name, TYPE, facts.pop("pods", ()), **facts)
    assert made.node is not None
    made.node.metadata.uid = f"node-{name}"
    return made


# --- static pools ---


def static(replicas: int, limit: int | None = None) -> Any:
    made = pool("static", replicas=replicas)
    if limit is not None:
        made.spec.limits = {"nodes": canonical_quantity(str(limit))}
    return made


@pytest.mark.parametrize(
    "replicas, limit, states, made, deleted",
    [
        (2, None, [], 2, []),
        (2, None, [of("a", pool="static")], 1, []),
        (2, None, [of("a", pool="other")], 2, []),
        (3, 2, [of("a", pool="static")], 1, []),
        (3, 1, [of("a", pool="static")], 0, []),
        (1, None, [of("a", pool="static")], 0, []),
        (1, None, [going(of("a", pool="static"))], 1, []),
        (1, None, [marked(of("a", pool="static"))], 1, []),
        (1, 1, [going(of("a", pool="static"))], 0, []),
        (0, None, [of("a", pool="static"), of("b", pool="static")], 0, ["a", "b"]),
        (1, None, [of("a", pool="static"), of("b", pool="static", ready=False)], 0, ["b"]),
        (1, None, [of("a", pool="static", pods=[pod("p")]), of("b", pool="static")], 0, ["b"]),
        (
            1,
            None,
            [of("a", pool="static"), of("b", pool="static", conditions=(names.DRIFTED,))],
            0,
            ["b"],
        ),
        (1, None, [of("b", pool="static"), of("a", pool="static")], 0, ["a"]),
        # Those that are replaced have their replacement, which is one too many for a while.
        (
            1,
            None,
            [of("a", pool="static"), of("b", pool="static"), marked(of("c", pool="static"))],
            0,
            [],
        ),
        (
            1,
            None,
            [of("a", pool="static"), of("b", pool="static"), marked(going(of("c", pool="static")))],
            0,
            ["a"],
        ),
    ],
)
async def test_a_static_pool_has_as_many_as_it_says(
    replicas: int, limit: int | None, states: list[StateNode], made: int, deleted: list[str]
) -> None:
    bench = Bench(*states)
    bench.shared.world.pools = [static(replicas, limit)]
    offer = SimpleNamespace(name="static", options=["o"], least={})
    bench.shared.world.offered = [SimpleNamespace(name="other", options=["o"], least={}), offer]
    await bench.look()
    assert bench.made == ([(made, "static")] if made else [])
    assert bench.deleted() == deleted
    assert bench.shared.disrupted == [(name, "scaled_down") for name in deleted]


@pytest.mark.parametrize("offers", [[], [SimpleNamespace(name="static", options=[], least={})]])
async def test_what_is_not_to_be_had_is_not_made(offers: list[Any]) -> None:
    bench = Bench()
    bench.shared.world.pools = [static(2)]
    bench.shared.world.offered = offers
    await bench.look()
    assert bench.made == []


@pytest.mark.parametrize("kind", ["dynamic", "going"])
async def test_other_pools_have_what_pods_need(kind: str) -> None:
    made = static(2) if kind == "going" else pool("static")
    if kind == "going":
        made.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    bench = Bench()
    bench.shared.world.pools = [made]
    bench.shared.world.offered = [SimpleNamespace(name="static", options=["o"], least={})]
    await bench.look()
    assert bench.made == []


# --- machines that go ---


@pytest.mark.parametrize(
    "kind, reason", [("spot", "SpotInterrupted"), ("on-demand", "Interrupted")]
)
async def test_a_machine_that_is_taken_away_is_drained(kind: str, reason: str) -> None:
    bench = Bench(of("a"), of("b"))
    machine: Any = SimpleNamespace(
        id="tiphys:///b", name="b", capacity_type=kind, type=TYPE, zone="z"
    )
    await bench.upkeep._interrupted(machine)
    text = f"{reason} event was received for the nodeclaim"
    assert bench.shared.events == [(reason, text, True)] * 2
    assert bench.shared.world.scarce == ([(TYPE, "z", "spot")] if kind == "spot" else [])
    assert bench.deleted() == ["b"] and bench.shared.disrupted == [("b", "interrupted")]
    assert bench.shared.log.said == [("begun", "default", "Interrupted", "b", -1)]


async def test_a_node_that_goes_already_goes_once() -> None:
    found = going(of("a"))
    bench = Bench(StateNode(None, found.claim))
    machine: Any = SimpleNamespace(
        id="tiphys:///a", name="a", capacity_type="on-demand", type=TYPE, zone="z"
    )
    await bench.upkeep._interrupted(machine)
    assert len(bench.shared.events) == 1, "there is no node to tell"
    assert bench.deleted() == [] and bench.shared.log.said == []


# --- repair ---


async def test_a_node_that_is_silent_for_half_an_hour_is_replaced() -> None:
    silent = of("a", ready=False)
    bench = Bench(silent, *(of(f"n{i}") for i in range(4)))
    await bench.look()
    await bench.look(1799)
    assert bench.deleted() == []
    await bench.look(1800)
    time = timestamps.rfc3339(NOW + 1800)
    patch = {"metadata": {"annotations": {names.TERMINATION_TIME: time}}}
    assert bench.shared.asked("patch") == [("NodeClaim a", patch)]
    assert bench.deleted() == ["a"] and bench.shared.disrupted == [("a", "unhealthy")]
    assert ("begun", "default", "Unhealthy", "a", -1) in bench.shared.log.said


async def test_one_that_speaks_again_begins_anew() -> None:
    silent, well = of("a", ready=False), of("a")
    bench = Bench(silent)
    await bench.look()
    bench.shared.world.all = [well]
    await bench.look(1000)
    bench.shared.world.all = [silent]
    await bench.look(1100)
    await bench.look(2899)
    assert bench.deleted() == []
    await bench.look(2900)
    assert bench.deleted() == ["a"]


@pytest.mark.parametrize("silent, of_all, repaired", [(1, 1, 1), (2, 10, 2), (2, 6, 2), (2, 5, 0)])
async def test_where_many_are_silent_nobody_is_replaced(
    silent: int, of_all: int, repaired: int
) -> None:
    states = [of(f"a{i}", ready=i >= silent) for i in range(of_all)]
    strangers = [of(f"b{i}", ready=False, pool="other") for i in range(5)]
    bench = Bench(*states, *strangers)
    await bench.look()
    await bench.look(1800)
    deleted = [name for name in bench.deleted() if name.startswith("a")]
    assert len(deleted) == repaired
    blocked = [one for one in bench.shared.events if one[0] == "NodeRepairBlocked"]
    message = "more than 20% nodes are unhealthy in the nodepool"
    # Each of five strangers says so, too, about its own pool.
    assert [one[1] for one in blocked] == [message] * (5 + (silent if not repaired else 0))


async def test_nobody_repairs_what_goes_or_never_came() -> None:
    unborn = of("u", ready=False)
    assert unborn.claim is not None
    unborn.claim.status.conditions = []
    claimless = StateNode(of("c", ready=False).node, None)
    nodeless = StateNode(None, of("d").claim)
    bench = Bench(going(of("a", ready=False)), unborn, claimless, nodeless)
    await bench.look()
    await bench.look(5000)
    assert bench.deleted() == [] and bench.shared.unready == {}


# --- what is left behind ---


async def test_a_machine_that_nobody_names_goes_after_a_minute() -> None:
    found = of("a")
    bench = Bench(found)
    bench.shared.world.all = []
    for later, deleted in ((0, []), (60, []), (61, ["tiphys:///a"])):
        await bench.look(later)
        assert bench.shared.machines.deleted == deleted
    bench.shared.world.all = [found]
    await bench.look(62)
    assert bench.upkeep._lost == {}, "it begins anew"
    bench.shared.world.all = []
    await bench.look(100)
    assert len(bench.shared.machines.deleted) == 1


@pytest.mark.parametrize(
    "there, ready, has_node, ends",
    [
        (True, False, True, False),
        (False, True, True, False),
        (False, False, True, True),
        (False, True, False, True),
    ],
)
async def test_a_claim_whose_machine_is_gone_goes(
    there: bool, ready: bool, has_node: bool, ends: bool
) -> None:
    found = of("a", ready=ready)
    bench = Bench(found if has_node else StateNode(None, found.claim))
    if not there:
        bench.shared.machines.there.clear()
    await bench.look()
    assert bench.deleted() == (["a"] if ends else [])
    assert bench.shared.disrupted == ([("a", "instance_gone")] if ends else [])
    if ends:
        assert ("begun", "default", "InstanceGone", "a", -1) in bench.shared.log.said


async def test_a_claim_that_was_never_launched_is_not_missed() -> None:
    found = of("a", ready=False)
    assert found.claim is not None
    found.claim.status.conditions = []
    bench = Bench(found)
    bench.shared.machines.there.clear()
    await bench.look()
    assert bench.deleted() == []


async def test_a_node_without_a_claim_is_let_go() -> None:
    found = of("a")
    assert found.node is not None
    bench = Bench()
    bench.shared.world.all = [StateNode(found.node, None)]
    found.node.metadata.finalizers = ["other/one", names.TERMINATION]
    await bench.look()
    assert bench.shared.asked("patch") == [], "nobody deleted it"
    found.node.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    await bench.look()
    patch = {"metadata": {"finalizers": ["other/one"]}}
    assert bench.shared.asked("patch") == [("Node a", patch)]
    bench.shared.server.fails["patch"] = errors.not_found("nodes", "a")
    await bench.look()
    bench.shared.server.fails["patch"] = errors.forbidden("nodes", "a", "no")
    with pytest.raises(errors.StatusError):
        await bench.look()
    bench.shared.asked("patch")
    found.node.metadata.finalizers = ["other/one"]
    await bench.look()
    assert bench.shared.asked("patch") == [] and ("written",) in bench.shared.log.said
