"""Types of batch/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Struct, Time, always, always_list
from tiphys.api.core_v1 import ObjectReference, PodTemplateSpec
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, ObjectMeta, TypeMeta


class JobSpec(Struct):
    parallelism: Annotated[Int32 | None, F(1)] = None
    completions: Annotated[Int32 | None, F(2)] = None
    active_deadline_seconds: Annotated[Int64 | None, F(3)] = None
    pod_failure_policy: Annotated[PodFailurePolicy | None, F(11)] = None
    success_policy: Annotated[SuccessPolicy | None, F(16)] = None
    backoff_limit: Annotated[Int32 | None, F(7)] = None
    backoff_limit_per_index: Annotated[Int32 | None, F(12)] = None
    max_failed_indexes: Annotated[Int32 | None, F(13)] = None
    selector: Annotated[LabelSelector | None, F(4, atomic=True)] = None
    manual_selector: Annotated[bool | None, F(5)] = None
    template: Annotated[PodTemplateSpec, F(6, req=True)] = field(default_factory=PodTemplateSpec)
    ttl_seconds_after_finished: Annotated[Int32 | None, F(8)] = None
    completion_mode: Annotated[str | None, F(9)] = None
    suspend: Annotated[bool | None, F(10)] = None
    pod_replacement_policy: Annotated[str | None, F(14)] = None
    managed_by: Annotated[str | None, F(15)] = None


class JobTemplateSpec(Struct):
    metadata: Annotated[ObjectMeta, F(1)] = field(default_factory=ObjectMeta)
    spec: Annotated[JobSpec, F(2)] = field(default_factory=JobSpec)


class CronJobSpec(Struct):
    schedule: Annotated[str, F(1, req=True)] = always("")
    time_zone: Annotated[str | None, F(8)] = None
    starting_deadline_seconds: Annotated[Int64 | None, F(2)] = None
    concurrency_policy: Annotated[str, F(3)] = ""
    suspend: Annotated[bool | None, F(4)] = None
    job_template: Annotated[JobTemplateSpec, F(5, req=True)] = field(
        default_factory=JobTemplateSpec
    )
    successful_jobs_history_limit: Annotated[Int32 | None, F(6)] = None
    failed_jobs_history_limit: Annotated[Int32 | None, F(7)] = None


class CronJobStatus(Struct):
    active: Annotated[list[ObjectReference], F(1, list="atomic")] = []
    last_schedule_time: Annotated[Time | None, F(4)] = None
    last_successful_time: Annotated[Time | None, F(5)] = None


class CronJob(Object):
    api_version: str = always("batch/v1")
    kind: str = always("CronJob")
    spec: Annotated[CronJobSpec, F(2, req=True)] = field(default_factory=CronJobSpec)
    status: Annotated[CronJobStatus, F(3)] = field(default_factory=CronJobStatus)


class CronJobList(TypeMeta):
    api_version: str = always("batch/v1")
    kind: str = always("CronJobList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CronJob], F(2, req=True)] = always_list()


class JobStatus(Struct):
    conditions: Annotated[list[JobCondition], F(1, patch="merge", key="type", list="atomic")] = []
    start_time: Annotated[Time | None, F(2)] = None
    completion_time: Annotated[Time | None, F(3)] = None
    active: Annotated[Int32, F(4)] = 0
    succeeded: Annotated[Int32, F(5)] = 0
    failed: Annotated[Int32, F(6)] = 0
    terminating: Annotated[Int32 | None, F(11)] = None
    completed_indexes: Annotated[str, F(7)] = ""
    failed_indexes: Annotated[str | None, F(10)] = None
    uncounted_terminated_pods: Annotated[UncountedTerminatedPods | None, F(8)] = None
    ready: Annotated[Int32 | None, F(9)] = None


class Job(Object):
    api_version: str = always("batch/v1")
    kind: str = always("Job")
    spec: Annotated[JobSpec, F(2)] = field(default_factory=JobSpec)
    status: Annotated[JobStatus, F(3)] = field(default_factory=JobStatus)


class JobCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_probe_time: Annotated[Time | None, F(3)] = None
    last_transition_time: Annotated[Time | None, F(4)] = None
    reason: Annotated[str, F(5)] = ""
    message: Annotated[str, F(6)] = ""


class JobList(TypeMeta):
    api_version: str = always("batch/v1")
    kind: str = always("JobList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Job], F(2, req=True)] = always_list()


class PodFailurePolicy(Struct):
    rules: Annotated[list[PodFailurePolicyRule], F(1, list="atomic", req=True)] = always_list()


class PodFailurePolicyOnExitCodesRequirement(Struct):
    container_name: Annotated[str | None, F(1)] = None
    operator: Annotated[str, F(2, req=True)] = always("")
    values: Annotated[list[Int32], F(3, list="set", req=True)] = always_list()


class PodFailurePolicyOnPodConditionsPattern(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2)] = always("")


class PodFailurePolicyRule(Struct):
    action: Annotated[str, F(1, req=True)] = always("")
    on_exit_codes: Annotated[PodFailurePolicyOnExitCodesRequirement | None, F(2)] = None
    on_pod_conditions: Annotated[
        list[PodFailurePolicyOnPodConditionsPattern], F(3, list="atomic")
    ] = []


class SuccessPolicy(Struct):
    rules: Annotated[list[SuccessPolicyRule], F(1, list="atomic", req=True)] = always_list()


class SuccessPolicyRule(Struct):
    succeeded_indexes: Annotated[str | None, F(1)] = None
    succeeded_count: Annotated[Int32 | None, F(2)] = None


class UncountedTerminatedPods(Struct):
    succeeded: Annotated[list[str], F(1, list="set")] = []
    failed: Annotated[list[str], F(2, list="set")] = []
