"""Jobs, and what makes them by the clock."""

from __future__ import annotations

import re

from tiphys.api import batch_v1
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import given, natural, one_of
from tiphys.apiserver.resources.poddefaults import default_pod_spec
from tiphys.apiserver.resources.podspec import validate_template
from tiphys.apiserver.resources.workloads import WorkloadStrategy
from tiphys.machinery import errors
from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors
from tiphys.store.cache import Selectable


class JobStrategy(WorkloadStrategy):
    restart = ("OnFailure", "Never")
    noun = "job"
    fields = (Selectable("status.successful", "0", "status.succeeded"),)
    orphans = True

    def default(self, obj: batch_v1.Job) -> None:
        default_job_spec(obj.spec)

    def prepare_for_create(self, obj: batch_v1.Job) -> None:
        obj.status = batch_v1.JobStatus()
        if not obj.spec.manual_selector:
            self._select_by_uid(obj)
        # A job without labels has those of its pods.
        obj.metadata.labels = obj.metadata.labels or dict(obj.spec.template.metadata.labels)

    @staticmethod
    def _select_by_uid(obj: batch_v1.Job) -> None:
        import uuid

        # The controller tells its pods by the job's uid, which nobody else can have.
        uid = obj.metadata.uid or str(uuid.uuid4())
        labels = obj.spec.template.metadata.labels
        for key in ("controller-uid", "batch.kubernetes.io/controller-uid"):
            labels.setdefault(key, uid)
        for key in ("job-name", "batch.kubernetes.io/job-name"):
            labels.setdefault(key, obj.metadata.name)
        from tiphys.api.meta_v1 import LabelSelector

        obj.spec.selector = obj.spec.selector or LabelSelector(
            match_labels={"batch.kubernetes.io/controller-uid": uid}
        )

    def validate(self, obj: batch_v1.Job) -> list[FieldError]:
        found = super().validate(obj)
        return found + job_errors(obj.spec, "spec")

    def _restart(self, policy: str, at: str) -> list[FieldError]:
        if policy in self.restart:
            return []
        return [errors.required(at, 'valid values: "OnFailure", "Never"')]

    def validate_update(self, new: batch_v1.Job, old: batch_v1.Job) -> list[FieldError]:
        found = immutable("spec.completionMode", new.spec.completion_mode, old.spec.completion_mode)
        found += immutable("spec.selector", new.spec.selector, old.spec.selector)
        if not old.spec.suspend or old.status.start_time:
            found += immutable("spec.template", new.spec.template, old.spec.template)
        if old.spec.completion_mode != "Indexed":
            found += immutable("spec.completions", new.spec.completions, old.spec.completions)
        return found


def job_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    """What is wrong with a job's numbers and policies."""
    found: list[FieldError] = []
    for name, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("maxFailedIndexes", spec.max_failed_indexes),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
    ):
        found += natural(value, f"{path}.{name}")
    found += one_of(spec.completion_mode, ("Indexed", "NonIndexed"), f"{path}.completionMode")
    found += one_of(
        spec.pod_replacement_policy,
        ("Failed", "TerminatingOrFailed"),
        f"{path}.podReplacementPolicy",
    )
    if spec.managed_by is not None and not re.fullmatch(r"[a-z0-9.-]+/.+", spec.managed_by):
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        found.append(errors.invalid_value(f"{path}.managedBy", spec.managed_by, why))
    if spec.completion_mode == "Indexed":
        if spec.completions is None:
            found.append(errors.required(f"{path}.completions", "when completion mode is Indexed"))
        elif spec.max_failed_indexes is not None and spec.max_failed_indexes > spec.completions:
            why = "must be less than or equal to completions when specified"
            found.append(
                errors.invalid_value(f"{path}.maxFailedIndexes", spec.max_failed_indexes, why)
            )
    else:
        for name, policy in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
            ("successPolicy", spec.success_policy),
        ):
            if policy is not None:
                found.append(
                    errors.invalid_value(
                        f"{path}.{name}", policy, "requires indexed completion mode"
                    )
                )
    if spec.managed_by is not None and len(spec.managed_by) > 63:
        found.append(errors.too_long(f"{path}.managedBy", 63))
    if spec.pod_failure_policy is not None and spec.pod_replacement_policy not in (None, "Failed"):
        found.append(
            errors.not_supported(
                f"{path}.podReplacementPolicy", spec.pod_replacement_policy, ("Failed",)
            )
        )
    found += _index_limits(spec, path) + _success_policy_errors(spec, f"{path}.successPolicy")
    return found + _failure_policy_errors(spec, f"{path}.podFailurePolicy")


_MOST_INDEXES = 100_000  # above it a job's indexes would not fit its status


def _index_limits(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    if spec.completion_mode != "Indexed" or spec.completions is None:
        return []
    found: list[FieldError] = []
    if spec.parallelism is not None and spec.parallelism > _MOST_INDEXES:
        why = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        found.append(errors.invalid_value(f"{path}.parallelism", spec.parallelism, why))
    if spec.backoff_limit_per_index is None or spec.completions <= _MOST_INDEXES:
        return found
    most, at = spec.max_failed_indexes, f"{path}.maxFailedIndexes"
    if most is None:
        found.append(
            errors.required(at, f"must be specified when completions is above {_MOST_INDEXES}")
        )
    elif most > 10_000:
        why = f"must be less than or equal to 10000 when completions are above {_MOST_INDEXES} and used with backoff limit per index"
        found.append(errors.invalid_value(at, most, why))
    if spec.parallelism is not None and spec.parallelism > 10_000:
        why = f"must be less than or equal to 10000 when completions are above {_MOST_INDEXES} and used with backoff limit per index"
        found.append(errors.invalid_value(f"{path}.parallelism", spec.parallelism, why))
    return found


def _success_policy_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    if spec.success_policy is None:
        return []
    found: list[FieldError] = []
    rules = spec.success_policy.rules
    if not rules:
        found.append(
            errors.required(
                f"{path}.rules",
                "at least one rules must be specified when the successPolicy is specified",
            )
        )
    if len(rules) > 20:
        found.append(errors.too_many(f"{path}.rules", len(rules), 20))
    for index, rule in enumerate(rules):
        at, total = f"{path}.rules[{index}]", 0
        if rule.succeeded_count is None and rule.succeeded_indexes is None:
            why = "at least one of succeededCount or succeededIndexes must be specified"
            found.append(errors.required(at, why))
        if rule.succeeded_indexes is not None:
            parsed = parse_indexes(rule.succeeded_indexes, spec.completions or 0)
            if isinstance(parsed, str):
                why = f"error parsing succeededIndexes: {parsed}"
                found.append(
                    errors.invalid_value(f"{at}.succeededIndexes", rule.succeeded_indexes, why)
                )
            else:
                total = parsed
        if (count := rule.succeeded_count) is not None:
            found += natural(count, f"{at}.succeededCount")
            if spec.completions is not None and count > spec.completions:
                why = f"must be less than or equal to {spec.completions} (the number of specified completions)"
                found.append(errors.invalid_value(f"{at}.succeededCount", count, why))
            if total and count > total:
                why = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                found.append(errors.invalid_value(f"{at}.succeededCount", count, why))
    return found


def parse_indexes(text: str, completions: int) -> int | str:
    """How many indexes ``1,3-5`` names, or what is wrong with it."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            bad = next((end for end in ends if not (end.isascii() and end.isdigit())), part)
            return (
                f'cannot convert string to integer for index: "{bad}"'
                if len(ends) < 3
                else (
                    f'the fragment "{part}" violates the requirement that an index interval can have at most two parts separated by "-"'
                )
            )
        low, high = int(ends[0]), int(ends[-1])
        if max(low, high) >= completions:
            return f'too large index: "{ends[0] if low >= completions else ends[-1]}"'
        if len(ends) == 2 and low >= high:
            return f"non-increasing order, previous: {low}, current: {high}"
        if low <= last:
            return f"non-increasing order, previous: {last}, current: {low}"
        total, last = total + high - low + 1, high
    return total


def _failure_policy_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.pod_failure_policy is None:
        return found
    if spec.template.spec.restart_policy != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        at = path.replace("podFailurePolicy", "template.spec.restartPolicy")
        found.append(errors.invalid_value(at, spec.template.spec.restart_policy, why))
    if len(spec.pod_failure_policy.rules) > 20:
        found.append(errors.too_many(f"{path}.rules", len(spec.pod_failure_policy.rules), 20))
    names = {
        container.name
        for container in spec.template.spec.containers + spec.template.spec.init_containers
    }
    for index, rule in enumerate(spec.pod_failure_policy.rules):
        at, codes = f"{path}.rules[{index}]", rule.on_exit_codes
        found += given(rule.action, f"{at}.action")
        found += one_of(rule.action, ("Count", "FailIndex", "FailJob", "Ignore"), f"{at}.action")
        if rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
            why = "requires the backoffLimitPerIndex to be set"
            found.append(errors.invalid_value(f"{at}.action", rule.action, why))
        if codes is not None and rule.on_pod_conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            found.append(errors.invalid_value(at, rule, why))
        elif codes is None and not rule.on_pod_conditions:
            found.append(
                errors.invalid_value(
                    at, rule, "specifying one of OnExitCodes and OnPodConditions is required"
                )
            )
        if codes is not None:
            found += given(codes.operator, f"{at}.onExitCodes.operator")
            found += one_of(codes.operator, ("In", "NotIn"), f"{at}.onExitCodes.operator")
            if codes.container_name is not None and codes.container_name not in names:
                why = "must be one of the container or initContainer names in the pod template"
                found.append(
                    errors.invalid_value(
                        f"{at}.onExitCodes.containerName", codes.container_name, why
                    )
                )
            if not codes.values:
                why = "at least one value is required"
                found.append(errors.invalid_value(f"{at}.onExitCodes.values", codes.values, why))
            elif len(codes.values) > 255:
                found.append(errors.too_many(f"{at}.onExitCodes.values", len(codes.values), 255))
            if codes.values != sorted(codes.values):
                found.append(
                    errors.invalid_value(
                        f"{at}.onExitCodes.values", codes.values, "must be ordered"
                    )
                )
            for number, code in enumerate(codes.values):
                if code in codes.values[:number]:
                    found.append(errors.duplicate(f"{at}.onExitCodes.values[{number}]", code))
                if code == 0 and codes.operator == "In":
                    why = "must not be 0 for the In operator"
                    found.append(
                        errors.invalid_value(f"{at}.onExitCodes.values[{number}]", code, why)
                    )
        if len(rule.on_pod_conditions) > 20:
            found.append(errors.too_many(f"{at}.onPodConditions", len(rule.on_pod_conditions), 20))
        for number, pattern in enumerate(rule.on_pod_conditions):
            where = f"{at}.onPodConditions[{number}]"
            found += [
                errors.invalid_value(f"{where}.type", pattern.type, why)
                for why in label_key_errors(pattern.type)
            ]
            found += given(pattern.status, f"{where}.status")
            found += one_of(pattern.status, ("False", "True", "Unknown"), f"{where}.status")
    return found


def default_job_spec(spec: batch_v1.JobSpec) -> None:
    default_pod_spec(spec.template.spec, template=True)
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        spec.backoff_limit = 2147483647 if spec.backoff_limit_per_index is not None else 6
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    for rule in spec.pod_failure_policy.rules if spec.pod_failure_policy is not None else ():
        for pattern in rule.on_pod_conditions:
            pattern.status = pattern.status or "True"
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "Failed" if spec.pod_failure_policy else "TerminatingOrFailed"


class CronJobStrategy(Strategy):
    generation = True

    def default(self, obj: batch_v1.CronJob) -> None:
        spec = obj.spec
        spec.concurrency_policy = spec.concurrency_policy or "Allow"
        if spec.suspend is None:
            spec.suspend = False
        if spec.successful_jobs_history_limit is None:
            spec.successful_jobs_history_limit = 3
        if spec.failed_jobs_history_limit is None:
            spec.failed_jobs_history_limit = 1
        # What a job has by default it gets when it is made; its pods' defaults are written here, as upstream has it.
        default_pod_spec(spec.job_template.spec.template.spec, template=True)

    def validate(self, obj: batch_v1.CronJob) -> list[FieldError]:
        found = []
        if not obj.spec.schedule:
            found.append(errors.required("spec.schedule"))
        else:
            found += _schedule_errors(obj.spec)
        allowed = ("Allow", "Forbid", "Replace")
        if obj.spec.concurrency_policy not in allowed:
            found.append(
                errors.not_supported("spec.concurrencyPolicy", obj.spec.concurrency_policy, allowed)
            )
        if len(obj.metadata.name) > 52:  # its jobs add eleven characters to it
            why = "must be no more than 52 characters"
            found.append(errors.invalid_value("metadata.name", obj.metadata.name, why))
        for name, value in (
            ("startingDeadlineSeconds", obj.spec.starting_deadline_seconds),
            ("successfulJobsHistoryLimit", obj.spec.successful_jobs_history_limit),
            ("failedJobsHistoryLimit", obj.spec.failed_jobs_history_limit),
        ):
            found += natural(value, f"spec.{name}")
        if (
            obj.spec.job_template.spec.selector is not None
            and not obj.spec.job_template.spec.manual_selector
        ):
            at, why = "spec.jobTemplate.spec.selector", "`selector` will be auto-generated"
            found.append(errors.invalid_value(at, obj.spec.job_template.spec.selector, why))
        found += job_errors(obj.spec.job_template.spec, "spec.jobTemplate.spec")
        return found + validate_template(
            obj.spec.job_template.spec.template, "spec.jobTemplate.spec.template"
        )


def _schedule_errors(spec: batch_v1.CronJobSpec) -> list[FieldError]:
    found = []
    try:
        parse_schedule(spec.schedule)
    except ScheduleError as error:
        found.append(errors.invalid_value("spec.schedule", spec.schedule, str(error)))
    if "TZ=" in spec.schedule:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        found = [errors.invalid_value("spec.schedule", spec.schedule, why)]
    if spec.time_zone is not None:
        try:
            if not spec.time_zone or spec.time_zone.lower() == "local":
                raise ScheduleError(
                    "timeZone must be nil or non-empty string"
                    if not spec.time_zone
                    else "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
                )
            zone_of(spec.time_zone)
        except ScheduleError as error:
            found.append(errors.invalid_value("spec.timeZone", spec.time_zone, str(error)))
    return found
