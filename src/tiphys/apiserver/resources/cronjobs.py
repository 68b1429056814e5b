"""Cron jobs."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.batch_v1 import CronJob, CronJobSpec
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column, selector_text, since
from tiphys.apiserver.resources.jobspec import job_errors
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.rules import validate_template
from tiphys.apiserver.resources.podspec.warnings import template_warnings
from tiphys.apiserver.resources.workloads import container_images, container_names
from tiphys.machinery import errors
from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import FieldError

_CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")
_LONGEST_NAME = 52  # its jobs add eleven characters to it
_TEMPLATE = "spec.jobTemplate.spec.template"


def _last_schedule(cron_job: CronJob) -> str:
    time = cron_job.status.last_schedule_time
    return since(time) if time else "<none>"


class CronJobStrategy(Strategy[CronJob]):
    columns = (
        NAME,
        Column("Schedule", lambda o: o.spec.schedule),
        Column("Timezone", lambda o: o.spec.time_zone or "<none>"),
        Column("Suspend", lambda o: "True" if o.spec.suspend else "False"),
        Column("Active", lambda o: len(o.status.active), type="integer"),
        Column("Last Schedule", _last_schedule),
        AGE,
        Column(
            "Containers",
            lambda o: container_names(o.spec.job_template.spec.template),
            priority=WIDE,
        ),
        Column(
            "Images",
            lambda o: container_images(o.spec.job_template.spec.template),
            priority=WIDE,
        ),
        Column(
            "Selector",
            lambda o: selector_text(o.spec.job_template.spec.selector),
            priority=WIDE,
        ),
    )
    generation = True

    def default(self, obj: CronJob) -> None:
        spec = obj.spec
        spec.concurrency_policy = spec.concurrency_policy or "Allow"
        if spec.suspend is None:
            spec.suspend = False
        if spec.successful_jobs_history_limit is None:
            spec.successful_jobs_history_limit = 3
        if spec.failed_jobs_history_limit is None:
            spec.failed_jobs_history_limit = 1
        # What a job has by default it gets when it is created; its pods' defaults are written here,
        # as upstream has it.
        default_pod_spec(spec.job_template.spec.template.spec, template=True)

    def validate(self, obj: CronJob) -> list[FieldError]:
        spec = obj.spec
        job = spec.job_template.spec
        violations = _schedule_errors(spec)
        policy = spec.concurrency_policy
        if policy not in _CONCURRENCY_POLICIES:
            field = "spec.concurrencyPolicy"
            violations.append(errors.not_supported(field, policy, _CONCURRENCY_POLICIES))
        name = obj.metadata.name
        if len(name) > _LONGEST_NAME:
            detail = "must be no more than 52 characters"
            violations.append(errors.invalid_value("metadata.name", name, detail))
        numbers = {
            "startingDeadlineSeconds": spec.starting_deadline_seconds,
            "successfulJobsHistoryLimit": spec.successful_jobs_history_limit,
            "failedJobsHistoryLimit": spec.failed_jobs_history_limit,
        }
        for field, value in numbers.items():
            violations += checks.natural(value, f"spec.{field}")
        if job.selector is not None and not job.manual_selector:
            detail = "`selector` will be auto-generated"
            field = "spec.jobTemplate.spec.selector"
            violations.append(errors.invalid_value(field, job.selector, detail))
        violations += job_errors(job, "spec.jobTemplate.spec")
        return violations + validate_template(job.template, _TEMPLATE)

    def warnings(self, new: CronJob, old: CronJob | None) -> Iterator[str]:
        before = old.spec.job_template.spec.template if old is not None else None
        yield from template_warnings(new.spec.job_template.spec.template, before, _TEMPLATE)


def _schedule_errors(spec: CronJobSpec) -> list[FieldError]:
    if not spec.schedule:
        return [errors.required("spec.schedule")]
    violations = []
    if detail := _schedule_detail(spec.schedule):
        violations.append(errors.invalid_value("spec.schedule", spec.schedule, detail))
    if spec.time_zone is not None and (detail := _zone_detail(spec.time_zone)):
        violations.append(errors.invalid_value("spec.timeZone", spec.time_zone, detail))
    return violations


def _schedule_detail(schedule: str) -> str:
    """What is wrong with a schedule; "" when nothing is."""
    if "TZ=" in schedule:
        return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    try:
        parse_schedule(schedule)
    except ScheduleError as error:
        return str(error)
    return ""


def _zone_detail(zone: str) -> str:
    """What is wrong with a time zone; "" when nothing is."""
    if not zone:
        return "timeZone must be nil or non-empty string"
    if zone.lower() == "local":
        return (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
    try:
        zone_of(zone)
    except ScheduleError as error:
        return str(error)
    return ""
