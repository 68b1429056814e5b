"""Jobs."""

from __future__ import annotations

import time
import uuid

from tiphys.api.batch_v1 import Job, JobStatus
from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.resources.base import immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.jobspec import default_job_spec, job_errors
from tiphys.apiserver.resources.workloads import (
    SELECTOR_COLUMN,
    TEMPLATE_COLUMNS,
    WorkloadStrategy,
)
from tiphys.machinery import durations, errors, timestamps
from tiphys.machinery.errors import FieldError
from tiphys.machinery.finished import finish_of
from tiphys.store.cache import Selectable

_UID_LABEL = "batch.kubernetes.io/controller-uid"
_NAME_LABEL = "batch.kubernetes.io/job-name"
# Older names of both, which upstream sets, too.
_OLDER_UID_LABEL = "controller-uid"
_OLDER_NAME_LABEL = "job-name"


def _status(job: Job) -> str:
    finish = finish_of(job.status)
    if finish is not None:
        return finish.type
    if job.metadata.deletion_timestamp:
        return "Terminating"
    return "Suspended" if job.spec.suspend else "Running"


def _completions(job: Job) -> str:
    succeeded = job.status.succeeded
    if job.spec.completions is not None:
        return f"{succeeded}/{job.spec.completions}"
    parallelism = job.spec.parallelism or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Job) -> str:
    start = timestamps.parse(job.status.start_time)
    if not start:
        return ""
    end = timestamps.parse(job.status.completion_time) or time.time()
    return durations.human(end - start)


class JobStrategy(WorkloadStrategy[Job]):
    columns = (
        NAME,
        Column("Status", _status),
        Column("Completions", _completions),
        Column("Duration", _duration),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    )
    fields = (Selectable("status.successful", "0", "status.succeeded"),)
    restart_policies = ("OnFailure", "Never")
    noun = "job"
    names_pods = True
    orphans_dependents = True

    def default(self, obj: Job) -> None:
        default_job_spec(obj.spec)

    def prepare_for_create(self, obj: Job) -> None:
        obj.status = JobStatus()
        if not obj.spec.manual_selector:
            _select_by_uid(obj)
        # A job without labels has those of its pods.
        obj.metadata.labels = obj.metadata.labels or dict(obj.spec.template.metadata.labels)

    def validate(self, obj: Job) -> list[FieldError]:
        return super().validate(obj) + job_errors(obj.spec, "spec")

    def restart_errors(self, policy: str, path: str) -> list[FieldError]:
        if policy in self.restart_policies:
            return []
        return [errors.required(path, 'valid values: "OnFailure", "Never"')]

    def validate_update(self, new: Job, old: Job) -> list[FieldError]:
        spec = new.spec
        before = old.spec
        field = "spec.completionMode"
        violations = immutable(field, spec.completion_mode, before.completion_mode)
        violations += immutable("spec.selector", spec.selector, before.selector)
        if not before.suspend or old.status.start_time:
            violations += immutable("spec.template", spec.template, before.template)
        if before.completion_mode != "Indexed":
            violations += immutable("spec.completions", spec.completions, before.completions)
        return violations


def _select_by_uid(job: Job) -> None:
    """The controller selects a job's pods by its uid, which no other job can have."""
    uid = job.metadata.uid or str(uuid.uuid4())
    labels = job.spec.template.metadata.labels
    for label in (_OLDER_UID_LABEL, _UID_LABEL):
        labels.setdefault(label, uid)
    for label in (_OLDER_NAME_LABEL, _NAME_LABEL):
        labels.setdefault(label, job.metadata.name)
    if job.spec.selector is None:
        job.spec.selector = LabelSelector(match_labels={_UID_LABEL: uid})
