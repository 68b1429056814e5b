"""The cloud: what is ordered, what runs, what is taken away, and what is left after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.addons._cloud.builders import (
    ELSEWHERE,
    ON_DEMAND,
    SPOT,
    TYPE,
    Bench,
    Sandboxes,
    order,
)
from tiphys.addons._cloud.machines import InsufficientCapacity
from tiphys.addons._cloud.sandboxes import CONTAINERD
from tiphys.addons.machines import MachineError
from tiphys.node.states import RUNNING


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(monkeypatch, tmp_path, Sandboxes())
    yield made
    await made.cloud.close()
    await made.tasks.stop()


# --- orders ---


async def test_the_first_that_can_be_had_is_made(bench: Bench) -> None:
    machine = await bench.cloud.create(order())
    assert (machine.name, machine.type, machine.zone) == ("n", "m1.small", "a")
    assert machine.capacity_type == "on-demand" and machine.id.startswith("tiphys:///a/i-")
    assert (machine.image, machine.launched_at, machine.ends_at) == ("base@1", 1000.0, None)
    assert machine.labels["own"] == "label"
    assert machine.labels["topology.kubernetes.io/region"] == "r"
    assert bench.cloud.get(machine.id) is machine and bench.cloud.machines() == [machine]


async def test_the_same_order_gives_the_same_machine(bench: Bench) -> None:
    first = await bench.cloud.create(order())
    assert await bench.cloud.create(order()) is first
    assert await bench.cloud.create(order("m")) is not first


async def test_what_cannot_be_had_is_passed_over(bench: Bench) -> None:
    bench.cloud.make_unavailable(lambda type_name, offering: offering == ON_DEMAND)
    assert (await bench.cloud.create(order())).capacity_type == "spot"
    with pytest.raises(InsufficientCapacity, match="all requested instance types"):
        await bench.cloud.create(order("m", options=[(TYPE, ON_DEMAND)]))
    with pytest.raises(InsufficientCapacity):
        await bench.cloud.create(order("m", options=[]))
    asked: list[str] = []
    bench.cloud.make_unavailable(lambda type_name, offering: bool(asked.append(type_name)))
    await bench.cloud.create(order("m", options=[(TYPE, ELSEWHERE)]))
    assert asked == ["m1.small"]


async def test_a_hollow_machine_may_have_what_no_type_has(bench: Bench) -> None:
    more = replace(TYPE, capacity={**TYPE.capacity, "cpu": 9000, "example.com/disk": 2})
    machine = await bench.cloud.create(order(options=[(more, SPOT)]))
    assert machine.extra == {"cpu": 9000, "example.com/disk": 2}
    assert bench.cloud.type_of(machine).capacity == more.capacity
    plain = await bench.cloud.create(order("m"))
    assert plain.extra == {} and bench.cloud.type_of(plain) == TYPE


# --- hollow machines run as nodes ---


async def test_a_machine_runs_as_the_node_that_was_ordered(bench: Bench) -> None:
    machine = await bench.running()
    options = bench.agent("n").options
    assert (options.name, options.provider_id) == ("n", machine.id)
    assert options.labels["type"] == "hollow" and options.labels["own"] == "label"
    assert options.labels["beta.kubernetes.io/arch"] == "amd64"
    assert [taint.key for taint in options.taints] == ["new"]
    assert options.configuration.max_pods == 10
    assert str(options.capacity["cpu"]) == "2"


async def test_a_machine_that_ended_before_it_came_up_does_not(bench: Bench) -> None:
    machine = await bench.cloud.create(order())
    assert await bench.cloud.delete(machine.id) is True
    await bench.settle()
    assert not bench.cloud.is_running("n")
    assert await bench.cloud.delete(machine.id) is False


async def test_an_agent_hears_of_its_own_pods(bench: Bench) -> None:
    await bench.cloud.start()
    bench.pod("early", "n")
    bench.pod("other", "m")
    await bench.running()
    await bench.settle()
    agent = bench.agent("n")
    assert agent.told == [(None, "early")]
    agent.told.clear()
    bench.pod("late", "")
    bound = bench.pod("late", "n")
    assert agent.told == [(None, "late")], "new to it once it is bound"
    bench.server.take(bound)
    assert agent.told[1:] == [("late", None)]


async def test_an_agent_hears_of_its_own_node(bench: Bench) -> None:
    await bench.cloud.start()
    machine = await bench.running()
    node = bench.node(machine)
    assert bench.agent("n").told == [(None, "n")]
    bench.server.take(node)
    assert bench.agent("n").told[1:] == [("n", None)]
    stranger = bench.node(machine)
    stranger.spec.provider_id = "other"
    bench.agent("n").told.clear()
    bench.server.put(stranger)
    assert bench.agent("n").told == []


@pytest.mark.parametrize(
    "states, answers", [([], False), ([RUNNING], True), ([RUNNING, "exited"], False)]
)
async def test_a_pod_answers_with_all_its_containers(
    bench: Bench, states: list[str], answers: bool
) -> None:
    await bench.running()
    rows = {str(i): SimpleNamespace(state=state) for i, state in enumerate(states)}
    bench.agent("n").pods["u"] = rows
    assert await bench.cloud.answers("n", "u") is answers
    assert await bench.cloud.answers("m", "u") is False


# --- they end ---


async def test_a_machine_is_taken_away_after_a_notice(bench: Bench) -> None:
    told: list[str] = []
    bench.cloud.on_notice(lambda machine: told.append(machine.id))
    await bench.cloud.start()
    machine = await bench.running()
    await bench.cloud.interrupt(machine.id, 120)
    await bench.cloud.interrupt(machine.id, 5)
    await bench.cloud.interrupt("none", 5)
    assert (machine.ends_at, told) == (1120.0, [machine.id])
    bench.time = 1119.9
    await bench.settle()
    assert bench.cloud.is_running("n")
    agent = bench.agent("n")
    bench.time = 1120.0
    await bench.settle()
    assert bench.cloud.machines() == [] and agent.stopped


async def test_a_silent_machine_is_there_and_does_not_answer(bench: Bench) -> None:
    machine = await bench.running()
    await bench.cloud.silence(machine.id)
    assert machine.silent and not bench.cloud.is_running("n")
    assert bench.cloud.machines() == [machine]
    await bench.cloud.silence(machine.id)
    await bench.cloud.silence("none")


@pytest.mark.parametrize(
    "annotations, silent, ends_at",
    [
        ({}, False, None),
        ({"fail": "true"}, True, None),
        ({"fail": "yes"}, False, None),
        ({"interrupt": "120s"}, False, 1120.0),
        ({"interrupt": "soon"}, False, None),
    ],
)
async def test_a_node_may_ask_for_trouble(
    bench: Bench, annotations: dict[str, str], silent: bool, ends_at: float | None
) -> None:
    await bench.cloud.start()
    machine = await bench.running()
    bench.node(machine, **annotations)
    await bench.settle()
    assert (machine.silent, machine.ends_at) == (silent, ends_at)
    bench.time += 10
    bench.node(machine, **annotations)
    await bench.settle()
    assert machine.ends_at == ends_at, "once"


# --- sandboxes ---


async def test_a_machine_that_runs_containers_is_a_sandbox(bench: Bench) -> None:
    assert bench.sandboxes is not None
    machine = await bench.cloud.create(order(runtime=CONTAINERD))
    made = bench.sandboxes.there["n"]
    assert made.provider_id == machine.id
    assert made.labels["cloud.tiphys.dev/runtime"] == "containerd"
    assert made.labels["beta.kubernetes.io/arch"] == "amd64"
    assert machine.extra == {}
    await bench.settle()
    assert not bench.cloud.is_running("n")
    await bench.cloud.delete(machine.id)
    assert bench.sandboxes.there == {} and bench.cloud.machines() == []


async def test_a_sandbox_that_cannot_be_made_is_no_machine(bench: Bench) -> None:
    assert bench.sandboxes is not None
    bench.sandboxes.fails = "the disk is full"
    with pytest.raises(InsufficientCapacity, match="the disk is full"):
        await bench.cloud.create(order(runtime=CONTAINERD))
    assert bench.cloud.machines() == []
    bench.sandboxes = None
    bench.again()
    with pytest.raises(InsufficientCapacity, match="no machines that run containers"):
        await bench.cloud.create(order(runtime=CONTAINERD))


async def test_a_sandbox_that_does_not_end_is_tried_again(bench: Bench) -> None:
    assert bench.sandboxes is not None
    await bench.cloud.start()
    machine = await bench.cloud.create(order(runtime=CONTAINERD))
    bench.sandboxes.fails = "busy"
    with pytest.raises(MachineError):
        await bench.cloud.delete(machine.id)
    assert bench.cloud.machines() == [machine]
    await bench.cloud.interrupt(machine.id, 0)
    await bench.settle()
    assert bench.cloud.machines() == [machine]
    bench.sandboxes.fails = ""
    await bench.settle()
    assert bench.cloud.machines() == []


async def test_a_sandbox_follows_its_nodes_annotations_and_is_silenced(bench: Bench) -> None:
    assert bench.sandboxes is not None
    await bench.cloud.start()
    machine = await bench.cloud.create(order(runtime=CONTAINERD))
    bench.node(machine, fail="true")
    await bench.settle()
    assert machine.silent and bench.sandboxes.there == {}
    assert bench.cloud.machines() == [machine]


# --- restarts ---


async def test_what_ran_runs_again_and_what_nobody_ordered_ends(bench: Bench) -> None:
    assert bench.sandboxes is not None
    hollow = await bench.running()
    silent = await bench.running("silent")
    await bench.cloud.silence(silent.id)
    sandbox = await bench.cloud.create(order("box", runtime=CONTAINERD))
    await bench.cloud.close()
    assert not bench.cloud.is_running("n")
    bench.sandboxes.there = Sandboxes("stranger").there
    bench.again()
    await bench.cloud.start(("127.0.0.1", "::1"))
    assert bench.cloud.machines() == [hollow, silent, sandbox]
    assert bench.cloud.is_running("n") and not bench.cloud.is_running("silent")
    assert list(bench.sandboxes.there) == ["box"]
    assert bench.agent("n").options.addresses == ("127.0.0.1", "::1")
    assert bench.closed == 1


async def test_a_cloud_without_sandboxes_starts(bench: Bench) -> None:
    bench.sandboxes = None
    bench.again()
    await bench.cloud.start()
    machine = await bench.running()
    await bench.cloud.delete(machine.id)
    assert bench.cloud.machines() == []
