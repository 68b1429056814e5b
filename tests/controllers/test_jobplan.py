"""One look at a job and its pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controllers.builders import job, leaving, worker
from tiphys.api.batch_v1 import Job, JobCondition, UncountedTerminatedPods
from tiphys.api.core_v1 import ContainerStatus, Pod, PodCondition
from tiphys.controllers.jobplan import Plan, plan
from tiphys.machinery import timestamps
from tiphys.machinery.finished import job_finished


def indexed(completions: int, parallelism: int, **spec: Any) -> Job:
    return job(completions=completions, parallelism=parallelism, completion_mode="Indexed", **spec)


def uids(pods: list[Pod]) -> list[str]:
    return [pod.metadata.uid for pod in pods]


def reasons(todo: Plan) -> dict[str, str]:
    return {condition.type: condition.reason for condition in todo.status.conditions}


@pytest.mark.parametrize(
    ("completions", "parallelism", "succeeded", "active", "created"),
    [
        (5, 3, 0, 0, 3),
        (5, 3, 4, 0, 1),
        (5, 3, 0, 2, 1),
        (5, 0, 0, 0, 0),
        (5, None, 0, 0, 1),
        (None, 3, 0, 0, 3),
        (None, 3, 1, 2, 0),  # the work is done, and the others are ending
    ],
)
def test_pods_are_created_up_to_the_parallelism_and_the_rest(
    completions: int | None, parallelism: int | None, succeeded: int, active: int, created: int
) -> None:
    asked = job(completions=completions, parallelism=parallelism)
    asked.status.succeeded = succeeded
    todo = plan(asked, [worker(f"p{number}") for number in range(active)], 0)
    assert todo.create == [None] * created and not todo.dismiss


def test_what_is_too_much_is_dismissed_the_least_ready_first() -> None:
    pods = [worker("a"), worker("b"), worker("c")]
    pods[0].status.conditions = [PodCondition(type="Ready", status="True")]
    assert uids(plan(job(completions=5, parallelism=1), pods, 0).dismiss) == ["b", "c"]


def test_a_success_is_counted_once_whatever_is_seen_in_between() -> None:
    asked = job()
    first = plan(asked, [worker("a", "Succeeded")], 1)
    assert first.status.uncounted_terminated_pods.succeeded == ["a"] and first.status.succeeded == 0  # type: ignore[union-attr]
    assert uids(first.release) == ["a"] and not first.create
    asked.status = first.status
    again = plan(asked, [worker("a", "Succeeded")], 2)
    assert again.status.succeeded == 0 and again.status.uncounted_terminated_pods.succeeded == ["a"]  # type: ignore[union-attr]
    asked.status = again.status
    done = plan(asked, [worker("a", "Succeeded", held=False)], 3)
    assert done.status.succeeded == 1 and job_finished(done.status) and done.status.completion_time
    assert done.event is not None and done.event.reason == "Completed"
    asked.status = done.status
    assert plan(asked, [worker("a", "Succeeded", held=False)], 4).status.succeeded == 1


def test_a_failure_is_counted_once_too() -> None:
    asked = job(completions=5)
    noted = plan(asked, [worker("a", "Failed")], 1).status
    assert noted.failed == 0 and noted.uncounted_terminated_pods.failed == ["a"]  # type: ignore[union-attr]
    asked.status = noted
    counted = plan(asked, [worker("a", "Failed", held=False)], 2).status
    assert counted.failed == 1 and counted.uncounted_terminated_pods.failed == []  # type: ignore[union-attr]


@pytest.mark.parametrize(("policy", "failed", "created"), [("", ["a"], 1), ("Failed", [], 0)])
def test_a_pod_that_is_going_fails_at_once_or_when_it_has(
    policy: str, failed: list[str], created: int
) -> None:
    todo = plan(job(pod_replacement_policy=policy or None), [leaving(worker("a"))], 0)
    assert todo.status.uncounted_terminated_pods.failed == failed  # type: ignore[union-attr]
    assert (len(todo.create), todo.status.terminating, todo.status.active) == (created, 1, 0)


def test_every_index_runs_until_it_has_succeeded() -> None:
    asked = indexed(3, 2)
    assert plan(asked, [], 0).create == [0, 1]
    todo = plan(asked, [worker("a", "Succeeded", 0), worker("b", "Failed", 1)], 0)
    assert todo.status.completed_indexes == "0" and todo.create == [1, 2]
    assert todo.status.succeeded == 1 and todo.failures == {1: 1}


def test_indexes_beyond_the_completions_do_not_count() -> None:
    asked = indexed(3, 0)
    asked.status.completed_indexes = "0,2-4"
    todo = plan(asked, [worker("a", "Succeeded", 3)], 0)
    assert (todo.status.completed_indexes, todo.status.succeeded) == ("0,2", 2)


def test_an_index_runs_in_one_pod() -> None:
    asked = indexed(3, 3)
    pods = [worker("a", index=0), worker("b", index=0), worker("c", index=1), worker("d", index=3)]
    todo = plan(asked, [*pods, worker("e")], 0)
    assert uids(todo.dismiss) == ["b", "d", "e"] and todo.create == [2]
    asked.status.completed_indexes = "0"
    todo = plan(asked, pods[1:3], 0)
    assert uids(todo.dismiss) == ["b"] and todo.create == [2]


def restarted(*counts: int) -> Pod:
    made = worker("p")
    made.status.container_statuses = [ContainerStatus(name="c", restart_count=n) for n in counts]
    return made


@pytest.mark.parametrize(
    ("limit", "failed", "pods", "policy", "over"),
    [
        (1, 1, [], "Never", False),
        (1, 2, [], "Never", True),
        (None, 6, [], "Never", False),
        (None, 7, [], "Never", True),
        (3, 0, [restarted(1, 2)], "OnFailure", False),
        (3, 0, [restarted(2, 2)], "OnFailure", True),
        (3, 0, [restarted(2, 2)], "Never", False),
        (0, 0, [restarted(5)], "OnFailure", False),
    ],
)
def test_the_backoff_limit_fails_the_job(
    limit: int | None, failed: int, pods: list[Pod], policy: str, over: bool
) -> None:
    asked = job(backoff_limit=limit)
    asked.spec.template.spec.restart_policy = policy
    asked.status.failed = failed
    todo = plan(asked, pods, 0)
    assert (reasons(todo).get("FailureTarget") == "BackoffLimitExceeded") is over
    assert uids(todo.delete) == (uids(pods) if over else [])


def test_with_a_limit_for_each_index_the_job_has_none() -> None:
    asked = indexed(3, 3, backoff_limit_per_index=1, backoff_limit=None)
    asked.status.failed = 100
    assert not reasons(plan(asked, [], 0))


@pytest.mark.parametrize(
    ("failed_indexes", "limit", "succeeded", "reason"),
    [
        ("0", 1, "", ""),
        ("0,1", 1, "", "MaxFailedIndexesExceeded"),
        ("0", None, "1", ""),
        ("0", None, "1,2", "FailedIndexes"),
    ],
)
def test_failed_indexes_fail_the_job(
    failed_indexes: str, limit: int | None, succeeded: str, reason: str
) -> None:
    asked = indexed(3, 3, max_failed_indexes=limit, backoff_limit_per_index=1)
    asked.status.failed_indexes = failed_indexes
    asked.status.completed_indexes = succeeded
    assert reasons(plan(asked, [], 0)).get("Failed", "") == reason


@pytest.mark.parametrize(("now", "over"), [(104, False), (105, True)])
def test_a_job_has_a_deadline(now: float, over: bool) -> None:
    asked = job(active_deadline_seconds=5)
    asked.status.start_time = timestamps.rfc3339(100)
    todo = plan(asked, [worker("a")], now)
    assert (reasons(todo).get("FailureTarget") == "DeadlineExceeded") is over
    assert todo.wake == (None if over else pytest.approx(105 - now + 0.1))
    asked.spec.suspend = True
    assert "FailureTarget" not in reasons(plan(asked, [], now))


def test_a_job_that_is_over_waits_for_its_last_pods() -> None:
    asked = job(backoff_limit=0, parallelism=2, completions=2)
    asked.status.uncounted_terminated_pods = UncountedTerminatedPods(failed=["x"])
    todo = plan(asked, [worker("x", "Failed"), worker("y")], 0)
    assert uids(todo.delete) == ["y"] and not job_finished(todo.status)
    assert set(reasons(todo)) == {"FailureTarget"}
    asked.status = todo.status
    assert not job_finished(plan(asked, [worker("x", "Failed")], 0).status), "one is not counted"
    assert job_finished(plan(asked, [], 0).status)


@pytest.mark.parametrize(
    ("announced", "final"), [("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")]
)
def test_an_outcome_that_was_announced_stands(announced: str, final: str) -> None:
    asked = job(completions=5)
    asked.status.conditions = [JobCondition(type=announced, status="True", reason="Because")]
    assert reasons(plan(asked, [], 0)).get(final) == "Because"
    asked.status.conditions[0].status = "False"
    assert final not in reasons(plan(asked, [], 0))


def test_a_work_queue_is_done_when_one_has_succeeded_and_none_runs() -> None:
    asked = job(completions=None, parallelism=3)
    asked.status.succeeded = 1
    assert not reasons(plan(asked, [worker("a")], 0))
    assert reasons(plan(asked, [], 0))["Complete"] == "CompletionsReached"


def test_a_job_is_suspended_and_resumed() -> None:
    asked = job(suspend=True, active_deadline_seconds=50)
    asked.status.start_time = timestamps.rfc3339(10)
    held = plan(asked, [worker("a")], 20)
    assert uids(held.dismiss) == ["a"] and held.status.start_time is None and not held.create
    assert held.event is not None and held.event.reason == "Suspended"
    asked.status = held.status
    assert plan(asked, [], 30).event is None
    asked.spec.suspend = False
    resumed = plan(asked, [], 40)
    assert resumed.event is not None and resumed.event.reason == "Resumed"
    assert resumed.status.start_time == timestamps.rfc3339(40)
    assert reasons(resumed) == {"Suspended": "JobResumed"}


def test_pods_of_a_finished_job_are_released() -> None:
    asked = job()
    asked.status.conditions = [JobCondition(type="Complete", status="True")]
    todo = plan(asked, [worker("a"), worker("b", held=False)], 0)
    assert uids(todo.release) == ["a"] and not todo.create and not todo.delete
