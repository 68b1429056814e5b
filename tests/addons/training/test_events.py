"""What a job's events say of it, and what its conditions say beside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.training.builders import (
    NOW,
    after,
    condition,
    job,
    member,
    policy,
    report,
    running,
    seen,
    started,
)
from tiphys.addons.training.actions import Plan
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.phases import Phase, leave, set_to
from tiphys.addons.training.types import HyperPodPyTorchJob


def events(plan: Plan) -> list[tuple[str, str, bool]]:
    return [(one.reason, one.message, one.is_warning) for one in plan.events]


def gathered(restarts: int = 0) -> HyperPodPyTorchJob:
    """A job whose agents were just started."""
    made = job(replicas=2)
    made.status.restart_count = restarts
    if restarts:
        set_to(made.status, Phase.FAULTED, True, NOW, "WorkerCrash")
    return made


@pytest.mark.parametrize(("restarts", "reason"), [(0, "Started"), (1, "Restarted")])
def test_a_job_that_runs_says_how_many_train(restarts: int, reason: str) -> None:
    plan = decide(seen(gathered(restarts), *running(2, f"{restarts}-2")))
    assert events(plan) == [(reason, "2 pods train", False)]
    assert condition(plan, "Running").message == "2 pods train"
    assert (plan.status.master_addr, plan.status.master_port) == ("10.0.0.0", "29500")
    if restarts:
        assert condition(plan, "Faulted").status == "False"
        assert condition(plan, "Faulted").reason == "Restarted"
    assert events(decide(seen(after(gathered(), plan), *running(2, f"{restarts}-2")))) == []


def crash(rank: int, **parts: Any) -> Any:
    return member(rank, report("faulted", rank, "0-2", reason="WorkerCrash", **parts))


def test_a_fault_names_its_ranks() -> None:
    made = started(job(replicas=2))
    plan = decide(seen(made, running(2, "0-2")[0], crash(1, message="out of memory")))
    assert events(plan) == [("WorkerCrash", "out of memory (ranks 1)", True)]
    assert plan.again == 0.0
    both = decide(seen(started(job(replicas=2)), crash(0, message="x"), crash(1)))
    assert events(both)[0][1] == "x (ranks 0, 1)"


def test_of_many_ranks_sixteen_are_named() -> None:
    made = started(job(replicas=20))
    crashed = [member(n, report("faulted", n, "0-20", message="m")) for n in range(20)]
    named = ", ".join(str(number) for number in range(16))
    assert events(decide(seen(made, *crashed)))[0][1] == f"m (ranks {named})"


def test_a_fault_before_anybody_has_a_rank_names_none() -> None:
    failed = member(0, lost="it failed: x")
    plan = decide(seen(job(replicas=2), failed, member(1, report())))
    assert events(plan) == [("PodFailed", "Pod train-pod-0: it failed: x", True)]
    latest = plan.status.latest_faulty_pod_instance_list
    assert latest is not None
    assert (latest.faulty_rank_list, latest.faulty_pod_list) == ([], ["train-pod-0"])


def test_new_pods_are_an_event_of_their_own() -> None:
    limits = policy(numRestartBeforeFullJobRestart=0)
    plan = decide(seen(started(job(replicas=2, **limits)), running(1, "0-2")[0], crash(1)))
    assert [one[0] for one in events(plan)] == ["WorkerCrash", "FullRestart"]
    assert events(plan)[1] == ("FullRestart", "All pods are replaced", True)


@pytest.mark.parametrize(("restarts", "said"), [(1, "Failed"), (0, "Faulted")])
def test_the_last_fault_is_named_at_the_end(restarts: int, said: str) -> None:
    made = started(job(replicas=2, runPolicy={"jobMaxRetryCount": 1}), f"{restarts}-2")
    made.status.restart_count = restarts
    agent = report("faulted", 1, f"{restarts}-2", reason="WorkerCrash")
    plan = decide(seen(made, running(2, f"{restarts}-2")[0], member(1, agent)))
    assert condition(plan, said).status == "True"
    if said == "Failed":
        assert events(plan) == [
            (
                "MaxRetriesExceeded",
                "WorkerCrash of rank 1 was the last fault: it was restarted 1 times "
                "(jobMaxRetryCount)",
                True,
            )
        ]


def test_a_job_that_is_resumed_is_no_longer_suspended() -> None:
    made = job(replicas=2)
    set_to(made.status, Phase.SUSPENDED, True, NOW)
    plan = decide(seen(made, now=NOW + 1))
    assert condition(plan, "Suspended").status == "False"
    assert condition(plan, "Suspended").reason == "JobResumed"


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ([member(0, report()), member(1, report("init"))], None),
        ([member(0, report("ready", 0)), member(1, report("init", 1))], "True"),
        ([member(0, report("ready", 0)), member(1, report("init", 1), runs=False)], None),
    ],
)
def test_all_pods_run_before_all_are_ready(members: list[Any], status: str | None) -> None:
    plan = decide(seen(job(replicas=2), *members))
    found = [one.status for one in plan.status.conditions if one.type == "PodsRunning"]
    assert found == ([status] if status else [])


def test_a_pod_that_ends_while_all_wait_is_told() -> None:
    made = started(job(replicas=2))
    leave(made.status, NOW, "x", Phase.RUNNING)
    plan = decide(seen(made, member(0, report("ready", 0))))
    assert condition(plan, "PodsRunning").status == "False"
    assert condition(plan, "PodsRunning").reason == "Waiting"
