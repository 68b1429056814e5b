"""Jobs on a cluster whose agents are stand-ins: what the operator tells them, and what becomes of
the pods."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.addons.training.builders import job_body, policy
from tests.addons.training.world import Agents, World, fake_world
from tiphys.addons.training import Settings
from tiphys.addons.training.memory import CHECKPOINTS
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.api import core_v1
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[World, Agents]]:
    async with fake_world(nodes=6, cpu="4", agent_timeout=1) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def both(shared: tuple[World, Agents]) -> AsyncIterator[tuple[World, Agents]]:
    """The world without jobs."""
    yield shared
    await shared[0].clear()
    shared[1].by_pod.clear()


Both = tuple[World, Agents]


def wide(replicas: int, spares: int = 0, **spec: Any) -> dict[str, Any]:
    """A job whose pods take a whole node each."""
    body = job_body(replicas=replicas, spares=spares, **spec)
    container = body["spec"]["replicaSpecs"][0]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "4"}}
    return body


async def test_all_agents_are_started_with_a_rank_each(both: Both) -> None:
    world, agents = both
    await world.create(job_body(replicas=3))
    job = await world.reaches("Running")
    starts = [agents.by_pod[f"train-pod-{index}"].starts for index in range(3)]
    assert [len(bodies) for bodies in starts] == [1, 1, 1]
    assert sorted(bodies[0]["rank"] for bodies in starts) == [0, 1, 2]
    assert {bodies[0]["master_addr"] for bodies in starts} == {job.status.master_addr}
    service = await world.client.get(core_v1.Service, "train", "default")
    assert (service.spec.cluster_ip, service.spec.selector) == ("None", {"HPJob": "train"})


async def test_a_crash_restarts_processes_and_no_pod(both: Both) -> None:
    world, agents = both
    await world.create(job_body(replicas=3))
    await world.reaches("Running")
    before = await world.uids()
    agents.of_rank(2).fault(now=time.time())
    job = await world.reaches("Running", restarts=1)
    assert await world.uids() == before
    latest = job.status.latest_faulty_pod_instance_list
    assert latest is not None
    assert (latest.restart_type, latest.faulty_rank_list) == ("PLR", ["2"])
    assert all(agent.stops[0] == {"restart_mode": "plr"} for agent in agents.by_pod.values())
    assert {agent.starts[-1]["faultCount"] for agent in agents.by_pod.values()} == {1}


async def test_a_spare_takes_the_rank_of_a_pod_whose_node_is_lost(both: Both) -> None:
    world, agents = both
    await world.create(wide(4, spares=1))
    await world.reaches("Running")
    before = await world.uids()
    lost = next(name for name, agent in agents.by_pod.items() if agent.rank == 2)
    spare = next(agent for agent in agents.by_pod.values() if agent.rank < 0)
    await world.machines.lose((await world.pods())[lost].spec.node_name)
    job = await world.reaches("Running", restarts=1)
    assert spare.rank == 2

    async def replaced() -> bool:
        return len(await world.uids()) == 5 and (await world.uids())[lost] != before[lost]

    await world.cluster.eventually(replaced)
    after = await world.uids()
    assert [name for name in after if after[name] != before[name]] == [lost]
    latest = job.status.latest_faulty_pod_instance_list
    assert latest is not None and latest.faulty_pod_list == [lost]


async def test_a_node_that_is_to_be_replaced_is_left(both: Both) -> None:
    world, agents = both
    await world.create(wide(2, spares=1))
    await world.reaches("Running")
    before = await world.pods()
    lost = next(name for name, agent in agents.by_pod.items() if agent.rank == 0)
    label = {"sagemaker.amazonaws.com/node-health-status": "UnschedulablePendingReplacement"}
    node = before[lost].spec.node_name
    patch = {"metadata": {"labels": label}, "spec": {"unschedulable": True}}
    await world.client.patch(core_v1.Node, node, patch, media=MERGE)
    job = await world.reaches("Running", restarts=1)
    latest = job.status.latest_faulty_pod_instance_list
    assert latest is not None and latest.faulty_instance_id_list == [node]
    well = {"metadata": {"labels": dict.fromkeys(label)}, "spec": {"unschedulable": None}}
    await world.client.patch(core_v1.Node, node, well, media=MERGE)


async def test_a_budget_of_restarts_ends_in_new_pods_and_then_in_failure(both: Both) -> None:
    world, agents = both
    limits = policy(numRestartBeforeFullJobRestart=1, maxFullJobRestarts=1)
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


async def test_a_job_completes_when_all_have_and_is_counted(both: Both) -> None:
    world, agents = both
    await world.create(job_body(replicas=2, runPolicy={"cleanPodPolicy": "None"}))
    await world.reaches("Running")
    agents.of_rank(0).complete()
    agents.of_rank(1).complete()
    await world.reaches("Completed")

    async def ended() -> bool:
        pods = await world.pods()
        return {pod.status.phase for pod in pods.values()} == {"Succeeded"}

    await world.cluster.eventually(ended)
    assert Settings().metrics_port == 8081
    text = await world.metrics()
    for name in ("created_total", "successful_total", "restarted_total", "failed_total"):
        assert f"hyperpod_training_operator_jobs_{name} " in text
    assert "hyperpod_training_operator_jobs_restart_latency_count" in text


async def test_a_new_operator_goes_on_where_the_old_one_was(both: Both) -> None:
    world, agents = both
    await world.create(job_body(replicas=2))
    await world.reaches("Running")
    before = await world.uids()
    await world.restart_operator()
    agents.of_rank(1).fault(now=time.time())
    await world.reaches("Running", restarts=1)
    assert await world.uids() == before
    assert [len(agent.starts) for agent in agents.by_pod.values()] == [2, 2]


async def test_checkpoints_outlive_the_operator_and_all_pods(both: Both) -> None:
    world, agents = both
    limits = policy(numRestartBeforeFullJobRestart=0, maxFullJobRestarts=1)
    await world.create(job_body(replicas=2, **limits))
    await world.reaches("Running")
    checkpoint = {"model": {"progressCount": 40, "progressData": "/checkpoints/40"}}
    for agent in agents.by_pod.values():
        agent.progress = checkpoint

    async def is_remembered() -> bool:
        return CHECKPOINTS in (await world.job()).metadata.annotations

    await world.cluster.eventually(is_remembered)
    await world.restart_operator()
    before = await world.uids()
    agents.of_rank(1).fault(now=time.time())
    await world.reaches("Running", restarts=1)
    assert not set((await world.uids()).values()) & set(before.values())
    assert [agent.starts[0]["progress"] for agent in agents.by_pod.values()] == [checkpoint] * 2


@pytest.mark.slow
async def test_an_agent_that_has_fallen_silent_costs_its_pod(both: Both) -> None:
    world, agents = both
    await world.create(job_body(replicas=3))
    await world.reaches("Running")
    before = await world.uids()
    silent = next(name for name, agent in agents.by_pod.items() if agent.rank == 1)
    await agents.by_pod[silent].close()
    await world.reaches("Running", restarts=1)
    after = await world.uids()
    assert [name for name in after if after[name] != before[name]] == [silent]


async def test_agents_that_never_answer_are_named(both: Both) -> None:
    world, agents = both
    agents.mute = True
    try:
        await world.create(job_body(replicas=2, runPolicy={"startupDeadlineSeconds": 600}))

        async def all_run() -> bool:
            pods = await world.pods()
            return [pod.status.phase for pod in pods.values()] == ["Running"] * 2

        await world.cluster.eventually(all_run)
        late = {"spec": {"runPolicy": {"startupDeadlineSeconds": 1}}}
        await world.client.patch(HyperPodPyTorchJob, "train", late, "default", media=MERGE)
        job = await world.reaches("Failed")
    finally:
        agents.mute = False
    failed = job.status.conditions[-1]
    assert failed.reason == "StartupDeadlineExceeded"
    assert "agents that do not answer: train-pod-0, train-pod-1" in failed.message


async def test_an_elastic_job_takes_the_nodes_that_come(both: Both) -> None:
    world, agents = both
    free = len(world.machines.alive)
    body = wide(2, elasticPolicy={"minReplicas": 2, "maxReplicas": free + 1})
    await world.create(body)

    async def has(size: int) -> bool:
        scaling = (await world.job()).status.elastic_scaling_status
        running = [agent for agent in agents.by_pod.values() if agent.state == "RUNNING"]
        done = scaling is not None and scaling.pods_scaled is True
        return done and len(running) == size == running[0].starts[-1]["nnodes"]

    await world.cluster.eventually(lambda: has(free))
    await world.machines.add("late", cpu="4")
    await world.cluster.eventually(lambda: has(free + 1))
    assert (await world.job()).status.restart_count == 0


async def test_two_jobs_for_which_there_is_no_room_do_not_block_each_other(both: Both) -> None:
    world, agents = both
    count = len(world.machines.alive)
    for name in ("one", "two"):
        body = wide(count)
        body["metadata"]["name"] = name
        await world.create(body)

    async def first() -> str:
        for name in ("one", "two"):
            job = await world.job(name)
            if any(c.type == "Running" and c.status == "True" for c in job.status.conditions):
                return name
        return ""

    winner = await world.cluster.eventually(first)
    other = "two" if winner == "one" else "one"
    assert not any(pod.spec.node_name for pod in (await world.pods(other)).values())
    for agent in agents.by_pod.values():
        agent.complete()
    await world.reaches("Completed", name=winner)
    await world.reaches("Running", name=other)


RULE = "spec.runPolicy.logMonitoringConfiguration[0]"


@pytest.mark.parametrize(
    ("rule", "group", "elastic", "words"),
    [
        ({"logPattern": "loss=("}, {}, {}, f"{RULE}.logPattern: Invalid value"),
        ({"logPattern": "(a) at (b)"}, {}, {}, "must have at most one capturing group"),
        ({"operator": "ge", "metricThreshold": 1}, {}, {}, f"{RULE}.operator: Unsupported value"),
        ({}, {"replicas": 0}, {}, "spec.replicaSpecs[0].replicas: Invalid value"),
        ({}, {"maxReplicas": 3}, {}, "must not be greater than maxReplicas (3)"),
        ({}, {}, {"maxReplicas": 3}, "must not be greater than elasticPolicy.maxReplicas (3)"),
    ],
)
async def test_a_job_that_cannot_run_is_refused_with_the_path_of_its_field(
    both: Both, rule: dict[str, Any], group: dict[str, Any], elastic: dict[str, Any], words: str
) -> None:
    rules = [{"name": "loss", "logPattern": "loss=(.*)", **rule}]
    body = job_body(runPolicy={"logMonitoringConfiguration": rules})
    body["spec"]["replicaSpecs"][0].update(group)
    if elastic:
        body["spec"]["elasticPolicy"] = elastic
    with pytest.raises(StatusError) as refused:
        await both[0].create(body)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"replicas": 0}, "spec.replicaSpecs[0].replicas"),
        ({"spares": -1}, "spec.replicaSpecs[0].spares"),
        ({"name": None}, "spec.replicaSpecs[0].name"),
    ],
)
async def test_the_schema_refuses(both: Both, change: dict[str, Any], path: str) -> None:
    body = job_body()
    body["spec"]["replicaSpecs"][0].update(change)
    rule = {"name": "r", "logPattern": "(.*)", "operator": "ge", "metricThreshold": 1}
    body["spec"]["runPolicy"] = {"logMonitoringConfiguration": [rule]}
    with pytest.raises(StatusError) as refused:
        await both[0].create(body)
    assert path in str(refused.value)
    words = 'logMonitoringConfiguration[0].operator: Unsupported value: "ge"'
    assert words in str(refused.value)
