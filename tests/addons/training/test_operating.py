"""Jobs on a cluster whose agents are stand-ins: what the operator tells them, and what becomes of
the pods."""

from __future__ import annotations

import time

import pytest

from tests.addons.training.builders import job_body, policy
from tests.addons.training.world import fake_world
from tiphys.machinery.errors import StatusError


async def test_all_agents_are_started_with_a_rank_each() -> None:
    async with fake_world() as (world, agents):
        await world.create(job_body(replicas=3))
        job = await world.reaches("Running")
        starts = [agents.by_pod[f"train-pod-{index}"].starts for index in range(3)]
        assert [len(bodies) for bodies in starts] == [1, 1, 1]
        assert sorted(bodies[0]["rank"] for bodies in starts) == [0, 1, 2]
        assert {bodies[0]["master_addr"] for bodies in starts} == {job.status.master_addr}
        assert {bodies[0]["nnodes"] for bodies in starts} == {3}


async def test_a_crash_restarts_processes_and_no_pod() -> None:
    async with fake_world() as (world, agents):
        await world.create(job_body(replicas=3))
        await world.reaches("Running")
        before = await world.uids()
        agents.of_rank(2).fault(now=time.time())
        job = await world.reaches("Running", restarts=1)
        assert await world.uids() == before
        latest = job.status.latest_faulty_pod_instance_list
        assert latest is not None
        assert (latest.restart_type, latest.faulty_rank_list) == ("PLR", ["2"])
        assert all(agent.stops == [{"restart_mode": "plr"}] for agent in agents.by_pod.values())
        assert {agent.starts[-1]["faultCount"] for agent in agents.by_pod.values()} == {1}


async def test_a_spare_takes_the_rank_of_a_pod_whose_node_is_lost() -> None:
    async with fake_world(nodes=5, cpu="1") as (world, agents):
        body = job_body(replicas=4, spares=1)
        container = body["spec"]["replicaSpecs"][0]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "1"}}
        await world.create(body)
        await world.reaches("Running")
        before = await world.uids()
        pods = await world.pods()
        lost = next(name for name, agent in agents.by_pod.items() if agent.rank == 2)
        spare = next(agent for agent in agents.by_pod.values() if agent.rank < 0)
        await world.machines.add("machine-5", cpu="1")
        await world.machines.lose(pods[lost].spec.node_name)
        job = await world.reaches("Running", restarts=1)
        assert spare.rank == 2

        async def replaced() -> bool:
            return len(await world.uids()) == 5 and (await world.uids())[lost] != before[lost]

        await world.cluster.eventually(replaced)
        after = await world.uids()
        assert [name for name in after if after[name] != before[name]] == [lost]
        latest = job.status.latest_faulty_pod_instance_list
        assert latest is not None and latest.faulty_pod_list == [lost]


async def test_a_budget_of_restarts_ends_in_new_pods_and_then_in_failure() -> None:
    limits = policy(numRestartBeforeFullJobRestart=1, maxFullJobRestarts=1)
    async with fake_world() as (world, agents):
        await world.create(job_body(replicas=2, **limits))
        await world.reaches("Running")
        first = await world.uids()
        agents.of_rank(0).fault(now=time.time())
        await world.reaches("Running", restarts=1)
        assert await world.uids() == first
        agents.of_rank(1).fault(now=time.time())
        await world.reaches("Running", restarts=2)
        assert not set((await world.uids()).values()) & set(first.values())
        agents.of_rank(1).fault(now=time.time())
        await world.reaches("Running", restarts=3)
        agents.of_rank(1).fault("LogHang_steps", now=time.time())
        job = await world.reaches("Failed", restarts=3)
        failed = job.status.conditions[-1]
        assert (failed.type, failed.reason) == ("Failed", "RestartLimitExceeded")
        assert "LogHang_steps of rank 1" in failed.message


async def test_a_job_completes_when_all_have() -> None:
    run = {"runPolicy": {"cleanPodPolicy": "None"}}
    async with fake_world() as (world, agents):
        await world.create(job_body(replicas=2, **run))
        await world.reaches("Running")
        agents.of_rank(0).complete()
        agents.of_rank(1).complete()
        await world.reaches("Completed")

        async def ended() -> bool:
            pods = await world.pods()
            return {pod.status.phase for pod in pods.values()} == {"Succeeded"}

        await world.cluster.eventually(ended)


async def test_a_job_that_cannot_run_is_refused_with_the_path_of_its_field() -> None:
    rule = {"name": "loss", "logPattern": "loss=(\\d+) at (\\d+)"}
    async with fake_world(nodes=1) as (world, _):
        with pytest.raises(StatusError) as refused:
            await world.create(
                job_body(runPolicy={"logMonitoringConfiguration": [rule]}),
            )
        assert "spec.runPolicy.logMonitoringConfiguration[0].logPattern" in str(refused.value)
        assert "at most one capturing group" in str(refused.value)
