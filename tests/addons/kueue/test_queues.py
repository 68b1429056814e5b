"""What queues say of themselves, and what of that is counted."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from tests.addons.kueue.builders import queue
from tests.addons.pretended import Pretended
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.queues import QueueStatuses
from tiphys.addons.kueue.types.quotas import ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api.base import from_builtins
from tiphys.machinery import errors

NOW = 1_800_000_000.0
LENDING = {"plain": {"cpu": (4, 2, 1)}}
READY = ("", "")


def workload(
    name: str, cpu: int = 0, admitted: bool = True, queue: str = "team", **spec: Any
) -> Workload:
    """With so many CPUs of the queue `q`; of 0 it waits."""
    meta = {"name": name, "namespace": "lab"}
    pods = [{"name": "main", "count": 1, "template": {}}]
    made: Workload = from_builtins(
        {"metadata": meta, "spec": {"queueName": queue, "podSets": pods, **spec}}, Workload
    )
    if cpu:
        row = {"name": "main", "flavors": {"cpu": "plain"}, "resourceUsage": {"cpu": str(cpu)}}
        admission = {"clusterQueue": "q", "podSetAssignments": [{**row, "count": 1}]}
        statuses.reserve(made, from_builtins(admission, Admission), NOW)
        if admitted:
            statuses.sync_admitted(made, NOW)
    return made


def local(name: str = "team", of: str = "q", stop: str = "None") -> LocalQueue:
    meta = {"name": name, "namespace": "lab"}
    spec = {"clusterQueue": of, "stopPolicy": stop}
    made: LocalQueue = from_builtins({"metadata": meta, "spec": spec}, LocalQueue)
    return made


class Bench:
    def __init__(self) -> None:
        self.server = Pretended()
        self.registry = CollectorRegistry()
        metrics = QueueMetrics(self.registry)
        self.statuses = QueueStatuses(cast(Any, self.server), lambda: NOW, metrics)

    async def write(
        self,
        queues: list[ClusterQueue],
        locals: list[LocalQueue],
        workloads: list[Workload],
        inactivity: tuple[str, str] = READY,
    ) -> None:
        await self.statuses.write(queues, locals, workloads, lambda _: inactivity)

    def cluster(self, name: str = "q") -> ClusterQueue:
        found = self.server.of(ClusterQueue).get(name)
        assert found is not None
        return found

    def local(self) -> LocalQueue:
        found = self.server.of(LocalQueue).get("lab/team")
        assert found is not None
        return found

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"kueue_{name}", {"cluster_queue": "q", "replica_role": "standalone", **labels}
        )


SIX = [
    workload("a", 3),
    workload("b", 2, admitted=False),
    workload("c"),
    workload("d", active=False),
    workload("e", queue="other"),
]


async def test_a_queue_says_how_many_wait_and_what_is_used() -> None:
    bench = Bench()
    done = workload("f", 1)
    statuses.finish(done, True, "m", NOW)
    made = queue("q", LENDING, cohort="lab")
    await bench.write([made], [local()], [*SIX, done])
    status = bench.cluster().status
    assert (status.pending_workloads, status.reserving_workloads) == (1, 2)
    assert status.admitted_workloads == 1
    (held,) = status.flavors_reservation[0].resources
    (used,) = status.flavors_usage[0].resources
    assert (held.total, held.borrowed) == ("5", "1")
    assert (used.total, used.borrowed) == ("3", "0")
    own = bench.local().status
    assert (own.pending_workloads, own.reserving_workloads) == (1, 2)
    assert own.admitted_workloads == 1
    assert [one.resources[0].total for one in own.flavors_usage] == ["3"]
    assert [one.resources[0].total for one in own.flavors_reservation] == ["5"]


async def test_who_has_no_cohort_borrows_nothing() -> None:
    bench = Bench()
    await bench.write([queue("q", {"plain": {"cpu": 4}})], [], [workload("a", 5)])
    (held,) = bench.cluster().status.flavors_reservation[0].resources
    assert (held.total, held.borrowed) == ("5", "0")


async def test_a_queue_is_ready_or_says_why_it_is_not() -> None:
    bench = Bench()
    made = queue("q", LENDING)
    for inactivity, said in (
        (READY, ("True", "Ready", "Can admit new workloads")),
        (("Stopped", "It is stopped"), ("False", "Stopped", "It is stopped")),
    ):
        await bench.write([made], [], [], inactivity)
        (found,) = bench.cluster().status.conditions
        assert (found.status, found.reason, found.message) == said


MESSAGE = "Can't submit new workloads to clusterQueue"


@pytest.mark.parametrize(
    "own, inactivity, said",
    [
        (local(), READY, ("True", "Ready", "Can submit new workloads to localQueue")),
        (local(stop="Hold"), READY, ("False", "Stopped", "LocalQueue is stopped")),
        (local(of="x"), READY, ("False", "ClusterQueueDoesNotExist", MESSAGE)),
        (local(), ("Stopped", "m"), ("False", "ClusterQueueIsInactive", MESSAGE)),
    ],
)
async def test_a_local_queue_is_ready_with_its_cluster_queue(
    own: LocalQueue, inactivity: tuple[str, str], said: tuple[str, str, str]
) -> None:
    bench = Bench()
    await bench.write([queue("q", LENDING)], [own], [], inactivity)
    (found,) = bench.local().status.conditions
    assert (found.status, found.reason, found.message) == said
    assert bool(bench.local().status.flavors_usage) is (own.spec.cluster_queue == "q")


async def test_only_what_says_something_new_is_written() -> None:
    bench = Bench()
    await bench.write([queue("q", LENDING)], [local()], SIX)
    versions = (bench.cluster().metadata.resource_version, bench.local().metadata.resource_version)
    await bench.write([bench.cluster()], [bench.local()], SIX)
    again = (bench.cluster().metadata.resource_version, bench.local().metadata.resource_version)
    assert again == versions


async def test_a_queue_that_is_gone_says_nothing_any_more() -> None:
    bench = Bench()
    bench.server.fails = errors.not_found("clusterqueues", "q")
    await bench.write([queue("q", LENDING)], [], [])
    bench.server.fails = errors.conflict("clusterqueues", "q", "changed")
    with pytest.raises(errors.StatusError):
        await bench.write([queue("q", LENDING)], [], [])


# --- what is counted ---


async def test_quotas_are_counted_as_the_api_counts_them() -> None:
    bench = Bench()
    await bench.write([queue("q", LENDING, cohort="lab")], [local()], SIX)
    of_slot = {"cohort": "lab", "flavor": "plain", "resource": "cpu"}
    rows = {
        name: bench.counted(f"cluster_queue_{name}", **of_slot)
        for name in (
            "nominal_quota",
            "borrowing_limit",
            "lending_limit",
            "resource_reservation",
            "resource_usage",
        )
    }
    assert rows == {
        "nominal_quota": 4,
        "borrowing_limit": 2,
        "lending_limit": 1,
        "resource_reservation": 5,
        "resource_usage": 3,
    }
    assert bench.counted("reserving_active_workloads") == 2
    assert bench.counted("admitted_active_workloads") == 1
    memory = queue("m", {"plain": {"memory": "1Ki"}})
    await bench.write([memory], [], [])
    of_slot = {"cohort": "", "flavor": "plain", "resource": "memory", "cluster_queue": "m"}
    assert bench.counted("cluster_queue_nominal_quota", **of_slot) == 1024
    assert bench.counted("cluster_queue_lending_limit", **of_slot) == float("inf")
    assert bench.counted("reserving_active_workloads") is None, "of a queue that is gone"


@pytest.mark.parametrize(
    "reason, status, waiting",
    [
        ("", "active", (1, 0)),
        ("Terminating", "terminating", (0, 1)),
        ("Stopped", "pending", (0, 1)),
    ],
)
async def test_those_behind_a_queue_that_is_not_ready_may_not_come_next(
    reason: str, status: str, waiting: tuple[int, int]
) -> None:
    bench = Bench()
    await bench.write([queue("q", LENDING)], [local()], SIX, (reason, reason))
    shown = {
        one: bench.counted("cluster_queue_status", status=one)
        for one in ("active", "pending", "terminating")
    }
    assert shown == {one: float(one == status) for one in shown}
    pending = [bench.counted("pending_workloads", status=one) for one in ("active", "inadmissible")]
    assert tuple(pending) == waiting


def test_what_happens_is_counted_under_kueues_names() -> None:
    registry = CollectorRegistry()
    metrics = QueueMetrics(registry)
    metrics.cycle(2.0, True)
    metrics.cycle(3.0, False)
    metrics.reserved("q", "high", -1.0)
    metrics.admitted("q", "high", 4.0)
    metrics.finished("q", "high")
    metrics.evicted("q", "Deactivated", "X", "high")
    metrics.preempted("q", "InClusterQueue")

    def counted(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"kueue_{name}", {"replica_role": "standalone", **labels})

    of = {"cluster_queue": "q", "priority_class": "high"}
    assert counted("admission_attempts_total", result="success") == 1
    assert counted("admission_attempt_duration_seconds_sum", result="inadmissible") == 3
    assert counted("quota_reserved_workloads_total", **of) == 1
    assert counted("quota_reserved_wait_time_seconds_sum", **of) == 0, "clocks differ"
    assert counted("quota_reserved_wait_time_seconds_count", **of) == 1
    assert counted("admitted_workloads_total", **of) == 1
    assert counted("admission_wait_time_seconds_sum", **of) == 4
    assert counted("finished_workloads_total", **of) == 1
    why = {"reason": "Deactivated", "underlying_cause": "X"}
    assert counted("evicted_workloads_total", **of, **why) == 1
    reason = {"preempting_cluster_queue": "q", "reason": "InClusterQueue"}
    assert counted("preempted_workloads_total", **reason) == 1
