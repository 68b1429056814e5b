"""Deployments, replica sets, stateful sets, daemon sets, replication controllers, jobs, cron jobs and the rest of
what keeps pods."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import apps_v1, batch_v1, core_v1
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.apiserver.strategies.poddefaults import default_pod_spec
from tiphys.apiserver.strategies.podspec import validate_label_selector, validate_template
from tiphys.machinery import errors
from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import FieldError
from tiphys.machinery.selectors import from_label_selector

_PERCENT = re.compile(r"\d+%\Z")


def non_negative(value: int | None, at: str) -> list[FieldError]:
    bad = value is not None and value < 0
    return [errors.invalid_value(at, value, "must be greater than or equal to 0")] if bad else []


def count_or_percent(value: Any, at: str) -> list[FieldError]:
    if isinstance(value, str) and not _PERCENT.match(value):
        return [
            errors.invalid_value(
                at,
                value,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            )
        ]
    return non_negative(value, at) if isinstance(value, int) else []


def is_zero(value: Any) -> bool:
    return value in (0, "0%")


class WorkloadStrategy(Strategy):
    """What all owners of a pod template share."""

    generation = True
    restart: tuple[str, ...] = ("Always",)
    fixed_selector = True

    def default(self, obj: Any) -> None:
        default_pod_spec(obj.spec.template.spec)

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        found += non_negative(getattr(spec, "replicas", None), "spec.replicas")
        found += non_negative(getattr(spec, "min_ready_seconds", None), "spec.minReadySeconds")
        found += self._selector(spec)
        found += self._template(spec)
        policy = spec.template.spec.restart_policy
        if policy not in self.restart:
            found.append(errors.not_supported("spec.template.spec.restartPolicy", policy, self.restart))
        return found

    def _template(self, spec: Any) -> list[FieldError]:
        return validate_template(spec.template, "spec.template")

    def _selector(self, spec: Any) -> list[FieldError]:
        if spec.selector is None:
            return [errors.required("spec.selector")]
        found = validate_label_selector(spec.selector, "spec.selector")
        if not spec.selector.match_labels and not spec.selector.match_expressions:
            found.append(errors.invalid_value("spec.selector", {}, f"empty selector is invalid for {self.noun}"))
        selector = None if found else from_label_selector(spec.selector)
        if selector is not None and not selector.matches(spec.template.metadata.labels):
            labels = spec.template.metadata.labels
            found.append(
                errors.invalid_value(
                    "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
                )
            )
        return found

    noun = "deployment"

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("spec.selector", new.spec.selector, old.spec.selector) if self.fixed_selector else []


class DeploymentStrategy(WorkloadStrategy):
    def default(self, obj: apps_v1.Deployment) -> None:
        super().default(obj)
        spec = obj.spec
        if spec.replicas is None:
            spec.replicas = 1
        spec.strategy.type = spec.strategy.type or "RollingUpdate"
        if spec.strategy.type == "RollingUpdate":
            rolling = spec.strategy.rolling_update = spec.strategy.rolling_update or apps_v1.RollingUpdateDeployment()
            if rolling.max_unavailable is None:
                rolling.max_unavailable = "25%"
            if rolling.max_surge is None:
                rolling.max_surge = "25%"
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10
        if spec.progress_deadline_seconds is None:
            spec.progress_deadline_seconds = 600

    def validate(self, obj: apps_v1.Deployment) -> list[FieldError]:
        found, strategy = super().validate(obj), obj.spec.strategy
        if strategy.type not in ("Recreate", "RollingUpdate"):
            found.append(errors.not_supported("spec.strategy.type", strategy.type, ("Recreate", "RollingUpdate")))
        elif strategy.type == "Recreate" and strategy.rolling_update is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            found.append(errors.forbidden_field("spec.strategy.rollingUpdate", why))
        elif strategy.rolling_update is not None:
            rolling = strategy.rolling_update
            found += count_or_percent(rolling.max_unavailable, "spec.strategy.rollingUpdate.maxUnavailable")
            found += count_or_percent(rolling.max_surge, "spec.strategy.rollingUpdate.maxSurge")
            if is_zero(rolling.max_unavailable) and is_zero(rolling.max_surge):
                why = "may not be 0 when `maxSurge` is 0"
                found.append(
                    errors.invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling.max_unavailable, why)
                )
        found += non_negative(obj.spec.revision_history_limit, "spec.revisionHistoryLimit")
        deadline = obj.spec.progress_deadline_seconds
        if deadline is not None and deadline <= obj.spec.min_ready_seconds:
            found.append(
                errors.invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
        return found


class ReplicaSetStrategy(WorkloadStrategy):
    fields = ("status.replicas",)

    def default(self, obj: apps_v1.ReplicaSet) -> None:
        super().default(obj)
        if obj.spec.replicas is None:
            obj.spec.replicas = 1


class ReplicationControllerStrategy(WorkloadStrategy):
    fields = ("status.replicas",)
    fixed_selector = False

    def default(self, obj: core_v1.ReplicationController) -> None:
        spec = obj.spec
        if spec.template is not None:
            default_pod_spec(spec.template.spec)
            spec.selector = spec.selector or dict(spec.template.metadata.labels)
            obj.metadata.labels = obj.metadata.labels or dict(spec.template.metadata.labels)
        if spec.replicas is None:
            spec.replicas = 1

    def validate(self, obj: Any) -> list[FieldError]:
        if obj.spec.template is None:
            return [errors.required("spec.template")]
        return super().validate(obj)

    def _selector(self, spec: Any) -> list[FieldError]:
        if not spec.selector:
            return [errors.required("spec.selector")]
        labels = spec.template.metadata.labels
        if any(labels.get(key) != value for key, value in spec.selector.items()):
            return [
                errors.invalid_value(
                    "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
                )
            ]
        return []


class StatefulSetStrategy(WorkloadStrategy):
    noun = "statefulset"

    def _template(self, spec: Any) -> list[FieldError]:
        """The claims' volumes are there when the pods are made: mounts may name them already."""
        import copy

        template = copy.copy(spec.template)
        template.spec = copy.copy(template.spec)
        known = {volume.name for volume in template.spec.volumes}
        claimed = [t.metadata.name for t in spec.volume_claim_templates if t.metadata.name not in known]
        source = core_v1.EmptyDirVolumeSource()
        template.spec.volumes = [*template.spec.volumes, *(core_v1.Volume(name=n, empty_dir=source) for n in claimed)]
        return validate_template(template, "spec.template")

    def default(self, obj: apps_v1.StatefulSet) -> None:
        super().default(obj)
        spec = obj.spec
        spec.pod_management_policy = spec.pod_management_policy or "OrderedReady"
        spec.update_strategy.type = spec.update_strategy.type or "RollingUpdate"
        if spec.update_strategy.type == "RollingUpdate":
            rolling = spec.update_strategy.rolling_update or apps_v1.RollingUpdateStatefulSetStrategy()
            spec.update_strategy.rolling_update = rolling
            if rolling.partition is None:
                rolling.partition = 0
        if spec.replicas is None:
            spec.replicas = 1
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10
        policy = (
            spec.persistent_volume_claim_retention_policy or apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy()
        )
        policy.when_deleted, policy.when_scaled = policy.when_deleted or "Retain", policy.when_scaled or "Retain"
        spec.persistent_volume_claim_retention_policy = policy
        for claim in spec.volume_claim_templates:
            claim.api_version, claim.kind = "v1", "PersistentVolumeClaim"
            claim.spec.volume_mode = claim.spec.volume_mode or "Filesystem"
            claim.status.phase = claim.status.phase or "Pending"

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        import copy

        spec = copy.copy(new.spec)
        for name in (
            "replicas", "ordinals", "template", "update_strategy", "revision_history_limit",
            "persistent_volume_claim_retention_policy", "min_ready_seconds",
        ):  # fmt: skip
            setattr(spec, name, getattr(old.spec, name))
        if spec == old.spec:
            return []
        why = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy',"
            " 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        return [errors.forbidden_field("spec", why)]


class DaemonSetStrategy(WorkloadStrategy):
    noun = "daemonset"

    def default(self, obj: apps_v1.DaemonSet) -> None:
        super().default(obj)
        spec = obj.spec
        spec.update_strategy.type = spec.update_strategy.type or "RollingUpdate"
        if spec.update_strategy.type == "RollingUpdate":
            rolling = spec.update_strategy.rolling_update = (
                spec.update_strategy.rolling_update or apps_v1.RollingUpdateDaemonSet()
            )
            if rolling.max_unavailable is None:
                rolling.max_unavailable = 1
            if rolling.max_surge is None:
                rolling.max_surge = 0
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10


class JobStrategy(WorkloadStrategy):
    restart = ("OnFailure", "Never")
    noun = "job"
    fields = ("status.successful",)

    def default(self, obj: batch_v1.Job) -> None:
        default_job_spec(obj.spec)

    def prepare_for_create(self, obj: batch_v1.Job) -> None:
        obj.status = batch_v1.JobStatus()
        if obj.spec.manual_selector:
            return
        import uuid

        # The controller tells its pods by the job's uid, which nobody else can have.
        uid = obj.metadata.uid or str(uuid.uuid4())
        labels = obj.spec.template.metadata.labels
        for key in ("controller-uid", "batch.kubernetes.io/controller-uid"):
            labels.setdefault(key, uid)
        for key in ("job-name", "batch.kubernetes.io/job-name"):
            labels.setdefault(key, obj.metadata.name)
        from tiphys.api.meta_v1 import LabelSelector

        obj.spec.selector = obj.spec.selector or LabelSelector(match_labels={"batch.kubernetes.io/controller-uid": uid})

    def validate(self, obj: batch_v1.Job) -> list[FieldError]:
        found = super().validate(obj)
        for name, value in (
            ("parallelism", obj.spec.parallelism),
            ("completions", obj.spec.completions),
            ("backoffLimit", obj.spec.backoff_limit),
        ):
            found += non_negative(value, f"spec.{name}")
        if obj.spec.completion_mode == "Indexed" and obj.spec.completions is None:
            found.append(errors.required("spec.completions", "when completion mode is Indexed"))
        return found

    def validate_update(self, new: batch_v1.Job, old: batch_v1.Job) -> list[FieldError]:
        found = immutable("spec.completionMode", new.spec.completion_mode, old.spec.completion_mode)
        found += immutable("spec.selector", new.spec.selector, old.spec.selector)
        if not old.spec.suspend or old.status.start_time:
            found += immutable("spec.template", new.spec.template, old.spec.template)
        if old.spec.completion_mode != "Indexed":
            found += immutable("spec.completions", new.spec.completions, old.spec.completions)
        return found


def default_job_spec(spec: batch_v1.JobSpec) -> None:
    default_pod_spec(spec.template.spec)
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
        default_job_spec(spec.job_template.spec)
        # A template's completions and parallelism are defaulted when the job is made.

    def validate(self, obj: batch_v1.CronJob) -> list[FieldError]:
        found = []
        if not obj.spec.schedule:
            found.append(errors.required("spec.schedule"))
        else:
            found += _schedule_errors(obj.spec)
        allowed = ("Allow", "Forbid", "Replace")
        if obj.spec.concurrency_policy not in allowed:
            found.append(errors.not_supported("spec.concurrencyPolicy", obj.spec.concurrency_policy, allowed))
        return found + validate_template(obj.spec.job_template.spec.template, "spec.jobTemplate.spec.template")


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


class PodDisruptionBudgetStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        if spec.min_available is not None and spec.max_unavailable is not None:
            return [errors.invalid_value("spec", {}, "minAvailable and maxUnavailable cannot be both set")]
        found = count_or_percent(spec.min_available, "spec.minAvailable")
        return found + count_or_percent(spec.max_unavailable, "spec.maxUnavailable")


class AutoscalerStrategy(Strategy):
    generation = False

    def default(self, obj: Any) -> None:
        from tiphys.api import autoscaling_v2 as v2

        if obj.spec.min_replicas is None:
            obj.spec.min_replicas = 1
        if not obj.spec.metrics:
            target = v2.MetricTarget(type="Utilization", average_utilization=80)
            obj.spec.metrics = [
                v2.MetricSpec(type="Resource", resource=v2.ResourceMetricSource(name="cpu", target=target))
            ]

    def validate(self, obj: Any) -> list[FieldError]:
        found, spec = [], obj.spec
        if spec.max_replicas < 1:
            found.append(errors.invalid_value("spec.maxReplicas", spec.max_replicas, "must be greater than 0"))
        if spec.min_replicas is not None and spec.max_replicas < spec.min_replicas:
            found.append(
                errors.invalid_value(
                    "spec.maxReplicas", spec.max_replicas, "must be greater than or equal to `minReplicas`"
                )
            )
        if not spec.scale_target_ref.name:
            found.append(errors.required("spec.scaleTargetRef.name"))
        if not spec.scale_target_ref.kind:
            found.append(errors.required("spec.scaleTargetRef.kind"))
        return found
