"""Deployments, replica sets, stateful sets, daemon sets, replication controllers, jobs, cron jobs and the rest of
what keeps pods."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import given, label_selector, named, natural, one_of
from tiphys.apiserver.resources.poddefaults import default_pod_spec
from tiphys.apiserver.resources.podspec import validate_template
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors
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
        default_pod_spec(obj.spec.template.spec, template=True)

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        found += natural(getattr(spec, "replicas", None), "spec.replicas")
        found += natural(getattr(spec, "min_ready_seconds", None), "spec.minReadySeconds")
        found += self._selector(spec)
        found += self._template(spec)
        return found + self._restart(
            spec.template.spec.restart_policy, "spec.template.spec.restartPolicy"
        )

    def _restart(self, policy: str, at: str) -> list[FieldError]:
        return [] if policy in self.restart else [errors.not_supported(at, policy, self.restart)]

    def _template(self, spec: Any) -> list[FieldError]:
        return validate_template(spec.template, "spec.template")

    def _selector(self, spec: Any) -> list[FieldError]:
        if spec.selector is None:
            return [errors.required("spec.selector")]
        found = label_selector(spec.selector, "spec.selector")
        if not spec.selector.match_labels and not spec.selector.match_expressions:
            found.append(
                errors.invalid_value(
                    "spec.selector", {}, f"empty selector is invalid for {self.noun}"
                )
            )
        selector = None if found else from_label_selector(spec.selector)
        if selector is not None and not selector.matches(spec.template.metadata.labels):
            labels = spec.template.metadata.labels
            found.append(
                errors.invalid_value(
                    "spec.template.metadata.labels",
                    labels,
                    "`selector` does not match template `labels`",
                )
            )
        return found

    noun = "deployment"

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return (
            immutable("spec.selector", new.spec.selector, old.spec.selector)
            if self.fixed_selector
            else []
        )


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
            rolling = spec.strategy.rolling_update = (
                spec.strategy.rolling_update or apps_v1.RollingUpdateDeployment()
            )
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
            told = {"Type": strategy.type, "RollingUpdate": None}  # as upstream's own type is shown
            found.append(errors.not_supported("spec.strategy", told, ("Recreate", "RollingUpdate")))
        elif strategy.type == "Recreate" and strategy.rolling_update is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            found.append(errors.forbidden_field("spec.strategy.rollingUpdate", why))
        elif strategy.rolling_update is not None:
            rolling = strategy.rolling_update
            found += count_or_percent(
                rolling.max_unavailable, "spec.strategy.rollingUpdate.maxUnavailable"
            )
            found += count_or_percent(rolling.max_surge, "spec.strategy.rollingUpdate.maxSurge")
            if is_zero(rolling.max_unavailable) and is_zero(rolling.max_surge):
                why = "may not be 0 when `maxSurge` is 0"
                found.append(
                    errors.invalid_value(
                        "spec.strategy.rollingUpdate.maxUnavailable", rolling.max_unavailable, why
                    )
                )
        found += natural(obj.spec.revision_history_limit, "spec.revisionHistoryLimit")
        deadline = obj.spec.progress_deadline_seconds
        if deadline is not None and deadline <= obj.spec.min_ready_seconds:
            found.append(
                errors.invalid_value(
                    "spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"
                )
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
            default_pod_spec(spec.template.spec, template=True)
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
                    "spec.template.metadata.labels",
                    labels,
                    "`selector` does not match template `labels`",
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
        claimed = [
            t.metadata.name for t in spec.volume_claim_templates if t.metadata.name not in known
        ]
        source = core_v1.EmptyDirVolumeSource()
        template.spec.volumes = [
            *template.spec.volumes,
            *(core_v1.Volume(name=n, empty_dir=source) for n in claimed),
        ]
        return validate_template(template, "spec.template")

    def default(self, obj: apps_v1.StatefulSet) -> None:
        super().default(obj)
        spec = obj.spec
        spec.pod_management_policy = spec.pod_management_policy or "OrderedReady"
        spec.update_strategy.type = spec.update_strategy.type or "RollingUpdate"
        if spec.update_strategy.type == "RollingUpdate":
            rolling = (
                spec.update_strategy.rolling_update or apps_v1.RollingUpdateStatefulSetStrategy()
            )
            spec.update_strategy.rolling_update = rolling
            if rolling.partition is None:
                rolling.partition = 0
        if spec.replicas is None:
            spec.replicas = 1
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10
        policy = (
            spec.persistent_volume_claim_retention_policy
            or apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy()
        )
        policy.when_deleted, policy.when_scaled = (
            policy.when_deleted or "Retain",
            policy.when_scaled or "Retain",
        )
        spec.persistent_volume_claim_retention_policy = policy
        for claim in spec.volume_claim_templates:
            claim.api_version, claim.kind = "v1", "PersistentVolumeClaim"
            claim.spec.volume_mode = claim.spec.volume_mode or "Filesystem"
            claim.status.phase = claim.status.phase or "Pending"

    def validate(self, obj: apps_v1.StatefulSet) -> list[FieldError]:
        found, spec = super().validate(obj), obj.spec
        if spec.pod_management_policy not in ("OrderedReady", "Parallel"):
            why = "must be 'OrderedReady' or 'Parallel'"
            found.append(
                errors.invalid_value("spec.podManagementPolicy", spec.pod_management_policy, why)
            )
        if spec.update_strategy.type not in ("RollingUpdate", "OnDelete"):
            why = "must be 'RollingUpdate' or 'OnDelete'"
            found.append(errors.invalid_value("spec.updateStrategy", spec.update_strategy, why))
        elif (rolling := spec.update_strategy.rolling_update) is not None:
            found += natural(rolling.partition, "spec.updateStrategy.rollingUpdate.partition")
            found += count_or_percent(
                rolling.max_unavailable, "spec.updateStrategy.rollingUpdate.maxUnavailable"
            )
        if spec.ordinals is not None:
            found += natural(spec.ordinals.start, "spec.ordinals.start")
        found += named(spec.service_name, dns_label_errors, "spec.serviceName")
        found += natural(spec.revision_history_limit, "spec.revisionHistoryLimit")
        if (kept := spec.persistent_volume_claim_retention_policy) is not None:
            at = "spec.persistentVolumeClaimRetentionPolicy"
            found += one_of(kept.when_deleted, ("Delete", "Retain"), f"{at}.whenDeleted")
            found += one_of(kept.when_scaled, ("Delete", "Retain"), f"{at}.whenScaled")
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        import copy

        spec = copy.copy(new.spec)
        for name in (
            "replicas",
            "ordinals",
            "template",
            "update_strategy",
            "revision_history_limit",
            "persistent_volume_claim_retention_policy",
            "min_ready_seconds",
        ):
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
        if spec.update_strategy.type not in ("OnDelete", "RollingUpdate"):
            told = {
                "Type": spec.update_strategy.type,
                "RollingUpdate": None,
            }  # as upstream's own type is shown
            found.append(
                errors.not_supported("spec.updateStrategy", told, ("OnDelete", "RollingUpdate"))
            )
        if spec.template.spec.active_deadline_seconds is not None:
            why = "activeDeadlineSeconds in DaemonSet is not Supported"
            at = "spec.template.spec.activeDeadlineSeconds"
            found.append(errors.forbidden_field(at, why))
        return found + natural(spec.revision_history_limit, "spec.revisionHistoryLimit")


class PodDisruptionBudgetStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        if spec.min_available is not None and spec.max_unavailable is not None:
            return [
                errors.invalid_value(
                    "spec", {}, "minAvailable and maxUnavailable cannot be both set"
                )
            ]
        found = count_or_percent(spec.min_available, "spec.minAvailable") + label_selector(
            spec.selector, "spec.selector"
        )
        allowed = ("AlwaysAllow", "IfHealthyBudget")
        found += one_of(
            spec.unhealthy_pod_eviction_policy, allowed, "spec.unhealthyPodEvictionPolicy"
        )
        return found + count_or_percent(spec.max_unavailable, "spec.maxUnavailable")


class RevisionStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        found = given(obj.data, "data", "data is mandatory")
        return found + natural(obj.revision, "revision")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("data", new.data, old.data)
