"""Deployments, replica sets, stateful sets, daemon sets, replication controllers, jobs, cron jobs and the rest of
what keeps pods."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import apps_v1, batch_v1, core_v1
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.apiserver.strategies.checks import given, label_selector, natural, one_of
from tiphys.apiserver.strategies.poddefaults import default_pod_spec
from tiphys.apiserver.strategies.podspec import validate_template
from tiphys.machinery import errors
from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of
from tiphys.machinery.errors import FieldError
from tiphys.machinery.selectors import from_label_selector
from tiphys.store.cache import Selectable

_PERCENT = re.compile(r"\d+%\Z")


def count_or_percent(value: Any, at: str) -> list[FieldError]:
    if isinstance(value, str) and not _PERCENT.match(value):
        return [
            errors.invalid_value(
                at,
                value,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            )
        ]
    return natural(value, at) if isinstance(value, int) else []


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
        found += natural(getattr(spec, "replicas", None), "spec.replicas")
        found += natural(getattr(spec, "min_ready_seconds", None), "spec.minReadySeconds")
        found += self._selector(spec)
        found += self._template(spec)
        return found + self._restart(spec.template.spec.restart_policy, "spec.template.spec.restartPolicy")

    def _restart(self, policy: str, at: str) -> list[FieldError]:
        return [] if policy in self.restart else [errors.not_supported(at, policy, self.restart)]

    def _template(self, spec: Any) -> list[FieldError]:
        return validate_template(spec.template, "spec.template")

    def _selector(self, spec: Any) -> list[FieldError]:
        if spec.selector is None:
            return [errors.required("spec.selector")]
        found = label_selector(spec.selector, "spec.selector")
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
    def prepare_for_status(self, new: apps_v1.Deployment, old: apps_v1.Deployment) -> None:
        super().prepare_for_status(new, old)
        new.metadata.labels = old.metadata.labels

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
        found += natural(obj.spec.revision_history_limit, "spec.revisionHistoryLimit")
        deadline = obj.spec.progress_deadline_seconds
        if deadline is not None and deadline <= obj.spec.min_ready_seconds:
            found.append(
                errors.invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
        return found


class ReplicaSetStrategy(WorkloadStrategy):
    fields = (Selectable("status.replicas", "0"),)

    def default(self, obj: apps_v1.ReplicaSet) -> None:
        super().default(obj)
        if obj.spec.replicas is None:
            obj.spec.replicas = 1


class ReplicationControllerStrategy(WorkloadStrategy):
    fields = (Selectable("status.replicas", "0"),)
    fixed_selector = False
    orphans = True

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

    def validate(self, obj: apps_v1.StatefulSet) -> list[FieldError]:
        found, spec = super().validate(obj), obj.spec
        if spec.pod_management_policy not in ("OrderedReady", "Parallel"):
            why = "must be 'OrderedReady' or 'Parallel'"
            found.append(errors.invalid_value("spec.podManagementPolicy", spec.pod_management_policy, why))
        if spec.update_strategy.type not in ("RollingUpdate", "OnDelete"):
            why = "must be 'RollingUpdate' or 'OnDelete'"
            found.append(errors.invalid_value("spec.updateStrategy", spec.update_strategy, why))
        elif (rolling := spec.update_strategy.rolling_update) is not None:
            found += natural(rolling.partition, "spec.updateStrategy.rollingUpdate.partition")
            found += count_or_percent(rolling.max_unavailable, "spec.updateStrategy.rollingUpdate.maxUnavailable")
        if spec.ordinals is not None:
            found += natural(spec.ordinals.start, "spec.ordinals.start")
        return found

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


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _template_generation(obj: apps_v1.DaemonSet) -> int:
    told = obj.metadata.annotations.get(_TEMPLATE_GENERATION, "")
    return max(1, int(told)) if told.isascii() and told.isdigit() else 1


class DaemonSetStrategy(WorkloadStrategy):
    noun = "daemonset"

    def prepare_for_create(self, obj: apps_v1.DaemonSet) -> None:
        super().prepare_for_create(obj)
        obj.metadata.annotations[_TEMPLATE_GENERATION] = str(_template_generation(obj))

    def prepare_for_update(self, new: apps_v1.DaemonSet, old: apps_v1.DaemonSet) -> None:
        super().prepare_for_update(new, old)
        generation = _template_generation(old) + (new.spec.template != old.spec.template)
        new.metadata.annotations[_TEMPLATE_GENERATION] = str(generation)

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

    def validate(self, obj: apps_v1.DaemonSet) -> list[FieldError]:
        found, spec = super().validate(obj), obj.spec
        found += one_of(spec.update_strategy.type, ("OnDelete", "RollingUpdate"), "spec.updateStrategy.type")
        if spec.template.spec.active_deadline_seconds is not None:
            why = "activeDeadlineSeconds in DaemonSet is not Supported"
            at = "spec.template.spec.activeDeadlineSeconds"
            found.append(errors.invalid_value(at, spec.template.spec.active_deadline_seconds, why))
        return found + natural(spec.revision_history_limit, "spec.revisionHistoryLimit")


class JobStrategy(WorkloadStrategy):
    restart = ("OnFailure", "Never")
    noun = "job"
    fields = (Selectable("status.successful", "0", "status.succeeded"),)
    orphans = True

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
        ("parallelism", spec.parallelism), ("completions", spec.completions), ("backoffLimit", spec.backoff_limit),
        ("activeDeadlineSeconds", spec.active_deadline_seconds), ("maxFailedIndexes", spec.max_failed_indexes),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished), ("backoffLimitPerIndex", spec.backoff_limit_per_index),
    ):  # fmt: skip
        found += natural(value, f"{path}.{name}")
    found += one_of(spec.completion_mode, ("Indexed", "NonIndexed"), f"{path}.completionMode")
    found += one_of(spec.pod_replacement_policy, ("Failed", "TerminatingOrFailed"), f"{path}.podReplacementPolicy")
    if spec.managed_by is not None and not re.fullmatch(r"[a-z0-9.-]+/.+", spec.managed_by):
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        found.append(errors.invalid_value(f"{path}.managedBy", spec.managed_by, why))
    if spec.completion_mode == "Indexed":
        if spec.completions is None:
            found.append(errors.required(f"{path}.completions", "when completion mode is Indexed"))
        elif spec.max_failed_indexes is not None and spec.max_failed_indexes > spec.completions:
            why = "must be less than or equal to completions when specified"
            found.append(errors.invalid_value(f"{path}.maxFailedIndexes", spec.max_failed_indexes, why))
    else:
        for name, policy in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes),
            ("successPolicy", spec.success_policy),
        ):  # fmt: skip
            if policy is not None:
                found.append(errors.invalid_value(f"{path}.{name}", policy, "requires indexed completion mode"))
    return found + _failure_policy_errors(spec, f"{path}.podFailurePolicy")


def _failure_policy_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.pod_failure_policy is None:
        return found
    if spec.template.spec.restart_policy != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        at = path.replace("podFailurePolicy", "template.spec.restartPolicy")
        found.append(errors.invalid_value(at, spec.template.spec.restart_policy, why))
    for index, rule in enumerate(spec.pod_failure_policy.rules):
        at, codes = f"{path}.rules[{index}]", rule.on_exit_codes
        found += given(rule.action, f"{at}.action")
        found += one_of(rule.action, ("Count", "FailIndex", "FailJob", "Ignore"), f"{at}.action")
        if codes is not None and rule.on_pod_conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            found.append(errors.invalid_value(at, rule, why))
        elif codes is None and not rule.on_pod_conditions:
            found.append(
                errors.invalid_value(at, rule, "specifying one of OnExitCodes and OnPodConditions is required")
            )
        if codes is not None:
            found += one_of(codes.operator, ("In", "NotIn"), f"{at}.onExitCodes.operator")
            for number, code in enumerate(codes.values):
                if code == 0 and codes.operator == "In":
                    why = "must not be 0 for the In operator"
                    found.append(errors.invalid_value(f"{at}.onExitCodes.values[{number}]", code, why))
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
        if len(obj.metadata.name) > 52:  # its jobs add eleven characters to it
            why = "must be no more than 52 characters"
            found.append(errors.invalid_value("metadata.name", obj.metadata.name, why))
        for name, value in (
            ("startingDeadlineSeconds", obj.spec.starting_deadline_seconds),
            ("successfulJobsHistoryLimit", obj.spec.successful_jobs_history_limit),
            ("failedJobsHistoryLimit", obj.spec.failed_jobs_history_limit),
        ):
            found += natural(value, f"spec.{name}")
        found += job_errors(obj.spec.job_template.spec, "spec.jobTemplate.spec")
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
        allowed = ("AlwaysAllow", "IfHealthyBudget")
        found += one_of(spec.unhealthy_pod_eviction_policy, allowed, "spec.unhealthyPodEvictionPolicy")
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
        if spec.min_replicas is not None and spec.min_replicas < 1:
            why = "must be greater than or equal to 1"
            found.append(errors.invalid_value("spec.minReplicas", spec.min_replicas, why))
        for index, metric in enumerate(spec.metrics):
            found += given(metric.type, f"spec.metrics[{index}].type", "must specify a metric source type")
        if not spec.scale_target_ref.name:
            found.append(errors.required("spec.scaleTargetRef.name"))
        if not spec.scale_target_ref.kind:
            found.append(errors.required("spec.scaleTargetRef.kind"))
        return found
