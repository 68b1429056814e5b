"""Jobs whose pods are PyPI's real agents with torch, each a process with an address of its own on
loopback, on machines that a test can lose."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.addons.training.builders import job_body, policy
from tests.addons.training.realagent import RealAgents, missing
from tests.addons.training.world import World, world
from tiphys.addons.training.agents import Agents
from tiphys.api import batch_v1, core_v1
from tiphys.api.base import from_builtins

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

_PATIENCE = 120.0  # seconds: torch takes long to start on a busy machine


@asynccontextmanager
async def trained(
    root: Path, *arguments: str, nodes: int = 5, body: dict[str, Any]
) -> AsyncIterator[tuple[World, RealAgents]]:
    """A job that runs."""
    agents = RealAgents(root, *arguments)
    async with world(agents.start, nodes, cpu="1", poll_seconds=0.5, agent_timeout=10) as made:
        agents.port = made.settings.agent_port
        container = body["spec"]["replicaSpecs"][0]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "1"}}
        await made.create(body)
        await made.reaches("Running", seconds=_PATIENCE)
        yield made, agents


async def steps_to(world: World, agents: RealAgents, pod: str, step: int) -> None:
    await world.cluster.eventually(lambda: agents.last_step(pod) >= step, _PATIENCE)


async def attempt_says(world: World, agents: RealAgents, pod: str, attempt: int) -> None:
    """Waits for a line of the processes after so many restarts."""
    text = f"attempt={attempt}"
    await world.cluster.eventually(lambda: agents.lines(pod, text), _PATIENCE)


async def pod_of_rank(world: World, rank: int) -> str:
    """The name of the pod whose agent says so."""
    async with Agents(world.settings.agent_port) as agents:
        pods = await world.pods()
        reports = await agents.ask(pod.status.pod_ip for pod in pods.values())
    for name, pod in pods.items():
        report = reports[pod.status.pod_ip]
        if report is not None and report.rank == rank:
            return name
    raise AssertionError(f"nobody has rank {rank}")


async def test_a_killed_worker_costs_no_pod_and_few_steps(tmp_path: Path) -> None:
    async with trained(tmp_path, body=job_body(spares=1)) as (world, agents):
        name = await pod_of_rank(world, 2)
        await steps_to(world, agents, name, 7)
        before = await world.pods()
        agents.processes[name].kill_worker()
        killed = time.time()
        job = await world.reaches("Running", restarts=1, seconds=_PATIENCE)

        def resumed() -> str:
            """The first line of the second attempt; the first one may have said more meanwhile."""
            return next((line for line in agents.lines(name) if "attempt=1" in line), "")

        await world.cluster.eventually(resumed, _PATIENCE)
        after = await world.pods()
        assert {n: p.metadata.uid for n, p in after.items()} == {
            n: p.metadata.uid for n, p in before.items()
        }
        latest = job.status.latest_faulty_pod_instance_list
        assert latest is not None and latest.faulty_rank_list == ["2"]
        assert "step=0 " not in resumed()
        print(f"the next step came {time.time() - killed:.1f}s after the kill: {resumed()}")


async def test_a_lost_node_costs_one_pod(tmp_path: Path) -> None:
    async with trained(tmp_path, body=job_body(spares=1)) as (world, agents):
        name = await pod_of_rank(world, 2)
        await steps_to(world, agents, name, 3)
        before = await world.uids()
        node = (await world.pods())[name].spec.node_name
        await world.machines.add("machine-9", cpu="1")
        await world.machines.lose(node)
        await world.reaches("Running", restarts=1, seconds=_PATIENCE)

        async def whole() -> bool:
            uids = await world.uids()
            return len(uids) == 5 and uids[name] != before[name]

        await world.cluster.eventually(whole, _PATIENCE)
        after = await world.uids()
        assert sorted(n for n in after if after[n] != before[n]) == [name]
        taker = await pod_of_rank(world, 2)
        await steps_to(world, agents, taker, 5)


async def test_a_job_ends_when_its_steps_are_done(tmp_path: Path) -> None:
    body = job_body(replicas=2, runPolicy={"cleanPodPolicy": "None"})
    async with trained(tmp_path, "--steps", "5", body=body) as (world, agents):
        await world.reaches("Completed", seconds=_PATIENCE)

        async def ended() -> bool:
            return {p.status.phase for p in (await world.pods()).values()} == {"Succeeded"}

        await world.cluster.eventually(ended, _PATIENCE)
        assert agents.last_step("train-pod-0") == 4


RULES = {
    "hang": {
        "name": "steps",
        "logPattern": r".*step=\d+ loss=(\d+(\.\d+)?) .*",
        "expectedRecurringFrequencyInSeconds": 4,
    },
    "slow": {
        "name": "speed",
        "logPattern": r".*took=(\d+) .*",
        "operator": "gteq",
        "metricThreshold": 5,
        "metricEvaluationDataPoints": 3,
    },
    "fault": {"name": "memory", "logPattern": ".*error: .*", "faultOnMatch": True},
    "start": {
        "name": "start",
        "logPattern": ".*step=.*",
        "expectedStartCutOffInSeconds": 20,  # torch takes 4 s to start where nobody else works
    },
}


@pytest.mark.parametrize(
    ("rule", "arguments", "reason"),
    [
        ("hang", ("--nan-from", "6"), "LogHang_steps"),
        ("slow", ("--slow-from", "6"), "LogSlow_speed"),
        ("fault", ("--error-at", "6"), "LogFault_memory"),
        ("start", ("--silent", "600"), "LogHang_start"),
    ],
)
async def test_rules_for_logs_are_judged_in_the_pods(
    tmp_path: Path, rule: str, arguments: tuple[str, ...], reason: str
) -> None:
    rules = {"logMonitoringConfiguration": [RULES[rule]]}
    body = job_body(replicas=2, runPolicy=rules)
    async with trained(tmp_path, "--only-first", *arguments, body=body) as (world, agents):
        await world.reaches("Running", restarts=1, seconds=_PATIENCE)
        await steps_to(world, agents, "train-pod-0", 8)
        found = await world.client.list(core_v1.Event, "default", fields=f"reason={reason}")
        assert found.items, reason


async def test_what_a_budget_allows_and_no_more(tmp_path: Path) -> None:
    limits = policy(numRestartBeforeFullJobRestart=1, maxFullJobRestarts=1)
    async with trained(tmp_path, body=job_body(replicas=2, **limits)) as (world, agents):
        first = await world.uids()
        for restarts in (1, 2, 3):
            await attempt_says(world, agents, "train-pod-1", restarts - 1)
            before = await world.uids()
            agents.processes["train-pod-1"].kill_worker()
            await world.reaches("Running", restarts=restarts, seconds=_PATIENCE)
            kept = set((await world.uids()).values()) & set(before.values())
            assert len(kept) == (0 if restarts == 2 else 2)
        assert not set((await world.uids()).values()) & set(first.values())
        await attempt_says(world, agents, "train-pod-1", 3)
        agents.processes["train-pod-1"].kill_worker()
        job = await world.reaches("Failed", restarts=3, seconds=_PATIENCE)
        assert job.status.conditions[-1].reason == "RestartLimitExceeded"


async def test_a_plain_job_loses_more_steps_by_the_same_fault(tmp_path: Path) -> None:
    """The loss is no number from step 6 on. A Job sees nothing of that and computes to the end."""
    fault = ("--steps", "150", "--nan-from", "6", "--only-first")
    rules = {"logMonitoringConfiguration": [RULES["hang"]], "cleanPodPolicy": "None"}
    body = job_body(replicas=2, runPolicy=rules)
    async with trained(tmp_path, *fault, body=body) as (world, agents):
        # Where others work, too, a step may take so long that it is taken for a hang.
        job = await world.reaches("Completed", restarts=None, seconds=2 * _PATIENCE)
        assert job.status.restart_count >= 1
        lost = len([line for line in agents.lines("train-pod-0") if "loss=nan" in line])
        assert "loss=nan" not in agents.lines("train-pod-0")[-1]
        await world.clear()
        await world.client.create(plain_job())

        async def succeeded() -> bool:
            found = await world.client.get(batch_v1.Job, "plain", "default")
            return found.status.succeeded == 1

        await world.cluster.eventually(succeeded, 2 * _PATIENCE)
        pod = next(iter(name for name in agents.processes if name.startswith("plain")))
        # Two processes write into one log, now and then into one line.
        lost_by_job = sum(line.count("loss=nan") for line in agents.lines(pod)) // 2
    print(f"steps lost: {lost}, by a plain Job {lost_by_job}")
    assert lost < lost_by_job == 144


def plain_job() -> batch_v1.Job:
    container = {"name": "trainer", "image": "trainer:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {"metadata": {"name": "plain", "namespace": "default"}, "spec": {"template": template}}
    return from_builtins({"apiVersion": "batch/v1", "kind": "Job", **body}, batch_v1.Job)
