"""What becomes of a workload's status, step by step, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.types.workloads import Admission, AdmissionCheckState, Workload
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions, timestamps

NOW = 1_800_000_000.0


def workload(*checks: str, **spec: Any) -> Workload:
    """With checks `c0`, `c1`, ... in those states."""
    made: Workload = from_builtins(
        {"metadata": {"name": "w", "generation": 3}, "spec": spec}, Workload
    )
    made.status.admission_checks = [
        AdmissionCheckState(name=f"c{n}", state=state) for n, state in enumerate(checks)
    ]
    return made


def told(of: Workload, kind: str) -> tuple[str, str, str] | None:
    found = conditions.find(of.status.conditions, kind)
    return (found.status, found.reason, found.message) if found is not None else None


def reserve(of: Workload, later: float = 0) -> Workload:
    statuses.reserve(of, Admission(cluster_queue="q"), NOW + later)
    return of


ADMITTED = ("True", "Admitted", "The workload is admitted")
UNCHECKED = ("False", "UnsatisfiedAdmissionChecks", "The workload has not all checks ready")
UNRESERVED = ("False", "NoReservation", "The workload has no reservation")


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((), ADMITTED),
        (("Ready", "Ready"), ADMITTED),
        (("Ready", "Pending"), UNCHECKED),
        (("Retry",), UNCHECKED),
    ],
)
def test_admitted_is_who_has_quota_and_every_check(checks: Any, said: Any) -> None:
    of = reserve(workload(*checks))
    statuses.sync_admitted(of, NOW)
    assert told(of, statuses.ADMITTED) == said
    assert told(of, statuses.QUOTA_RESERVED) == (
        "True",
        "QuotaReserved",
        "Quota reserved in ClusterQueue q",
    )
    found = conditions.find(of.status.conditions, statuses.ADMITTED)
    assert found is not None and found.observed_generation == 3


def test_who_never_had_quota_says_nothing_of_it() -> None:
    of = workload()
    statuses.sync_admitted(of, NOW)
    assert of.status.conditions == []
    statuses.unreserve(of, "Pending", "m", NOW)
    assert told(of, statuses.ADMITTED) == UNRESERVED
    assert of.status.accumulated_past_execution_time_seconds is None


def test_time_that_it_was_admitted_adds_up() -> None:
    of = reserve(workload())
    statuses.sync_admitted(of, NOW)
    statuses.sync_admitted(of, NOW + 5)
    assert of.status.accumulated_past_execution_time_seconds is None
    statuses.unreserve(of, "Pending", "m", NOW + 7.9)
    assert of.status.accumulated_past_execution_time_seconds == 7
    statuses.unreserve(of, "Pending", "m", NOW + 9)
    assert of.status.accumulated_past_execution_time_seconds == 7
    reserve(of, 10)
    statuses.sync_admitted(of, NOW + 10)
    statuses.unreserve(of, "Pending", "m", NOW + 13)
    assert of.status.accumulated_past_execution_time_seconds == 10
    assert of.status.admission is None


def test_what_ended_its_last_time_is_past_once_it_has_quota() -> None:
    of = workload()
    statuses.evict(of, "Preempted", "make room", NOW)
    statuses.set_condition(of, statuses.PREEMPTED, False, "R", "m", NOW)
    reserve(of)
    assert told(of, statuses.EVICTED) == ("False", "QuotaReserved", "Previously: make room")
    assert told(of, statuses.PREEMPTED) == ("False", "R", "m"), "it did not hold"


def test_checks_that_are_new_are_pending_and_others_stay() -> None:
    of = workload("Ready", "Retry")
    statuses.want_checks(of, ("new", "c0"), NOW)
    rows = [(one.name, one.state) for one in of.status.admission_checks]
    assert rows == [("new", "Pending"), ("c0", "Ready")]
    assert of.status.admission_checks[0].last_transition_time == timestamps.rfc3339(NOW)


def test_an_eviction_sets_checks_back() -> None:
    of = workload("Ready", "Pending", "Retry")
    of.status.admission_checks[1].message = "own"
    statuses.evict(of, "Preempted", "m", NOW)
    rows = [(one.state, one.message) for one in of.status.admission_checks]
    before = "Reset to Pending after eviction. Previously: "
    assert rows == [
        ("Pending", f"{before}Ready"),
        ("Pending", "own"),
        ("Pending", f"{before}Retry"),
    ]
    assert of.status.admission_checks[0].last_transition_time == timestamps.rfc3339(NOW)
    assert of.status.admission_checks[0].pod_set_updates == []


def test_evictions_are_counted_by_reason_and_cause() -> None:
    of = workload()
    for reason, cause in (("A", ""), ("A", ""), ("A", "x"), ("B", ""), ("A", "x"), ("A", "")):
        statuses.evict(of, reason, "m", NOW, cause)
    assert of.status.scheduling_stats is not None
    rows = [
        (one.reason, one.underlying_cause, one.count)
        for one in of.status.scheduling_stats.evictions
    ]
    assert rows == [("A", "", 3), ("A", "x", 2), ("B", "", 1)]


@pytest.mark.parametrize(
    ("reason", "cause", "said"),
    [
        ("Deactivated", "X", "DeactivatedDueToX"),
        ("Deactivated", "", "Deactivated"),
        ("PodsReadyTimeout", "X", "PodsReadyTimeout"),
    ],
)
def test_only_what_was_deactivated_says_the_cause(reason: str, cause: str, said: str) -> None:
    of = workload()
    statuses.evict(of, reason, "m", NOW, cause)
    assert told(of, statuses.EVICTED) == ("True", said, "m")


@pytest.mark.parametrize(
    ("before", "pause", "count"),
    [(None, 60, 1), (0, 60, 1), (1, 120, 2), (2, 240, 3), (3, 300, 4), (100, 300, 101)],
)
def test_pauses_double_up_to_the_longest(before: int | None, pause: float, count: int) -> None:
    of = workload()
    if before is not None:
        of.status.requeue_state = from_builtins({"count": before}, statuses.RequeueState)
    statuses.back_off(of, 60, 300, NOW)
    assert of.status.requeue_state is not None
    assert of.status.requeue_state.count == count
    assert timestamps.parse(of.status.requeue_state.requeue_at) == NOW + pause


def test_whole_seconds_are_never_too_early() -> None:
    of = workload()
    statuses.back_off(of, 60, 300, NOW + 0.5)
    assert of.status.requeue_state is not None
    assert timestamps.parse(of.status.requeue_state.requeue_at) == NOW + 61


@pytest.mark.parametrize(("succeeded", "reason"), [(True, "Succeeded"), (False, "Failed")])
def test_an_end_is_of_one_kind(succeeded: bool, reason: str) -> None:
    of = workload()
    statuses.finish(of, succeeded, "m" * 40_000, NOW)
    assert told(of, statuses.FINISHED) == ("True", reason, "m" * (32 * 1024))


@pytest.mark.parametrize(("active", "is_active"), [(None, True), (True, True), (False, False)])
def test_a_workload_is_active_unless_it_says_otherwise(active: Any, is_active: bool) -> None:
    of = workload()
    of.spec.active = active
    assert statuses.is_active(of) is is_active
