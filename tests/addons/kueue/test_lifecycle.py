"""When a workload has to give its quota back, and what is counted of it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tiphys.addons.kueue import Settings, statuses
from tiphys.addons.kueue.lifecycle import due_eviction
from tiphys.addons.kueue.metrics import QueueMetrics, QueueRow, SlotRow
from tiphys.addons.kueue.types.quotas import ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions

NOW = 1_800_000_000.0


def admitted(spec: Any = None, status: Any = None) -> Workload:
    """Since NOW."""
    workload = from_builtins({"spec": spec or {}, "status": status or {}}, Workload)
    statuses.reserve(workload, Admission(cluster_queue="q"), NOW)
    statuses.sync_admitted(workload, NOW)
    return workload


def check(state: str) -> dict[str, Any]:
    time = "2026-01-01T00:00:00Z"
    row = {"name": "budget", "state": state, "message": "no money", "lastTransitionTime": time}
    return {"admissionChecks": [row]}


def due(workload: Workload, after: float = 0, stop: str = "None", **settings: Any) -> Any:
    cluster = from_builtins({"spec": {"stopPolicy": stop}}, ClusterQueue)
    made = from_builtins(settings, Settings)
    return due_eviction(workload, cluster, LocalQueue(), made, NOW + after)


@pytest.mark.parametrize("stop, reason", [("HoldAndDrain", "ClusterQueueStopped"), ("Hold", "")])
def test_only_draining_ends_what_runs(stop: str, reason: str) -> None:
    found, _ = due(admitted(), stop=stop)
    assert (found.reason if found else "") == reason


def test_a_workload_that_is_turned_off_goes() -> None:
    found, _ = due(admitted({"active": False}))
    assert (found.reason, found.message) == ("Deactivated", "The workload is deactivated")


def test_a_check_may_want_another_try_or_none() -> None:
    again, _ = due(admitted(status=check("Retry")))
    assert (again.reason, again.backs_off) == ("AdmissionCheck", True)
    assert again.message == 'Evicted due to AdmissionCheck in Retry state: "budget" (no money)'
    never, _ = due(admitted(status=check("Rejected")))
    assert (never.reason, never.cause, never.deactivates) == ("Deactivated", "AdmissionCheck", True)


def test_time_runs_over_all_its_lives() -> None:
    workload = admitted({"maximumExecutionTimeSeconds": 10})
    workload.status.accumulated_past_execution_time_seconds = 4
    assert due(workload, 2) == (None, 4)
    found, _ = due(workload, 6)
    assert found.cause == "MaximumExecutionTimeExceeded"


def test_pods_that_do_not_become_ready_make_room() -> None:
    assert due(admitted(), 1000) == (None, None)
    assert due(admitted(), 5, podsReadyTimeout=20) == (None, 15)
    late, _ = due(admitted(), 20, podsReadyTimeout=20)
    assert (late.reason, late.backs_off) == ("PodsReadyTimeout", True)
    tired = admitted(status={"requeueState": {"count": 3}})
    found, _ = due(tired, 20, podsReadyTimeout=20, requeuingLimit=3)
    assert found.cause == "RequeuingLimitExceeded"


def test_pauses_double_up_to_the_longest() -> None:
    workload = admitted()
    pauses = []
    for _ in range(4):
        statuses.back_off(workload, 60, 200, NOW)
        state = workload.status.requeue_state
        assert state is not None and state.requeue_at is not None
        pauses.append(state.requeue_at[11:19])
    assert pauses == ["08:01:00", "08:02:00", "08:03:20", "08:03:20"]


def test_an_eviction_is_counted_and_ends_the_admission_it_was_in() -> None:
    workload = admitted(status=check("Ready"))
    statuses.evict(workload, "Preempted", "m", NOW + 5)
    statuses.unreserve(workload, "PendingEvaluation", "m", NOW + 9)
    status = workload.status
    assert (status.admission, status.accumulated_past_execution_time_seconds) == (None, 9)
    (reset,) = status.admission_checks
    assert (reset.state, reset.message.rpartition(" ")[2]) == ("Pending", "Ready")
    assert not statuses.has(workload, "Admitted") and statuses.has(workload, "Evicted")
    statuses.reserve(workload, Admission(cluster_queue="q"), NOW + 10)
    assert not statuses.has(workload, "Evicted")


@pytest.mark.parametrize(("reason", "again"), [("Preempted", True), ("Deactivated", False)])
def test_only_who_made_room_is_queued_again(reason: str, again: bool) -> None:
    workload = admitted()
    statuses.evict(workload, reason, "m", NOW + 5)
    evicted = conditions.find(workload.status.conditions, statuses.EVICTED)
    assert evicted is not None
    statuses.free(workload, evicted, NOW + 9)
    assert statuses.has(workload, statuses.REQUEUED) is again
    assert workload.status.admission is None and not statuses.has(workload, statuses.ADMITTED)


def test_metrics_have_kueues_names_and_go_when_it_stops() -> None:
    registry = CollectorRegistry()
    metrics = QueueMetrics(registry)
    metrics.reserved("q", "", 2)
    slot = SlotRow("lab", "q", "f", "cpu", 4.0, None, 1.0, 2.0, 0.5)
    metrics.show([QueueRow("q", 1, 2, 3, 4, "active")], [slot])

    def shown(name: str, **labels: str) -> float | None:
        labels = {"cluster_queue": "q", "replica_role": "standalone", **labels}
        return registry.get_sample_value(f"kueue_{name}", labels)

    assert shown("pending_workloads", status="inadmissible") == 2
    assert shown("admitted_active_workloads") == 4
    assert shown("quota_reserved_workloads_total", priority_class="") == 1
    of_slot = {"cohort": "lab", "flavor": "f", "resource": "cpu"}
    assert shown("cluster_queue_resource_usage", **of_slot) == 0.5
    assert shown("cluster_queue_borrowing_limit", **of_slot) == float("inf")
    metrics.close()
    QueueMetrics(registry).close()
