"""How jobs end, what is tidied up after, and how often pods come back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import (
    NOW,
    after,
    condition,
    done,
    job,
    member,
    policy,
    report,
    running,
    seen,
    started,
    true,
)
from tiphys.addons.training.actions import DeleteJob, DeletePod, ShutDownAgent
from tiphys.addons.training.backoff import PodBackoff
from tiphys.addons.training.budget import Answer, judge
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.phases import Phase, leave, set_to, since
from tiphys.addons.training.types import HyperPodPyTorchJob, RestartStatus
from tiphys.machinery import timestamps

COMPLETED = [member(index, report("completed", index, "0-4")) for index in range(4)]


def completed(**run: Any) -> HyperPodPyTorchJob:
    made = started(job(runPolicy=run))
    return after(made, decide(seen(made, *COMPLETED)))


def test_what_is_over_says_when_and_why() -> None:
    plan = decide(seen(started(job()), *COMPLETED, now=NOW + 7))
    assert plan.status.completion_time == timestamps.rfc3339(NOW + 7)
    assert condition(plan, "Completed").message == "All processes ended well"
    assert condition(plan, "Running").status == condition(plan, "PodsRunning").status == "False"
    [event] = plan.events
    assert (event.reason, event.is_warning) == ("JobCompleted", False)


@pytest.mark.parametrize(
    ("clean", "parts", "deleted", "told"),
    [
        ("All", {}, True, False),
        ("All", {"lost": "it failed: x"}, True, False),
        ("All", {"is_going": True}, False, False),
        ("Running", {}, True, False),
        ("Running", {"lost": "its containers ended"}, False, True),
        ("None", {}, False, True),
        ("None", {"agent": None}, False, False),
        ("None", {"agent": report("shutdown")}, False, False),
        ("None", {"is_going": True}, False, False),
    ],
)
def test_a_policy_says_what_becomes_of_pods(
    clean: str, parts: dict[str, Any], deleted: bool, told: bool
) -> None:
    made = completed(cleanPodPolicy=clean)
    one = member(0, **{"agent": report("completed", 0, "0-4"), **parts})
    plan = decide(seen(made, one, now=NOW + 100))
    assert bool(done(plan, DeletePod)) is deleted
    assert bool(done(plan, ShutDownAgent)) is told
    assert plan.again == (1.0 if told else None)


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_pod_of_a_lost_node_is_not_waited_for(is_lost: bool) -> None:
    lost = {"lost": "node n is gone", "node_is_lost": True} if is_lost else {}
    plan = decide(seen(completed(cleanPodPolicy="All"), member(0, **lost)))
    assert [one.at_once for one in done(plan, DeletePod)] == [is_lost]


@pytest.mark.parametrize(
    ("ttl", "later", "deleted", "again"),
    [(10, 9.0, False, 1.0), (10, 10.0, True, None), (10, 4.0, False, 1.0), (0, 999.0, False, 1.0)],
)
def test_a_job_is_deleted_after_its_time(
    ttl: int, later: float, deleted: bool, again: float | None
) -> None:
    made = completed(cleanPodPolicy="None", ttlSecondsAfterFinished=ttl)
    plan = decide(seen(made, member(0, report("completed", 0)), now=NOW + later))
    assert bool(done(plan, DeleteJob)) is deleted
    assert plan.again == again or deleted


DEADLINES: list[tuple[str, int, float, str]] = [
    ("activeDeadlineSeconds", 10, 9.9, ""),
    ("activeDeadlineSeconds", 10, 10.0, "DeadlineExceeded"),
    ("startupDeadlineSeconds", 10, 9.9, ""),
    ("startupDeadlineSeconds", 10, 10.0, "StartupDeadlineExceeded"),
]


@pytest.mark.parametrize(("field", "seconds", "later", "reason"), DEADLINES)
def test_a_job_that_has_not_run_has_two_deadlines(
    field: str, seconds: int, later: float, reason: str
) -> None:
    made = job(runPolicy={field: seconds})
    made.status.start_time = timestamps.rfc3339(NOW)
    plan = decide(seen(made, now=NOW + later))
    assert ("Failed" in true(plan)) is bool(reason)
    if reason:
        assert condition(plan, "Failed").reason == reason
        assert [event.is_warning for event in plan.events] == [True]


def test_a_job_that_has_run_has_no_deadline_of_its_start() -> None:
    made = started(job(runPolicy={"startupDeadlineSeconds": 1, "faultDeadlineSeconds": 5}))
    leave(made.status, NOW, "x", Phase.RUNNING)
    assert "Failed" not in true(decide(seen(made, now=NOW + 100)))
    assert "Failed" not in true(decide(seen(started(made), *running(4), now=NOW + 100)))


@pytest.mark.parametrize(
    ("members", "missing"),
    [
        ([member(0, report())], "all agents answer"),
        ([member(0), member(1, report())], "agents that do not answer: train-pod-0"),
        (
            [member(0, runs=False), member(1)],
            "pods that do not run: train-pod-0; agents that do not answer: train-pod-1",
        ),
        (
            [member(index) for index in range(10)],
            "agents that do not answer: " + ", ".join(f"train-pod-{n}" for n in range(8)),
        ),
    ],
)
def test_who_was_waited_for_is_named(members: list[Any], missing: str) -> None:
    made = job(replicas=12, runPolicy={"startupDeadlineSeconds": 10})
    made.status.start_time = timestamps.rfc3339(NOW)
    message = condition(decide(seen(made, *members, now=NOW + 10)), "Failed").message
    assert message == f"It did not run within 10s (startupDeadlineSeconds); {missing}"


def test_a_suspended_job_forgets_its_windows() -> None:
    made = started(job(runPolicy={"suspend": True}))
    made.status.restart_status = RestartStatus(restart_count=2)
    made.status.master_port = "29500"
    going = member(1, is_going=True)
    lost = member(2, lost="node n is gone", node_is_lost=True)
    plan = decide(seen(made, member(0), going, lost))
    assert [(one.member.index, one.at_once) for one in done(plan, DeletePod)] == [
        (0, False),
        (2, True),
    ]
    status = plan.status
    assert (status.restart_status, status.master_addr, status.master_port) == (None, "", "")
    assert condition(plan, "Running").reason == "JobSuspended"


# --- phases ---


def test_a_condition_that_never_was_true_is_not_written_as_false() -> None:
    status = job().status
    set_to(status, Phase.RUNNING, False, NOW)
    assert status.conditions == [] and since(status, Phase.RUNNING) == 0.0
    set_to(status, Phase.RUNNING, True, NOW)
    set_to(status, Phase.CREATED, True, NOW)
    assert [one.type for one in status.conditions] == ["Created", "Running"]
    assert status.conditions[1].reason == "Running"


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    status = job().status
    set_to(status, Phase.RUNNING, True, NOW, "A", "m" * 3000)
    [first] = status.conditions
    assert len(first.message) == 2048
    set_to(status, Phase.RUNNING, True, NOW + 5, "B")
    [second] = status.conditions
    assert (second.reason, since(status, Phase.RUNNING)) == ("B", NOW)
    assert second.last_probe_time == timestamps.rfc3339(NOW + 5)
    set_to(status, Phase.RUNNING, True, NOW + 9, "B")
    assert status.conditions[0] is second, "it says nothing new"
    leave(status, NOW + 10, "C", Phase.RUNNING, Phase.FAULTED)
    assert since(status, Phase.RUNNING) == NOW + 10 and len(status.conditions) == 1


# --- how a fault is answered ---

ANSWERS: list[tuple[dict[str, Any], dict[str, int], Answer]] = [
    ({}, {"restart_count": 99}, Answer.PROCESSES),
    ({"numRestartBeforeFullJobRestart": 2}, {"restart_count": 1}, Answer.PROCESSES),
    ({"numRestartBeforeFullJobRestart": 2}, {"restart_count": 2}, Answer.PODS),
    ({"numRestartBeforeFullJobRestart": 0}, {}, Answer.PODS),
    (
        {"numRestartBeforeFullJobRestart": 2, "maxFullJobRestarts": 1},
        {"restart_count": 2, "full_job_restart_count": 0},
        Answer.PODS,
    ),
    (
        {"numRestartBeforeFullJobRestart": 2, "maxFullJobRestarts": 1},
        {"restart_count": 2, "full_job_restart_count": 1},
        Answer.FAIL,
    ),
]


@pytest.mark.parametrize(("limits", "counters", "answer"), ANSWERS)
def test_a_fault_is_answered(
    limits: dict[str, Any], counters: dict[str, int], answer: Answer
) -> None:
    made = started(job(**policy(**limits)))
    made.status.restart_status = RestartStatus(current_eval_period=0, **counters)
    verdict = judge(made, NOW + 1)
    assert verdict.answer is answer
    if answer is Answer.PODS:
        assert verdict.counters.restart_count == 0, "processes are free again"
        fulls = counters.get("full_job_restart_count", 0)
        assert verdict.counters.full_job_restart_count == fulls + 1
    if answer is Answer.PROCESSES:
        assert verdict.counters.restart_count == counters["restart_count"] + 1


@pytest.mark.parametrize(("later", "window"), [(0.0, 0), (599.0, 0), (600.0, 1), (1800.0, 3)])
def test_a_window_is_counted_from_the_start(later: float, window: int) -> None:
    made = started(job(**policy(600, numRestartBeforeFullJobRestart=1)))
    made.status.restart_status = RestartStatus(current_eval_period=0, restart_count=1)
    verdict = judge(made, NOW + later)
    assert verdict.counters.current_eval_period == window
    assert verdict.answer is (Answer.PROCESSES if window else Answer.PODS)


@pytest.mark.parametrize(("restarts", "fails"), [(0, False), (1, False), (2, True), (3, True)])
def test_retries_are_counted_over_the_whole_life(restarts: int, fails: bool) -> None:
    made = started(job(runPolicy={"jobMaxRetryCount": 2}))
    made.status.restart_count = restarts
    verdict = judge(made, NOW)
    assert (verdict.answer is Answer.FAIL) is fails
    if fails:
        assert verdict.message == f"it was restarted {restarts} times (jobMaxRetryCount)"


def test_a_place_that_fails_for_ever_is_tried_every_half_minute() -> None:
    backoff = PodBackoff()
    for _ in range(50):
        backoff.failed("p", has_trained=False, now=NOW)
    assert backoff.seconds_left("p", NOW) == 30
    assert backoff.seconds_left("p", NOW + 29) == 1
    assert backoff.seconds_left("p", NOW + 31) == 0 == backoff.seconds_left("q", NOW)
    backoff.forget("p")
    backoff.failed("p", has_trained=False, now=NOW)
    assert backoff.seconds_left("p", NOW) == 1
