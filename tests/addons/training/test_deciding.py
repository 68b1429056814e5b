"""What is done about a job: tables of what is seen and what follows."""

from __future__ import annotations

from dataclasses import replace
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
from tiphys.addons.training.actions import (
    CreatePod,
    DeleteJob,
    DeletePod,
    Plan,
    ShutDownAgent,
    StartAgent,
    StopAgent,
)
from tiphys.addons.training.backoff import PodBackoff
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.types import FaultyPodInstances, HyperPodPyTorchJob
from tiphys.machinery import conditions, timestamps

# --- the beginning ---


def test_a_new_job_gets_its_pods_and_spares() -> None:
    plan = decide(seen(job(replicas=2, spares=1)))
    assert [one.index for one in done(plan, CreatePod)] == [0, 1, 2]
    assert true(plan) == ["Created"]
    assert plan.status.start_time == timestamps.rfc3339(NOW)


def test_nobody_starts_before_all_are_ready() -> None:
    ready = [member(index, report()) for index in range(3)]
    assert not done(decide(seen(job(), *ready, member(3, runs=False))), StartAgent)
    plan = decide(seen(job(), *ready, member(3, report())))
    assert [(one.member.index, one.rank) for one in done(plan, StartAgent)] == [
        (index, index) for index in range(4)
    ]
    assert "Running" not in true(plan)
    body = done(plan, StartAgent)[2].body
    assert (body["rank"], body["nnodes"], body["faultCount"]) == (2, 4, 0)
    assert (body["master_addr"], body["master_port"], body["ipVersion"]) == (
        "10.0.0.0",
        "29500",
        "0-4",
    )


def test_it_runs_when_all_say_so() -> None:
    some = [*running(3), member(3, report())]
    assert [one.rank for one in done(decide(seen(job(), *some)), StartAgent)] == [3]
    plan = decide(seen(job(), *running(4)))
    assert true(plan) == ["Created", "PodsRunning", "Running"]
    assert plan.status.master_addr == "10.0.0.0"


def test_a_spare_does_not_wait_for_a_pod_that_is_late() -> None:
    members = [member(index, report()) for index in (0, 1, 2, 4)]
    plan = decide(seen(job(spares=1), *members, member(3, runs=False)))
    assert {one.member.index: one.rank for one in done(plan, StartAgent)} == {
        0: 0,
        1: 1,
        2: 2,
        4: 3,
    }


def test_rules_for_logs_go_to_the_agents_as_they_are_written() -> None:
    rule = {"name": "loss", "logPattern": "loss=(.*)", "operator": "gt", "metricThreshold": 3}
    made = job(replicas=1, runPolicy={"logMonitoringConfiguration": [rule]})
    plan = decide(seen(made, member(0, report())))
    assert done(plan, StartAgent)[0].body["log_monitoring_configuration"] == [rule]


# --- faults ---


def test_a_crash_stops_all_and_names_the_first() -> None:
    members = running(4)
    later = report("faulted", 0, "0-4", reason="WorkerCrash", faulted_at="2026-01-01T00:00:02")
    first = report("faulted", 2, "0-4", reason="WorkerCrash", faulted_at="2026-01-01T00:00:01")
    members[0] = member(0, later)
    members[2] = member(2, first)
    plan = decide(seen(started(job()), *members))
    assert [one.member.index for one in done(plan, StopAgent)] == [0, 1, 2, 3]
    assert not done(plan, DeletePod)
    assert plan.status.restart_count == 1
    assert plan.status.latest_faulty_pod_instance_list == FaultyPodInstances(
        restart_type="PLR",
        faulty_instance_id_list=["node-2"],
        faulty_pod_list=["train-pod-2"],
        faulty_rank_list=["2"],
    )
    assert condition(plan, "Faulted").reason == "WorkerCrash"
    assert condition(plan, "Running").status == "False"


def test_answers_from_before_the_stop_are_no_new_fault() -> None:
    members = running(4)
    members[1] = member(1, report("faulted", 1, "0-4", reason="WorkerCrash"))
    made = started(job())
    made = after(made, decide(seen(made, *members)))
    plan = decide(seen(made, *members))
    assert plan.status.restart_count == 1
    assert len(done(plan, StopAgent)) == 4


@pytest.mark.parametrize(
    "state, later, again",
    [("stopping", 0.5, 0.2), ("faulted", 0.5, 0.2), ("stopping", 60, None), ("init", 0.5, None)],
)
def test_agents_that_stop_are_asked_sooner_than_others(
    state: str, later: float, again: float | None
) -> None:
    made = started(job())
    crashed = [member(0, report("faulted", 0, "0-4")), *running(4)[1:]]
    made = after(made, decide(seen(made, *crashed)))
    left = [member(rank, report(state, rank, "0-4")) for rank in range(4)]
    assert decide(seen(made, *left, now=NOW + later)).again == again


def test_many_agents_are_asked_no_more_often_than_can_be() -> None:
    made = started(job(replicas=640))
    members = [member(0, report("faulted", 0, "0-640")), *running(640, "0-640")[1:]]
    made = after(made, decide(seen(made, *members)))
    assert decide(seen(made, *members)).again == 2.0


def test_after_a_crash_each_pod_has_its_rank_again() -> None:
    made = started(job())
    crashed = [member(3, report("faulted", 0, "0-4")), *running(3)]
    made = after(made, decide(seen(made, *crashed)))
    ready = [member(3 - rank, report("ready", rank, "0-4")) for rank in range(4)]
    plan = decide(seen(made, *ready))
    assert {one.member.index: one.rank for one in done(plan, StartAgent)} == {
        3: 0,
        2: 1,
        1: 2,
        0: 3,
    }
    assert {one.body["faultCount"] for one in done(plan, StartAgent)} == {1}


def test_a_spare_takes_the_rank_of_a_lost_pod() -> None:
    members = [*running(4), member(4, report())]
    lost = replace(members[2], lost="node node-2 is gone", node_is_lost=True, agent=None)
    lost = replace(lost, last_rank=2)
    members[2] = lost
    made = started(job(spares=1))
    plan = decide(seen(made, *members))
    assert done(plan, DeletePod) == [DeletePod(lost, at_once=True)]
    assert plan.status.latest_faulty_pod_instance_list is not None
    assert plan.status.latest_faulty_pod_instance_list.faulty_rank_list == ["2"]
    kept = [member(i, report("ready", i, "0-4")) for i in (0, 1, 3)]
    plan = decide(seen(after(made, plan), *kept, member(4, report())))
    assert {one.member.index: one.rank for one in done(plan, StartAgent)}[4] == 2
    assert done(plan, CreatePod) == [CreatePod("pod", 2)]


def test_an_agent_may_be_silent_for_a_while() -> None:
    members = running(4)
    members[1] = member(1, None, silent=20.0, last_rank=1)
    assert decide(seen(started(job()), *members)).status.restart_count == 0
    members[1] = member(1, None, silent=31.0, last_rank=1)
    plan = decide(seen(started(job()), *members))
    assert condition(plan, "Faulted").reason == "AgentSilent"


def test_a_pod_whose_agent_stays_silent_is_replaced() -> None:
    made = started(job())
    made = after(made, decide(seen(made, *running(3), member(3, None, silent=31.0, last_rank=3))))
    ready = [member(index, report("ready", index, "0-4")) for index in range(3)]
    assert not done(decide(seen(made, *ready, member(3, silent=59.0, last_rank=3))), DeletePod)
    plan = decide(seen(made, *ready, member(3, silent=61.0, last_rank=3)))
    assert [(one.member.index, one.at_once) for one in done(plan, DeletePod)] == [(3, False)]
    never = member(3, silent=999.0)
    assert not done(decide(seen(made, *ready, never)), DeletePod), "it may still begin"


def test_an_operator_that_was_restarted_waits_for_agents_it_has_not_heard_of() -> None:
    members = running(4)
    members[1] = member(1, None, silent=1.0)
    assert decide(seen(started(job()), *members)).status.restart_count == 0


def test_an_agent_that_began_anew_is_a_fault() -> None:
    members = running(4)
    members[1] = member(1, report("ready", 1, "0-4"))
    plan = decide(seen(started(job()), *members))
    assert condition(plan, "Faulted").reason == "AgentRestarted"


def test_a_spare_that_is_lost_is_replaced_and_no_fault() -> None:
    spare = member(4, report(), lost="its containers ended")
    plan = decide(seen(started(job(spares=1)), *running(4), spare))
    assert done(plan, DeletePod) == [DeletePod(spare)]
    assert plan.status.restart_count == 0


def test_a_pod_that_ends_before_the_start_counts_as_a_fault() -> None:
    failed = member(1, None, runs=False, lost="it failed: container trainer exited with 1")
    plan = decide(seen(job(), member(0, report()), failed))
    assert done(plan, DeletePod) == [DeletePod(failed)]
    assert condition(plan, "Faulted").reason == "PodFailed"
    assert plan.status.restart_count == 1
    again = replace(failed, is_going=True)
    assert decide(seen(after(job(), plan), member(0, report()), again)).status.restart_count == 1


def test_a_pod_that_fails_again_and_again_comes_back_later_each_time() -> None:
    backoff = PodBackoff()
    waits = []
    for _ in range(7):
        backoff.failed("default/train-pod-0", has_trained=False, now=NOW)
        waits.append(backoff.seconds_left("default/train-pod-0", NOW))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    backoff.failed("default/train-pod-0", has_trained=True, now=NOW)
    assert backoff.seconds_left("default/train-pod-0", NOW) == 0


def test_nodes_of_the_last_fault_are_avoided_by_new_pods() -> None:
    limits = policy(numRestartBeforeFullJobRestart=0, maxNumRepeatOffendersToAvoid=1)
    members = running(4)
    members[2] = member(2, report("faulted", 2, "0-4"))
    made = started(job(**limits))
    made = after(made, decide(seen(made, *members)))
    plan = decide(seen(made))
    assert done(plan, CreatePod)[0] == CreatePod("pod", 0, ("node-2",))


# --- budgets ---


def crash(made: HyperPodPyTorchJob, now: float) -> Plan:
    """A fault of a job that runs, at a time."""
    from tiphys.addons.training.phases import Phase, leave, set_to

    set_to(made.status, Phase.RUNNING, True, now)
    leave(made.status, now, "Restarted", Phase.FAULTED)
    epoch = f"{made.status.restart_count}-4"
    members = running(4, epoch)
    members[1] = member(1, report("faulted", 1, epoch, reason="LogHang_loss"))
    return decide(seen(made, *members, now=now))


def test_restarts_of_processes_then_of_pods_then_the_end() -> None:
    made = started(job(**policy(numRestartBeforeFullJobRestart=3, maxFullJobRestarts=1)))
    kinds = []
    for index in range(8):
        plan = crash(made, NOW + index)
        latest = plan.status.latest_faulty_pod_instance_list
        assert latest is not None
        kinds.append(latest.restart_type)
        assert bool(done(plan, DeletePod)) == (latest.restart_type != "PLR")
        made = after(made, plan)
    assert kinds == ["PLR", "PLR", "PLR", "JLR", "PLR", "PLR", "PLR", ""]
    failed = condition(plan, "Failed")
    assert failed.reason == "RestartLimitExceeded"
    assert "LogHang_loss of rank 1 was the last fault" in failed.message


def test_a_new_window_begins_with_the_whole_budget() -> None:
    made = started(job(**policy(60, numRestartBeforeFullJobRestart=1, maxFullJobRestarts=0)))
    for now in (NOW, NOW + 61, NOW + 130):
        plan = crash(made, now)
        assert not conditions.is_true(plan.status.conditions, "Failed")
        made = after(made, plan)
    assert plan.status.restart_status is not None
    assert plan.status.restart_status.current_eval_period == 2
    assert conditions.is_true(crash(made, NOW + 131).status.conditions, "Failed")


def test_retries_are_counted_over_all_windows() -> None:
    made = started(job(runPolicy={"jobMaxRetryCount": 2}))
    made = after(made, crash(made, NOW))
    made = after(made, crash(made, NOW + 1e6))
    plan = crash(made, NOW + 2e6)
    assert condition(plan, "Failed").reason == "MaxRetriesExceeded"


# --- the end ---


@pytest.mark.parametrize(
    ("clean", "deleted", "told"), [("All", 4, 0), ("Running", 4, 0), ("None", 0, 4)]
)
def test_a_job_completes(clean: str, deleted: int, told: int) -> None:
    members = [member(index, report("completed", index, "0-4")) for index in range(4)]
    made = started(job(runPolicy={"cleanPodPolicy": clean}))
    plan = decide(seen(made, *members))
    assert true(plan) == ["Created", "Completed"]
    assert len(done(plan, DeletePod)) == deleted
    assert len(done(plan, ShutDownAgent)) == told


def test_one_that_is_done_waits_for_the_others() -> None:
    members = [*running(3), member(3, report("completed", 3, "0-4"))]
    assert "Running" in true(decide(seen(started(job()), *members)))


def test_a_time_to_live_ends_in_deletion() -> None:
    made = started(job(runPolicy={"ttlSecondsAfterFinished": 10}))
    members = [member(index, report("completed", index, "0-4")) for index in range(4)]
    made = after(made, decide(seen(made, *members)))
    assert decide(seen(made, now=NOW + 4)).again == 6
    assert done(decide(seen(made, now=NOW + 10)), DeleteJob)


@pytest.mark.parametrize(
    ("policy_", "runs", "reason"),
    [
        ({"activeDeadlineSeconds": 10}, True, "DeadlineExceeded"),
        ({"startupDeadlineSeconds": 10}, False, "StartupDeadlineExceeded"),
    ],
)
def test_deadlines(policy_: dict[str, Any], runs: bool, reason: str) -> None:
    made = job(runPolicy=policy_)
    made = started(made) if runs else after(made, decide(seen(made)))
    members = running(4) if runs else [member(index) for index in range(4)]
    assert "Failed" not in true(decide(seen(made, *members, now=NOW + 9)))
    plan = decide(seen(made, *members, now=NOW + 10))
    assert condition(plan, "Failed").reason == reason
    if not runs:
        assert "agents that do not answer: train-pod-0" in condition(plan, "Failed").message


def test_a_fault_that_is_not_mended_in_time_is_the_end() -> None:
    made = started(job(runPolicy={"faultDeadlineSeconds": 30}))
    made = after(made, crash(made, NOW))
    waiting = [member(index, report("ready", index, "0-4")) for index in range(3)]
    assert "Faulted" in true(decide(seen(made, *waiting, now=NOW + 29)))
    plan = decide(seen(made, *waiting, now=NOW + 30))
    assert condition(plan, "Failed").reason == "FaultDeadlineExceeded"


def test_a_suspended_job_has_no_pods_and_begins_anew() -> None:
    made = started(job(runPolicy={"suspend": True}))
    plan = decide(seen(made, *running(4)))
    assert len(done(plan, DeletePod)) == 4
    assert (true(plan), plan.status.start_time) == (["Created", "Suspended"], None)
    made = after(made, plan)
    assert made.spec.run_policy is not None
    made.spec.run_policy.suspend = False
    plan = decide(seen(made, now=NOW + 500))
    assert len(done(plan, CreatePod)) == 4
    assert plan.status.start_time == timestamps.rfc3339(NOW + 500)


def test_a_job_that_cannot_run_fails_in_the_words_of_the_webhook() -> None:
    made = job(nprocPerNode="many")
    plan = decide(seen(made))
    assert condition(plan, "Failed").reason == "InvalidSpec"
    assert "spec.nprocPerNode" in condition(plan, "Failed").message
    assert not done(plan, CreatePod)


def test_two_groups_have_one_block_of_ranks_each() -> None:
    made = job(replicas=2)
    second = job(replicas=1).spec.replica_specs[0]
    second.name = "extra"
    made.spec.replica_specs.append(second)
    members = [member(0, report()), member(1, report())]
    extra = member(0, report(), group="extra", name="train-extra-0", uid="x", address="10.0.1.0")
    plan = decide(seen(made, extra, *members))
    assert [(one.member.group, one.rank) for one in done(plan, StartAgent)] == [
        ("pod", 0),
        ("pod", 1),
        ("extra", 2),
    ]
