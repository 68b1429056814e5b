"""When cron jobs start jobs."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago
from tiphys.api import batch_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Container
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import cronjob
from tiphys.machinery.errors import StatusError

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


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def crons(bench: Bench) -> cronjob.CronJobController:
    return bench.start(cronjob.CronJobController)


async def hourly(bench: Bench, **spec: Any) -> batch_v1.CronJob:
    made = cron(**spec, schedule="@hourly")
    made.metadata.creation_timestamp = None
    template = made.spec.job_template.spec.template.spec
    template.containers = [Container(name="c", image="i")]
    template.restart_policy = "Never"
    return await bench.add(made)


async def jobs_of(bench: Bench) -> list[str]:
    return [each.metadata.name for each in await bench.all(batch_v1.Job)]


@together
async def test_a_job_starts_on_the_hour_and_is_noted(
    bench: Bench, crons: cronjob.CronJobController
) -> None:
    made = await hourly(bench)
    name = made.metadata.name
    assert await bench.queued(crons) == [name]
    wait = await bench.step(crons, name)
    assert wait is not None and 0 < wait < 3601 and await jobs_of(bench) == []
    bench.later = 3600
    await bench.step(crons, name)
    [started] = await jobs_of(bench)
    assert bench.reasons() == ["SuccessfulCreate"]
    found = await bench.get(batch_v1.CronJob, name)
    assert found is not None and [ref.name for ref in found.status.active] == [started]
    assert found.status.last_schedule_time
    assert await bench.queued(crons) == [name], "its job leads to it"
    await bench.step(crons, name)
    assert await jobs_of(bench) == [started]
    assert await bench.step(crons, "none") is None


@together
async def test_a_job_that_is_there_already_counts_as_started(
    bench: Bench, crons: cronjob.CronJobController
) -> None:
    made = await hourly(bench)
    name = made.metadata.name
    bench.later = 3600
    await bench.step(crons, name)
    await bench.say(made, active=None, lastScheduleTime=None)
    bench.reasons()
    with bench.unseen(batch_v1.Job):
        crons._jobs._objects.clear()
        crons._jobs._indexes["cronjob"].objects.clear()
        await bench.step(crons, name)
    found = await bench.get(batch_v1.CronJob, name)
    assert bench.reasons() == [] and found is not None
    assert found.status.last_schedule_time and found.status.active == []


@together
async def test_an_active_job_that_is_gone_is_told_and_one_that_is_late_is_not(
    bench: Bench, crons: cronjob.CronJobController
) -> None:
    made = await hourly(bench)
    name = made.metadata.name
    bench.later = 3600
    await bench.step(crons, name)
    [job_] = await bench.all(batch_v1.Job)
    bench.reasons()
    with bench.unseen(batch_v1.Job):
        crons._jobs._objects.clear()
        crons._jobs._indexes["cronjob"].objects.clear()
        await bench.step(crons, name)
    found = await bench.get(batch_v1.CronJob, name)
    assert found is not None and len(found.status.active) == 1 and bench.reasons() == []
    await bench.remove(job_, propagation="Background")
    await bench.step(crons, name)
    found = await bench.get(batch_v1.CronJob, name)
    assert found is not None and found.status.active == []
    assert bench.reasons() == ["MissingJob"]


@together
async def test_a_job_is_replaced_and_a_refused_one_is_told(
    bench: Bench, crons: cronjob.CronJobController
) -> None:
    made = await hourly(bench, concurrencyPolicy="Replace")
    name = made.metadata.name
    bench.later = 3600
    await bench.step(crons, name)
    [first] = await jobs_of(bench)
    bench.reasons()
    bench.later = 7200
    await bench.step(crons, name)
    [second] = await jobs_of(bench)
    assert second != first and bench.reasons() == ["SuccessfulDelete", "SuccessfulCreate"]
    limits = core_v1.ResourceQuota(metadata=ObjectMeta(name="q"))
    limits.spec.hard = {"count/jobs.batch": "0"}  # type: ignore[dict-item]
    none = {"count/jobs.batch": "0"}
    await bench.say(await bench.add(limits), hard=none, used=none)
    bench.later = 10800
    with pytest.raises(StatusError):
        await bench.step(crons, name)
    assert bench.reasons()[-1] == "FailedCreate"
