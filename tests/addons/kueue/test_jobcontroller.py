"""What one look at a job in a queue does: it is stopped, gets a workload, starts, and gives way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import PREFIX
from tests.addons.kueue.jobbench import JOB_SET, KEY, NOW, Bench
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.types.quotas import WorkloadPriorityClass
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.machinery import timestamps


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


# --- it waits ---


async def test_a_job_that_runs_is_stopped_and_then_counted(bench: Bench) -> None:
    bench.job(suspend=False)
    await bench.look()
    assert bench.spec["suspend"] is True and bench.workload() is None
    assert bench.events == [("Normal", "Suspended", "Kueue managed job suspended")]
    await bench.look()
    made = bench.workload()
    assert made is not None and made.spec.queue_name == "team"
    key = f"lab/{made.metadata.name}"
    assert bench.events[1:] == [("Normal", "CreatedWorkload", f"Created Workload: {key}")]
    await bench.look()
    assert len(bench.events) == 2, "once"


OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "o", "uid": "o", "controller": True}


@pytest.mark.parametrize(
    "more",
    [
        {"queue": ""},
        {"ownerReferences": [{**OWNER, "apiVersion": "jobset.x-k8s.io/v1", "kind": "JobSet"}]},
        {"deletionTimestamp": timestamps.rfc3339(NOW)},
    ],
)
async def test_who_does_not_wait_is_left_alone(bench: Bench, more: Any) -> None:
    bench.job(suspend=False, **more)
    await bench.look()
    assert bench.spec["suspend"] is False and bench.events == []
    await bench.look("Job.batch|lab/nobody")
    await bench.look(f"{JOB_SET}|lab/j")


async def test_who_belongs_to_something_else_waits_itself(bench: Bench) -> None:
    bench.job(ownerReferences=[{**OWNER, "kind": "CronJob"}])
    await bench.look()
    assert bench.workload() is not None


async def test_a_class_that_there_is_not_is_an_event_and_an_error(bench: Bench) -> None:
    bench.job(labels={f"{PREFIX}/priority-class": "high"})
    with pytest.raises(LookupError, match="lab/j: WorkloadPriorityClass 'high' not found"):
        await bench.look()
    message = "WorkloadPriorityClass 'high' not found"
    assert bench.events == [("Warning", "WorkloadPriorityClassNotFound", message)]


async def test_a_job_may_change_while_it_waits(bench: Bench) -> None:
    await bench.begun()
    row = {"metadata": {"name": "high"}, "value": 7}
    bench.server.put(from_builtins(row, WorkloadPriorityClass))
    bench.job(queue="other", parallelism=5, labels={f"{PREFIX}/priority-class": "high"})
    await bench.look()
    made = bench.workload()
    assert made is not None
    assert (made.spec.queue_name, made.spec.priority) == ("other", 7)
    assert made.spec.pod_sets[0].count == 5
    version = made.metadata.resource_version
    bench.job(queue="other", parallelism=5, labels={f"{PREFIX}/priority-class": "gone"})
    await bench.look()
    again = bench.workload()
    assert again is not None and again.metadata.resource_version == version


async def test_what_has_quota_does_not_change(bench: Bench) -> None:
    made = await bench.begun()
    statuses.reserve(made, Admission(cluster_queue="q"), NOW)
    bench.put(made)
    bench.job(queue="other", parallelism=5)
    await bench.look()
    found = bench.workload()
    assert found is not None
    assert (found.spec.queue_name, found.spec.pod_sets[0].count) == ("team", 2)


# --- it runs ---


async def test_a_job_starts_once_it_is_admitted(bench: Bench) -> None:
    bench.admit(await bench.begun())
    await bench.look()
    assert bench.spec["suspend"] is False and bench.selector == {"disk": "fast"}
    assert bench.events == [("Normal", "Started", "Admitted by clusterQueue q")]


async def test_a_job_whose_pods_contradict_their_flavor_does_not_start(bench: Bench) -> None:
    bench.admit(await bench.begun())
    bench.job(selector={"disk": "slow"})
    await bench.look()
    told = bench.condition(statuses.FINISHED)
    assert told is not None and told[:2] == ("True", "FailedToStart")
    assert "conflict for key=disk, value1=slow, value2=fast" in told[2]
    assert bench.spec["suspend"] is True and bench.events == []


async def test_a_job_that_nobody_admitted_is_stopped(bench: Bench) -> None:
    await bench.begun()
    bench.job(suspend=False)
    await bench.look()
    assert bench.spec["suspend"] is True
    assert bench.events == [("Normal", "Stopped", "Not admitted by cluster queue")]


async def test_places_for_which_nothing_is_left_are_given_back(bench: Bench) -> None:
    bench.admit(await bench.begun())
    for status, count in (({"succeeded": 3}, 1), ({"succeeded": 1}, 1)):
        bench.job(suspend=False, status=status)
        bench.spec["completions"] = 4
        await bench.look()
        made = bench.workload()
        assert made is not None
        rows = [(one.name, one.count) for one in made.status.reclaimable_pods]
        assert rows == [("main", count)], "what was given back is not taken again"


STARTED = ("True", "Started", "All pods reached readiness and the workload is running")
RECOVERED = ("True", "Recovered", STARTED[2])
WAITS = ("False", "WaitForStart", "Not all pods are ready or succeeded")
FAILED = ("False", "WaitForRecovery", "At least one pod has failed, waiting for recovery")


async def test_pods_become_ready_fail_and_recover(bench: Bench) -> None:
    bench.admit(await bench.begun())
    for ready, told in (
        (1, WAITS),
        (1, WAITS),
        (2, STARTED),
        (2, STARTED),
        (1, FAILED),
        (0, FAILED),
        (2, RECOVERED),
        (2, RECOVERED),
        (1, FAILED),
    ):
        bench.job(suspend=False, status={"ready": ready})
        await bench.look()
        assert bench.condition(statuses.PODS_READY) == told


@pytest.mark.parametrize("type_, reason", [("Complete", "Succeeded"), ("Failed", "Failed")])
async def test_a_workload_ends_with_its_job(bench: Bench, type_: str, reason: str) -> None:
    bench.admit(await bench.begun())
    bench.job(False, {"conditions": [{"type": type_, "status": "True", "message": "m"}]})
    await bench.look()
    assert bench.condition(statuses.FINISHED) == ("True", reason, "m")
    made = bench.workload()
    assert made is not None
    message = f"Workload 'lab/{made.metadata.name}' is declared finished"
    assert bench.events == [("Normal", "FinishedWorkload", message)]
    await bench.look()
    assert len(bench.events) == 1, "once"


async def test_a_job_that_ended_before_it_was_counted_needs_no_workload(bench: Bench) -> None:
    bench.job(False, {"conditions": [{"type": "Complete", "status": "True"}]})
    await bench.look()
    assert bench.workload() is None and bench.events == []


# --- it gives way ---


async def evicted(bench: Bench, reason: str = "Preempted") -> Workload:
    made = bench.admit(await bench.begun())
    await bench.look()
    bench.events.clear()
    statuses.evict(made, reason, "make room", NOW)
    bench.put(made)
    return made


async def test_a_job_that_gives_way_stops_first(bench: Bench) -> None:
    await evicted(bench)
    await bench.look()
    assert bench.spec["suspend"] is True and bench.selector == {"disk": "fast"}
    assert bench.events == [("Normal", "Stopped", "make room")]
    made = bench.workload()
    assert made is not None and made.status.admission is not None


@pytest.mark.parametrize(
    "reason, requeued",
    [("Preempted", "True"), ("NodeFailures", "True"), ("PodsReadyTimeout", "False")],
)
async def test_quota_is_free_once_the_job_is_as_its_author_wrote_it(
    bench: Bench, reason: str, requeued: str
) -> None:
    await evicted(bench, reason)
    bench.job(selector={"disk": "fast"}, status={"active": 1})
    await bench.look()
    assert bench.selector == {"disk": "fast"}, "pods of it run still"
    bench.job(selector={"disk": "fast"}, status={"startTime": timestamps.rfc3339(NOW)})
    await bench.look()
    assert bench.server.said == [{"status": {"startTime": None}}]
    bench.job(selector={"disk": "fast"})
    await bench.look()
    assert bench.selector is None
    made = bench.workload()
    assert made is not None and made.status.admission is not None
    await bench.look()
    made = bench.workload()
    assert made is not None and made.status.admission is None
    assert bench.condition(statuses.REQUEUED) == (requeued, reason, "make room")
    told = bench.condition(statuses.QUOTA_RESERVED)
    assert told == ("False", statuses.PENDING_EVALUATION, "make room")


async def test_a_job_may_change_after_it_gave_way(bench: Bench) -> None:
    made = await evicted(bench)
    statuses.unreserve(made, "Pending", "m", NOW)
    bench.put(made)
    bench.job(queue="other")
    for _ in range(2):  # its spec is as its author wrote it first
        await bench.look()
    found = bench.workload()
    assert found is not None and found.spec.queue_name == "other"


# --- who is looked at ---


def definition(group: str, kind: str, version: str, served: bool = True) -> Any:
    row = {
        "metadata": {"name": f"{kind.lower()}s.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "versions": [{"name": version, "served": served}],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
    return from_builtins(row, CustomResourceDefinition)


async def test_kinds_are_followed_from_when_they_are_served(bench: Bench) -> None:
    assert bench.started == ["informer-jobs"]
    bench.server.put(definition("jobset.x-k8s.io", "JobSet", "v1alpha2", served=False))
    bench.server.put(definition("example.com", "JobSet", "v1alpha2"))
    assert bench.started == ["informer-jobs"]
    for _ in range(2):
        bench.server.put(definition("jobset.x-k8s.io", "JobSet", "v1alpha2"))
        assert bench.started == ["informer-jobs", "informer-jobsets"], "once"
    bench.job(plural="jobsets")
    assert await bench.queued() == [f"{JOB_SET}|lab/j"]


async def test_jobs_and_workloads_concern_the_job(bench: Bench) -> None:
    await bench.begun()
    assert await bench.queued() == [KEY]
    bench.server.take(bench.workload())
    assert await bench.queued() == [KEY]
    bench.server.jobs["jobs"]._remove(bench.server.jobs["jobs"].get("lab/j"))
    assert await bench.queued() == [KEY]
    for owners in ([], [{**OWNER, "kind": "Pod"}], [{**OWNER, "controller": None}]):
        meta = {"name": "w", "namespace": "lab", "ownerReferences": owners}
        bench.server.put(from_builtins({"metadata": meta}, Workload))
        assert await bench.queued() == []


async def test_a_workload_that_is_going_does_not_count(bench: Bench) -> None:
    made = await bench.begun()
    made.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    bench.put(made)
    bench.job(suspend=False)
    await bench.look()
    assert bench.events == [("Normal", "Suspended", "Kueue managed job suspended")]
