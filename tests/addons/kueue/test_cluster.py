"""Queues on a cluster: jobs and pods that wait, run, give way and come again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.addons.kueue.world import SETUP, World, world
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError


@pytest.fixture
async def made() -> AsyncIterator[World]:
    async with world() as running:
        yield running


async def test_jobs_run_one_after_the_other(made: World) -> None:
    await made.job("first", seconds=0.5)
    await made.job("second")
    await made.has("first", "Admitted")
    await made.has("first", "Finished", "Succeeded")
    await made.runs("second", 3)
    job = await made.get_job("second")
    assert job.spec.template.spec.node_selector == {"kubernetes.io/os": "linux"}
    workload = (await made.workloads())["second"]
    admission = workload.status.admission
    assert admission is not None and admission.cluster_queue == "cluster-queue"
    (assignment,) = admission.pod_set_assignments
    assert (assignment.count, assignment.flavors) == (3, {"cpu": "default-flavor"})
    assert assignment.resource_usage == {"cpu": "3"}

    def used(queue: object) -> bool:
        status = queue.status  # type: ignore[attr-defined]
        totals = [one.total for usage in status.flavors_usage for one in usage.resources]
        counts = (status.admitted_workloads, status.pending_workloads)
        return counts == (1, 0) and totals == ["3", "0"]

    await made.queue(used)
    local = await made.local_queue()
    assert conditions.is_true(local.status.conditions, "Active")


async def test_the_urgent_one_displaces_and_the_displaced_one_comes_again(made: World) -> None:
    await made.job("calm")
    await made.runs("calm", 3)
    await made.job("urgent", labels={"kueue.x-k8s.io/priority-class": "urgent"}, seconds=1)
    await made.has("calm", "Evicted", "Preempted")
    await made.has("urgent", "Admitted")
    calm = await made.get_job("calm")
    assert calm.spec.suspend and calm.spec.template.spec.node_selector == {}
    workload = (await made.workloads())["calm"]
    preempted = conditions.find(workload.status.conditions, "Preempted")
    assert preempted is not None and preempted.reason == "InClusterQueue"
    await made.has("urgent", "Finished")
    await made.runs("calm", 3)
    stats = (await made.workloads())["calm"].status.scheduling_stats
    assert stats is not None and [one.count for one in stats.evictions] == [1]


@pytest.mark.slow
async def test_a_queue_that_is_held_admits_nobody_and_one_that_is_drained_keeps_nobody(
    made: World,
) -> None:
    await made.job("running", pods=1)
    await made.runs("running", 1)
    await made.patch("ClusterQueue", "cluster-queue", {"stopPolicy": "Hold"})
    await made.job("waiting", pods=1)
    await made.has("waiting", "QuotaReserved", "Suspended", "False")
    await made.runs("running", 1)
    await made.patch("ClusterQueue", "cluster-queue", {"stopPolicy": "HoldAndDrain"})
    await made.has("running", "Evicted", "ClusterQueueStopped")
    await made.queue(lambda queue: queue.status.reserving_workloads == 0)
    await made.patch("ClusterQueue", "cluster-queue", {"stopPolicy": "None"})
    await made.runs("running", 1)
    await made.runs("waiting", 1)


@pytest.mark.slow
async def test_a_job_is_never_seen_running_before_its_turn(made: World) -> None:
    await made.patch("ClusterQueue", "cluster-queue", {"stopPolicy": "Hold"})
    await made.job("early", pods=1)
    await made.has("early", "QuotaReserved", "Suspended", "False")
    assert (await made.get_job("early")).spec.suspend
    assert await made.cluster.pods(labels="job-name=early") == []


@pytest.mark.slow
async def test_a_job_that_may_shrink_runs_with_fewer_pods(made: World) -> None:
    await made.job("wide", pods=20, annotations={"kueue.x-k8s.io/job-min-parallelism": "2"})
    await made.runs("wide", 3)
    assert (await made.get_job("wide")).spec.parallelism == 3
    await made.patch("ClusterQueue", "cluster-queue", {"stopPolicy": "HoldAndDrain"})
    await made.has("wide", "Admitted", status="False")
    assert (await made.get_job("wide")).spec.parallelism == 20


@pytest.mark.slow
async def test_a_workload_is_turned_off_and_on(made: World) -> None:
    await made.job("job", pods=1)
    await made.runs("job", 1)
    name = (await made.workloads())["job"].metadata.name
    await made.patch("Workload", name, {"active": False}, "default")
    await made.has("job", "Evicted", "Deactivated")
    await made.has("job", "Admitted", status="False")
    await made.patch("Workload", name, {"active": True}, "default")
    await made.has("job", "Requeued", "Reactivated")
    await made.runs("job", 1)


@pytest.mark.slow
async def test_time_is_limited(made: World) -> None:
    await made.job("long", pods=1, labels={"kueue.x-k8s.io/max-exec-time-seconds": "1"})
    await made.has("long", "Evicted", "DeactivatedDueToMaximumExecutionTimeExceeded")
    assert (await made.workloads())["long"].spec.active is False


async def test_pods_wait_behind_a_gate(made: World) -> None:
    await made.pod("big", cpu=3, seconds=0.3)
    await made.pod("next", cpu=3)
    await made.has("big", "Finished")
    await made.has("next", "Admitted")

    async def is_placed() -> bool:
        pod = await made.get_pod("next")
        return bool(pod.spec.node_name)

    await made.cluster.eventually(is_placed)
    pod = await made.get_pod("next")
    assert pod.spec.node_selector == {"kubernetes.io/os": "linux"}
    assert pod.metadata.labels["kueue.x-k8s.io/managed"] == "true"


@pytest.mark.slow
async def test_a_group_of_pods_starts_together(made: World) -> None:
    await made.pod("leader", "group", of=2, seconds=0.3)
    assert await made.workloads() == {}
    await made.pod("worker", "group", of=2, cpu=2, seconds=0.3)
    await made.has("leader", "Admitted")
    workload = (await made.workloads())["leader"]
    assert workload.metadata.name == "group" and len(workload.spec.pod_sets) == 2
    await made.has("leader", "Finished", "Succeeded")


@pytest.mark.slow
async def test_a_namespace_may_have_a_queue_for_all_jobs(made: World) -> None:
    await made.apply(SETUP.split("---")[2].replace("user-queue", "default"))
    await made.job("unlabelled", pods=1, labels={"kueue.x-k8s.io/queue-name": ""})
    await made.runs("unlabelled", 1)
    job = await made.get_job("unlabelled")
    assert job.metadata.labels["kueue.x-k8s.io/queue-name"] == "default"


@pytest.mark.slow
async def test_manifests_of_the_older_version_mean_the_same(made: World) -> None:
    old = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue"}
    spec = {"cohort": "team", "namespaceSelector": {}, "queueingStrategy": "StrictFIFO"}
    await made.client.create({**old, "metadata": {"name": "old"}, "spec": spec})
    newer = await made.client.get({**old, "apiVersion": "kueue.x-k8s.io/v1beta2"}, "old")
    assert newer["spec"]["cohortName"] == "team"
    assert newer["spec"]["preemption"]["withinClusterQueue"] == "Never"
    assert (await made.client.get(old, "old"))["spec"]["cohort"] == "team"


@pytest.mark.parametrize(
    "least, said", [("0", "should be between 0 and 1"), ("x", "invalid syntax")]
)
@pytest.mark.slow
async def test_a_job_cannot_shrink_to_nothing(made: World, least: str, said: str) -> None:
    annotations = {"kueue.x-k8s.io/job-min-parallelism": least}
    with pytest.raises(StatusError, match=said):
        await made.job("bad", pods=2, annotations=annotations)


@pytest.mark.slow
async def test_what_kueue_refuses_is_refused_in_both_versions(made: World) -> None:
    spec = {"fairSharing": {"weight": "-1"}}
    for version in ("v1beta1", "v1beta2"):
        named = {"apiVersion": f"kueue.x-k8s.io/{version}", "kind": "ClusterQueue"}
        with pytest.raises(StatusError) as refused:
            await made.client.create({**named, "metadata": {"name": "bad"}, "spec": spec})
        assert refused.value.code == 403
        assert "denied the request: spec.fairSharing: Invalid value" in str(refused.value)
    await made.job("job", pods=1)
    await made.runs("job", 1)
    name = (await made.workloads())["job"].metadata.name
    with pytest.raises(StatusError, match=r"spec.podSets.0: Invalid value: .*: field is immutable"):
        template = {"spec": {"containers": [{"name": "other", "image": "other"}]}}
        pods = {"name": "main", "count": 7, "template": template}
        await made.patch("Workload", name, {"podSets": [pods]}, "default")
