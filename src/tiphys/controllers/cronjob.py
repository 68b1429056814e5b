"""Cron jobs: a job at every scheduled minute, as the concurrency policy allows."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, NamedTuple

from tiphys.api.base import decode, encode
from tiphys.api.batch_v1 import CronJob, CronJobStatus, Job, JobSpec
from tiphys.api.core_v1 import ObjectReference
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.pods import owner_reference
from tiphys.controllers.shell import Controller, controller_of
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.cron import Schedule, ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.machinery.finished import job_finished

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100  # missed starts that are worth a warning, as upstream
_MARGIN = 0.1  # seconds after a scheduled time until it is checked


# --- the core: pure ---


class Event(NamedTuple):
    """What to record about the cron job."""

    level: str
    reason: str
    message: str


@dataclass
class Plan:
    """What to do now.

    `start` is the scheduled time to start a job for, in seconds since the epoch; `replace` are
    running jobs that give way to it, `expire` finished ones beyond the history. `missing` are jobs
    of the status that the informer does not show. `wake` is when to look again, in seconds.
    """

    status: CronJobStatus
    start: float | None = None
    replace: list[Job] = field(default_factory=list)
    expire: list[Job] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    missing: list[ObjectReference] = field(default_factory=list)
    wake: float | None = None

    def warn(self, reason: str, message: str) -> None:
        self.events.append(Event("Warning", reason, message))


class InvalidSchedule(Exception):
    """A schedule that can be read and never comes, such as the 31st of February."""


class Due(NamedTuple):
    """The last scheduled time that has come and no job was started for, None when there is none;
    and how many such times there were."""

    time: float | None
    missed: int


_NOTHING_DUE = Due(None, 0)


def plan(owner: CronJob, jobs: list[Job], now: float) -> Plan:
    """One look at a cron job and its jobs."""
    result = Plan(_status(owner, jobs))
    result.events = _finished_events(owner, jobs)
    result.expire = _beyond_history(owner, jobs)
    present = {job.metadata.uid for job in jobs}
    result.missing = [ref for ref in owner.status.active if ref.uid not in present]
    if owner.metadata.deletion_timestamp:
        return result
    zone_name = owner.spec.time_zone
    try:
        zone = zone_of(zone_name)
    except ScheduleError as error:
        result.warn("UnknownTimeZone", f'invalid timeZone: "{zone_name}": {error}')
        return result
    if owner.spec.suspend:
        return result
    text = owner.spec.schedule
    try:
        schedule = parse_schedule(text)
        due = most_recent(owner, schedule, zone, now)
    except ScheduleError as error:
        result.warn("UnparseableSchedule", f'unparseable schedule: "{text}" : {error}')
        return result
    except InvalidSchedule as error:
        result.warn("InvalidSchedule", f"invalid schedule: {text} : {error}")
        return result
    upcoming = schedule.after(now, zone)
    if upcoming is not None:
        result.wake = upcoming - now + _MARGIN
    if due.missed > _MANY:
        message = (
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or "
            "check clock skew"
        )
        result.warn("TooManyMissedTimes", message)
    if due.time is not None:
        _start(result, owner, jobs, due.time, now)
    return result


def _start(result: Plan, owner: CronJob, jobs: list[Job], due: float, now: float) -> None:
    """Decides whether a job starts for a scheduled time, by its deadline and what is running."""
    deadline = owner.spec.starting_deadline_seconds
    if deadline is not None and due + deadline < now:
        message = f"Missed scheduled time to start a job: {timestamps.rfc1123(due)}"
        result.warn("MissSchedule", message)
        return
    if any(job.metadata.name == job_name(owner, due) for job in jobs):
        return
    running = [job for job in jobs if not job_finished(job.status)]
    if running and owner.spec.concurrency_policy == "Forbid":
        message = (
            "Not starting job because prior execution is running and concurrency policy is Forbid"
        )
        result.events.append(Event("Normal", "JobAlreadyActive", message))
        return
    if owner.spec.concurrency_policy == "Replace":
        result.replace = running
    result.start = due


def most_recent(owner: CronJob, schedule: Schedule, zone: tzinfo, now: float) -> Due:
    """The scheduled time that is due. Raises InvalidSchedule."""
    begin = timestamps.parse(owner.status.last_schedule_time or owner.metadata.creation_timestamp)
    deadline = owner.spec.starting_deadline_seconds
    if deadline is not None:
        begin = max(begin, now - deadline)
    if begin > now:
        return _NOTHING_DUE
    first = schedule.after(begin, zone)
    if first is None:
        raise InvalidSchedule("time difference between two schedules is less than 1 second")
    if first > now:
        return _NOTHING_DUE
    second = schedule.after(first, zone)
    if second is None or second > now:
        return Due(first, 1)
    missed = int((now - first) // (second - first)) + 1
    # After a long time off, stepping through every missed one would take as long: close to now in
    # one step, then exactly.
    latest = first
    position = max(first, now - 2 * (second - first) - 1)
    while (following := schedule.after(position, zone)) is not None and following <= now:
        latest = position = following
    return Due(latest, missed)


def job_name(owner: CronJob, due: float) -> str:
    """One name for each scheduled minute: a job that is started twice is created once."""
    return f"{owner.metadata.name}-{int(due) // 60}"


def new_job(owner: CronJob, due: float) -> Job:
    """The job for a scheduled time."""
    template = owner.spec.job_template
    meta = ObjectMeta(
        name=job_name(owner, due),
        namespace=owner.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations={**template.metadata.annotations, SCHEDULED: timestamps.rfc3339(due)},
        owner_references=[owner_reference(owner)],
        creation_timestamp=None,
    )
    return Job(metadata=meta, spec=decode(encode(template.spec), JobSpec))


def reference(job: Job) -> ObjectReference:
    """How the status of a cron job names a job."""
    meta = job.metadata
    return ObjectReference(
        api_version=job.api_version,
        kind=job.kind,
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _status(owner: CronJob, jobs: list[Job]) -> CronJobStatus:
    status = copy.deepcopy(owner.status)
    status.active = [reference(job) for job in jobs if not job_finished(job.status)]
    for job in jobs:
        ended = job.status.completion_time
        if not ended or not _succeeded(job):
            continue
        if not status.last_successful_time or ended > status.last_successful_time:
            status.last_successful_time = ended
    return status


def _succeeded(job: Job) -> bool:
    return conditions.is_true(job.status.conditions, "Complete")


def _finished_events(owner: CronJob, jobs: list[Job]) -> list[Event]:
    """One for each job that was active when the status was written last."""
    active = {ref.uid for ref in owner.status.active}
    events = []
    for job in jobs:
        if not job_finished(job.status) or job.metadata.uid not in active:
            continue
        kind = "Complete" if _succeeded(job) else "Failed"
        message = f"Saw completed job: {job.metadata.name}, condition: {kind}"
        events.append(Event("Normal", "SawCompletedJob", message))
    return events


def _beyond_history(owner: CronJob, jobs: list[Job]) -> list[Job]:
    """Finished jobs beyond the limits, the oldest first; those that succeeded and those that failed
    are counted apart."""
    finished = [job for job in jobs if job_finished(job.status)]
    finished = [job for job in finished if not job.metadata.deletion_timestamp]
    finished.sort(key=lambda job: (job.status.start_time or "", job.metadata.name))
    succeeded = [job for job in finished if _succeeded(job)]
    failed = [job for job in finished if not _succeeded(job)]
    return [
        *_oldest(succeeded, owner.spec.successful_jobs_history_limit),
        *_oldest(failed, owner.spec.failed_jobs_history_limit),
    ]


def _oldest(jobs: list[Job], kept: int | None) -> list[Job]:
    return [] if kept is None else jobs[: max(0, len(jobs) - kept)]


# --- the shell ---


class CronJobController(Controller):
    name = "cronjob"

    def watch(self) -> None:
        self._crons = self.informer(CronJob)
        self._jobs = self.informer(Job)
        self._jobs.index("cronjob", _cron_job_index)
        self._crons.on_change(self.enqueue)
        self._jobs.on_change(self.enqueue_owner("CronJob"))

    async def reconcile(self, key: str) -> float | None:
        owner = self._crons.get(key)
        if owner is None:
            return None
        todo = plan(owner, self._jobs.by("cronjob", owner.metadata.uid), self.context.now())
        await self._look_for_missing(owner, todo)
        for event in todo.events:
            self.event(owner, *event)
        for job in (*todo.expire, *todo.replace):
            await self._delete_job(owner, job)
        if todo.start is not None:
            await self._start(owner, todo.start, todo.status)
        await self.write_status(owner, todo.status)
        return todo.wake

    async def _look_for_missing(self, owner: CronJob, todo: Plan) -> None:
        """A job that is missing from the informer may just not have arrived yet: if the server has
        it, it stays in the status."""
        for ref in todo.missing:
            if await self.live(Job, ref.name, ref.namespace) is not None:
                todo.status.active.append(ref)
            else:
                message = f"Active job went missing: {ref.name}"
                self.event(owner, "Normal", "MissingJob", message)

    async def _start(self, owner: CronJob, due: float, status: CronJobStatus) -> None:
        try:
            job = await self.client.create(new_job(owner, due))
        except StatusError as error:
            if is_already_exists(error):
                status.last_schedule_time = timestamps.rfc3339(due)
                return
            self.event(owner, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        self.event(owner, "Normal", "SuccessfulCreate", f"Created job {job.metadata.name}")
        status.active.append(reference(job))
        status.last_schedule_time = timestamps.rfc3339(due)

    async def _delete_job(self, owner: CronJob, job: Job) -> None:
        if await self.delete(job, propagation="Background"):
            message = f"Deleted job {job.metadata.name}"
            self.event(owner, "Normal", "SuccessfulDelete", message)


def _cron_job_index(job: Any) -> list[str]:
    owner = controller_of(job)
    return [owner.uid] if owner is not None and owner.kind == "CronJob" else []
