"""What becomes of a workload's status: reserved, admitted, evicted, finished. Pure: each function
changes the copy that it is given; reasons and messages are upstream's."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.addons.kueue.types.workloads import (
    Admission,
    AdmissionCheckState,
    Eviction,
    RequeueState,
    SchedulingStats,
    Workload,
)
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions, timestamps

QUOTA_RESERVED = "QuotaReserved"
ADMITTED = "Admitted"
EVICTED = "Evicted"
PREEMPTED = "Preempted"
REQUEUED = "Requeued"
FINISHED = "Finished"
PODS_READY = "PodsReady"
PENDING_EVALUATION = "PendingEvaluation"
_LONGEST = 32 * 1024


def has(workload: Workload, condition: str) -> bool:
    return conditions.is_true(workload.status.conditions, condition)


def is_active(workload: Workload) -> bool:
    return workload.spec.active is not False


def set_condition(
    workload: Workload, kind: str, is_true: bool, reason: str, message: str, now: float
) -> None:
    wanted = Condition(
        type=kind,
        status=conditions.status_of(is_true),
        reason=reason,
        message=message[:_LONGEST],
        observed_generation=workload.metadata.generation,
    )
    workload.status.conditions = conditions.updated(workload.status.conditions, wanted, now)


def reserve(workload: Workload, admission: Admission, now: float) -> None:
    """The workload holds quota; what ended its last time is past."""
    queue = admission.cluster_queue
    workload.status.admission = admission
    set_condition(
        workload,
        QUOTA_RESERVED,
        True,
        "QuotaReserved",
        f"Quota reserved in ClusterQueue {queue}",
        now,
    )
    for kind in (EVICTED, PREEMPTED):
        standing = conditions.find(workload.status.conditions, kind)
        if standing is not None and standing.status == "True":
            message = f"Previously: {standing.message}"
            set_condition(workload, kind, False, "QuotaReserved", message, now)


def want_checks(workload: Workload, names: Iterable[str], now: float) -> None:
    """The checks that its flavors need stand in its status; those that are new are pending."""
    standing = {check.name: check for check in workload.status.admission_checks}
    workload.status.admission_checks = [
        standing.get(name)
        or AdmissionCheckState(
            name=name, state="Pending", last_transition_time=timestamps.rfc3339(now)
        )
        for name in names
    ]


def sync_admitted(workload: Workload, now: float) -> None:
    """Admitted is: has quota, and every check is Ready."""
    is_reserved = has(workload, QUOTA_RESERVED)
    is_checked = all(check.state == "Ready" for check in workload.status.admission_checks)
    standing = conditions.find(workload.status.conditions, ADMITTED)
    if standing is None and conditions.find(workload.status.conditions, QUOTA_RESERVED) is None:
        return
    if standing is not None and standing.status == "True" and not (is_reserved and is_checked):
        _accumulate(workload, standing, now)
    if not is_reserved:
        reason = "NoReservation"
        message = "The workload has no reservation"
    elif not is_checked:
        reason = "UnsatisfiedAdmissionChecks"
        message = "The workload has not all checks ready"
    else:
        reason = "Admitted"
        message = "The workload is admitted"
    set_condition(workload, ADMITTED, is_reserved and is_checked, reason, message, now)


def _accumulate(workload: Workload, admitted: Condition, now: float) -> None:
    """The time that it was admitted counts against its limit also when it comes again."""
    spent = int(now - timestamps.parse(admitted.last_transition_time))
    before = workload.status.accumulated_past_execution_time_seconds or 0
    workload.status.accumulated_past_execution_time_seconds = before + spent


def unreserve(workload: Workload, reason: str, message: str, now: float) -> None:
    """It holds no quota (any more), and why."""
    set_condition(workload, QUOTA_RESERVED, False, reason, message, now)
    workload.status.admission = None
    sync_admitted(workload, now)


def free(workload: Workload, evicted: Condition, now: float) -> None:
    """Takes the quota of one that was evicted and has nothing to stop. Only who had to make room
    for another is queued again."""
    is_requeued = evicted.reason == "Preempted"
    set_condition(workload, REQUEUED, is_requeued, evicted.reason, evicted.message, now)
    unreserve(workload, PENDING_EVALUATION, evicted.message, now)


def evict(workload: Workload, reason: str, message: str, now: float, cause: str = "") -> None:
    """Its job has to stop; its quota is free once it has."""
    # Only deactivation has its cause here: the order of queues reads the other reasons.
    condition_reason = f"{reason}DueTo{cause}" if cause and reason == "Deactivated" else reason
    set_condition(workload, EVICTED, True, condition_reason, message, now)
    for check in workload.status.admission_checks:
        if check.state != "Pending":
            check.message = f"Reset to Pending after eviction. Previously: {check.state}"
            check.state = "Pending"
            check.last_transition_time = timestamps.rfc3339(now)
            check.pod_set_updates = []
    stats = workload.status.scheduling_stats or SchedulingStats()
    for eviction in stats.evictions:
        if (eviction.reason, eviction.underlying_cause) == (reason, cause):
            eviction.count += 1
            break
    else:
        stats.evictions.append(Eviction(reason=reason, underlying_cause=cause, count=1))
    workload.status.scheduling_stats = stats


def back_off(workload: Workload, base: float, longest: float, now: float) -> None:
    """It comes back after a pause that doubles each time."""
    state = workload.status.requeue_state or RequeueState()
    count = (state.count or 0) + 1
    pause = min(base * 2 ** min(count - 1, 30), longest)
    state.count = count
    state.requeue_at = timestamps.rfc3339(now + pause + 0.999)  # whole seconds: never too early
    workload.status.requeue_state = state


def finish(workload: Workload, succeeded: bool, message: str, now: float) -> None:
    reason = "Succeeded" if succeeded else "Failed"
    set_condition(workload, FINISHED, True, reason, message, now)
