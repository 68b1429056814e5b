"""When cron jobs start jobs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controllers.builders import NOW, ago
from tiphys.api import batch_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import cronjob

DUE = NOW - NOW % 300


def cron(created: float = 1000, **spec: Any) -> batch_v1.CronJob:
    """Every five minutes, unless `spec` says otherwise; created that many seconds ago."""
    body = {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": {}}}
    meta = ObjectMeta(name="c", namespace="default", uid="u", creation_timestamp=ago(created))
    return batch_v1.CronJob(
        metadata=meta, spec=from_builtins({**body, **spec}, batch_v1.CronJobSpec)
    )


def job(name: str, outcome: str = "", completed: float | None = None) -> batch_v1.Job:
    made = batch_v1.Job(metadata=ObjectMeta(name=name, namespace="default", uid=name))
    made.status.start_time = ago(500)
    if outcome:
        made.status.conditions = [batch_v1.JobCondition(type=outcome, status="True")]
    if completed is not None:
        made.status.completion_time = ago(completed)
    return made


def reasons(todo: cronjob.Plan) -> list[str]:
    return [event.reason for event in todo.events]


def test_a_job_starts_for_the_last_time_that_came() -> None:
    todo = cronjob.plan(cron(), [], NOW)
    assert todo.start == DUE and todo.wake == pytest.approx(DUE + 300 - NOW + 0.1)
    assert cronjob.plan(cron(), [job(cronjob.job_name(cron(), DUE))], NOW).start is None
    done = cron()
    done.status.last_schedule_time = ago(NOW - DUE)
    assert cronjob.plan(done, [], NOW).start is None


@pytest.mark.parametrize(
    ("policy", "start", "replaced", "events"),
    [
        ("Allow", DUE, 0, []),
        ("Forbid", None, 0, ["JobAlreadyActive"]),
        ("Replace", DUE, 1, []),
    ],
)
def test_the_concurrency_policy_decides(
    policy: str, start: float | None, replaced: int, events: list[str]
) -> None:
    jobs = [job("running"), job("over", "Complete")]
    todo = cronjob.plan(cron(concurrencyPolicy=policy), jobs, NOW)
    assert (todo.start, len(todo.replace), reasons(todo)) == (start, replaced, events)
    assert cronjob.plan(cron(concurrencyPolicy=policy), jobs[1:], NOW).start == DUE


@pytest.mark.parametrize(
    ("spec", "start", "events"),
    [
        ({"startingDeadlineSeconds": 250}, DUE, []),
        ({"startingDeadlineSeconds": 1}, None, []),
        ({"suspend": True}, None, []),
        ({"schedule": "0 0 1 1 *"}, None, []),
    ],
)
def test_a_start_may_come_too_late(
    spec: dict[str, Any], start: float | None, events: list[str]
) -> None:
    todo = cronjob.plan(cron(**spec), [], NOW)
    assert (todo.start, reasons(todo)) == (start, events)


@pytest.mark.parametrize(
    ("created", "warned"), [(99 * 300, []), (200 * 300, ["TooManyMissedTimes"])]
)
def test_many_missed_starts_are_one_start_and_a_warning(created: float, warned: list[str]) -> None:
    todo = cronjob.plan(cron(created), [], NOW)
    assert (todo.start, reasons(todo)) == (DUE, warned)


def test_the_history_keeps_successes_and_failures_apart() -> None:
    jobs = [job(f"c-{n}", "Complete") for n in range(4)] + [job("c-f", "Failed"), job("running")]
    jobs[1].metadata.deletion_timestamp = "x"
    owner = cron(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)
    assert [each.metadata.name for each in cronjob.plan(owner, jobs, NOW).expire] == ["c-0", "c-f"]
    unlimited = cron()
    unlimited.spec.successful_jobs_history_limit = None
    unlimited.spec.failed_jobs_history_limit = None
    assert cronjob.plan(unlimited, jobs, NOW).expire == []


@pytest.mark.parametrize(
    ("known", "jobs", "latest"),
    [
        (None, [job("a", "Complete", 50), job("b", "Complete", 20)], 20),
        (10, [job("a", "Complete", 50)], 10),
        (90, [job("a", "Complete", 50)], 50),
        (None, [job("a", "Failed", 50)], None),
        (None, [job("a", "", 50)], None),
    ],
)
def test_the_last_success_is_noted(
    known: float | None, jobs: list[batch_v1.Job], latest: float | None
) -> None:
    owner = cron()
    owner.status.last_successful_time = None if known is None else ago(known)
    found = cronjob.plan(owner, jobs, NOW).status.last_successful_time
    assert found == (None if latest is None else ago(latest))


def test_the_end_of_an_active_job_is_told_once() -> None:
    owner = cron(suspend=True)
    owner.status.active = [cronjob.reference(job(name)) for name in ("a", "b", "c")]
    jobs = [job("a", "Complete"), job("b", "Failed"), job("c"), job("d", "Complete")]
    todo = cronjob.plan(owner, jobs, NOW)
    assert [event.message for event in todo.events] == [
        "Saw completed job: a, condition: Complete",
        "Saw completed job: b, condition: Failed",
    ]
    assert [ref.name for ref in todo.status.active] == ["c"]


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"schedule": "59 23 31 2 *"},
            "InvalidSchedule",
            "59 23 31 2 * : time difference between two schedules is less",
        ),
        (
            {"schedule": "61 * * * *"},
            "UnparseableSchedule",
            '"61 * * * *" : end of range (61) above maximum (59): 61',
        ),
        (
            {"timeZone": "Moon/Sea"},
            "UnknownTimeZone",
            'invalid timeZone: "Moon/Sea": unknown time zone Moon/Sea',
        ),
    ],
)
def test_a_schedule_that_never_comes_is_warned_of(
    spec: dict[str, Any], reason: str, message: str
) -> None:
    todo = cronjob.plan(cron(**spec), [], NOW)
    [event] = todo.events
    assert event[:2] == ("Warning", reason) and message in event.message
    assert todo.start is None and todo.wake is None


def test_an_active_job_that_is_not_seen_is_looked_for() -> None:
    owner = cron()
    owner.status.active = [cronjob.reference(job("lost"))]
    assert [ref.name for ref in cronjob.plan(owner, [], NOW).missing] == ["lost"]
    assert not cronjob.plan(owner, [job("lost")], NOW).missing


def test_a_job_says_what_it_was_scheduled_for() -> None:
    made = cronjob.new_job(cron(), DUE)
    assert made.metadata.name == f"c-{int(DUE) // 60}"
    assert made.metadata.annotations == {cronjob.SCHEDULED: ago(NOW - DUE)}
