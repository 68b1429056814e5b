"""Cron jobs: a job at every scheduled minute, as the concurrency policy allows."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.base import decode, encode
from tiphys.api.batch_v1 import CronJob, CronJobStatus, Job, JobSpec
from tiphys.api.core_v1 import ObjectReference
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.job import is_over
from tiphys.controllers.pods import condition, owner_reference
from tiphys.controllers.shell import Controller, controller_of
from tiphys.machinery import timestamps
from tiphys.machinery.cron import Schedule, ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import StatusError

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100  # missed starts that are worth a warning


# --- the core: pure ---


@dataclass
class Plan:
    """What to do now: the minute to start a job for, jobs to delete; the status to write; events; when to look again."""

    status: CronJobStatus
    start: float | None = None
    replace: list[Job] = field(default_factory=list)
    expire: list[Job] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    missing: list[ObjectReference] = field(
        default_factory=list
    )  # jobs of the status that the informer does not show
    wake: float | None = None


class InvalidSchedule(Exception):
    """A schedule that can be read and never comes, such as the 31st of February."""


def plan(owner: CronJob, jobs: list[Job], now: float) -> Plan:
    """One look at a cron job and its jobs."""
    made = Plan(_status(owner, jobs))
    made.events = _finished_events(owner, jobs)
    made.expire = _history(owner, jobs)
    present = {job.metadata.uid for job in jobs}
    made.missing = [ref for ref in owner.status.active if ref.uid not in present]
    if owner.metadata.deletion_timestamp:
        return made
    try:
        zone = zone_of(owner.spec.time_zone)
    except ScheduleError as error:
        made.events.append(
            ("Warning", "UnknownTimeZone", f'invalid timeZone: "{owner.spec.time_zone}": {error}')
        )
        return made
    if owner.spec.suspend:
        return made
    written = owner.spec.schedule
    try:
        schedule = parse_schedule(written)
        due, missed = most_recent(owner, schedule, zone, now)
    except ScheduleError as error:
        made.events.append(
            ("Warning", "UnparseableSchedule", f'unparseable schedule: "{written}" : {error}')
        )
        return made
    except InvalidSchedule as error:
        made.events.append(("Warning", "InvalidSchedule", f"invalid schedule: {written} : {error}"))
        return made
    upcoming = schedule.after(now, zone)
    made.wake = upcoming - now + 0.1 if upcoming is not None else None
    if missed > _MANY:
        made.events.append(
            (
                "Warning",
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
            )
        )
    if due is None:
        return made
    if (deadline := owner.spec.starting_deadline_seconds) is not None and due + deadline < now:
        made.events.append(
            (
                "Warning",
                "MissSchedule",
                f"Missed scheduled time to start a job: {timestamps.rfc1123(due)}",
            )
        )
        return made
    running = [job for job in jobs if not is_over(job.status)]
    if any(job.metadata.name == job_name(owner, due) for job in jobs):
        return made
    if running and owner.spec.concurrency_policy == "Forbid":
        made.events.append(
            (
                "Normal",
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid",
            )
        )
        return made
    if owner.spec.concurrency_policy == "Replace":
        made.replace = running
    made.start = due
    return made


def most_recent(
    owner: CronJob, schedule: Schedule, zone: Any, now: float
) -> tuple[float | None, int]:
    """(the last scheduled time that has come and no job was started for, how many were missed). Raises InvalidSchedule."""
    begin = timestamps.parse(owner.status.last_schedule_time or owner.metadata.creation_timestamp)
    deadline = owner.spec.starting_deadline_seconds
    if deadline is not None:
        begin = max(begin, now - deadline)
    if begin > now:
        return None, 0
    first = schedule.after(begin, zone)
    if first is None:
        raise InvalidSchedule("time difference between two schedules is less than 1 second")
    if first > now:
        return None, 0
    second = schedule.after(first, zone)
    if second is None or second > now:
        return first, 1
    missed = int((now - first) // (second - first)) + 1
    # Close to now in one step, then exactly.
    at = max(first, now - 2 * (second - first) - 1)
    found = first
    while (step := schedule.after(at, zone)) is not None and step <= now:
        found = at = step
    return found, missed


def job_name(owner: CronJob, due: float) -> str:
    """One job for each scheduled minute: starting it twice makes one."""
    return f"{owner.metadata.name}-{int(due) // 60}"


def new_job(owner: CronJob, due: float) -> Job:
    template = owner.spec.job_template
    stamp = timestamps.rfc3339(due)
    meta = ObjectMeta(
        name=job_name(owner, due),
        namespace=owner.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations={**template.metadata.annotations, SCHEDULED: stamp},
        owner_references=[owner_reference(owner)],
        creation_timestamp=None,
    )
    return Job(metadata=meta, spec=decode(encode(template.spec), JobSpec))


def _status(owner: CronJob, jobs: list[Job]) -> CronJobStatus:
    status = copy.deepcopy(owner.status)
    status.active = [reference(job) for job in jobs if not is_over(job.status)]
    done = [
        job.status.completion_time for job in jobs if _succeeded(job) and job.status.completion_time
    ]
    if done:
        latest = max(done)
        if not status.last_successful_time or latest > status.last_successful_time:
            status.last_successful_time = latest
    return status


def reference(job: Job) -> ObjectReference:
    meta = job.metadata
    return ObjectReference(
        api_version=job.api_version,
        kind=job.kind,
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _succeeded(job: Job) -> bool:
    found = condition(job, "Complete")
    return found is not None and found.status == "True"


def _finished_events(owner: CronJob, jobs: list[Job]) -> list[tuple[str, str, str]]:
    active = {ref.uid for ref in owner.status.active}
    return [
        (
            "Normal",
            "SawCompletedJob",
            f"Saw completed job: {job.metadata.name}, condition: {'Complete' if _succeeded(job) else 'Failed'}",
        )
        for job in jobs
        if is_over(job.status) and job.metadata.uid in active
    ]


def _history(owner: CronJob, jobs: list[Job]) -> list[Job]:
    """Finished jobs beyond the limits, oldest first."""
    over = [job for job in jobs if is_over(job.status) and not job.metadata.deletion_timestamp]
    over.sort(key=lambda job: (job.status.start_time or "", job.metadata.name))
    expired = []
    limits = (
        (True, owner.spec.successful_jobs_history_limit),
        (False, owner.spec.failed_jobs_history_limit),
    )
    for good, limit in limits:
        if limit is not None:
            chosen = [job for job in over if _succeeded(job) is good]
            expired += chosen[: max(0, len(chosen) - limit)]
    return expired


# --- the shell ---


class CronJobController(Controller):
    name = "cronjob"

    def watch(self) -> None:
        self._crons, self._jobs = self.informer(CronJob), self.informer(Job)
        self._jobs.index(
            "cronjob",
            lambda job: [o.uid] if (o := controller_of(job)) and o.kind == "CronJob" else [],
        )
        self._crons.on_change(self.enqueue)
        self._jobs.on_change(self.enqueue_owner("CronJob"))

    async def reconcile(self, key: str) -> float | None:
        owner = self._crons.get(key)
        if owner is None:
            return None
        record = self.context.recorder.record
        todo = plan(owner, self._jobs.by("cronjob", owner.metadata.uid), self.context.now())
        await self._look_for(owner, todo)
        for kind, reason, text in todo.events:
            record(owner, kind, reason, text)
        for job in (*todo.expire, *todo.replace):
            await self._delete(owner, job)
        if todo.start is not None:
            await self._start(owner, todo)
        if todo.status != owner.status:
            changed = copy.copy(owner)
            changed.status = todo.status
            await self.client.update_status(changed)
        return todo.wake

    async def _look_for(self, owner: CronJob, todo: Plan) -> None:
        """A job that the informer does not show may only not have been seen yet: then it stays in the status."""
        for ref in todo.missing:
            try:
                await self.client.get(Job, ref.name, ref.namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
                self.context.recorder.record(
                    owner, "Normal", "MissingJob", f"Active job went missing: {ref.name}"
                )
            else:
                todo.status.active.append(ref)

    async def _start(self, owner: CronJob, todo: Plan) -> None:
        assert todo.start is not None
        try:
            job = await self.client.create(new_job(owner, todo.start))
        except StatusError as error:
            if error.reason == "AlreadyExists":
                todo.status.last_schedule_time = timestamps.rfc3339(todo.start)
                return
            self.context.recorder.record(
                owner, "Warning", "FailedCreate", f"Error creating job: {error}"
            )
            raise
        self.context.recorder.record(
            owner, "Normal", "SuccessfulCreate", f"Created job {job.metadata.name}"
        )
        todo.status.active.append(reference(job))
        todo.status.last_schedule_time = timestamps.rfc3339(todo.start)

    async def _delete(self, owner: CronJob, job: Job) -> None:
        try:
            await self.client.delete(
                Job, job.metadata.name, job.metadata.namespace, propagation="Background"
            )
        except StatusError as error:
            if error.code != 404:
                raise
            return
        self.context.recorder.record(
            owner, "Normal", "SuccessfulDelete", f"Deleted job {job.metadata.name}"
        )
