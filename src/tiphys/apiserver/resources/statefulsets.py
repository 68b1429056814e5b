"""Stateful sets."""

from __future__ import annotations

import copy

from tiphys.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from tiphys.api.core_v1 import EmptyDirVolumeSource, PersistentVolumeClaim, Volume
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.podspec.rules import validate_template
from tiphys.apiserver.resources.scaleviews import WORKLOAD_SCALE
from tiphys.apiserver.resources.workloads import (
    TEMPLATE_COLUMNS,
    WorkloadStrategy,
    count_or_percent,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors

_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "update_strategy",
    "revision_history_limit",
    "persistent_volume_claim_retention_policy",
    "min_ready_seconds",
)
_IMMUTABLE_DETAIL = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
    " 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and"
    " 'minReadySeconds' are forbidden"
)


class StatefulSetStrategy(WorkloadStrategy[StatefulSet]):
    columns = (
        NAME,
        Column("Ready", lambda o: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        AGE,
        *TEMPLATE_COLUMNS,
    )
    noun = "statefulset"
    scale = WORKLOAD_SCALE

    def default(self, obj: StatefulSet) -> None:
        super().default(obj)
        spec = obj.spec
        spec.pod_management_policy = spec.pod_management_policy or "OrderedReady"
        _default_update_strategy(spec.update_strategy)
        if spec.replicas is None:
            spec.replicas = 1
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10
        _default_retention(spec)
        for claim in spec.volume_claim_templates:
            _default_claim(claim)

    def validate(self, obj: StatefulSet) -> list[FieldError]:
        spec = obj.spec
        violations = super().validate(obj)
        policy = spec.pod_management_policy
        if policy not in ("OrderedReady", "Parallel"):
            detail = "must be 'OrderedReady' or 'Parallel'"
            violations.append(errors.invalid_value("spec.podManagementPolicy", policy, detail))
        violations += _update_strategy_errors(spec.update_strategy, "spec.updateStrategy")
        if spec.ordinals is not None:
            violations += checks.natural(spec.ordinals.start, "spec.ordinals.start")
        violations += checks.named(spec.service_name, dns_label_errors, "spec.serviceName")
        violations += checks.natural(spec.revision_history_limit, "spec.revisionHistoryLimit")
        retention = spec.persistent_volume_claim_retention_policy
        if retention is not None:
            path = "spec.persistentVolumeClaimRetentionPolicy"
            allowed = ("Delete", "Retain")
            violations += checks.one_of(retention.when_deleted, allowed, f"{path}.whenDeleted")
            violations += checks.one_of(retention.when_scaled, allowed, f"{path}.whenScaled")
        return violations

    def template_errors(self, obj: StatefulSet) -> list[FieldError]:
        """The claims' volumes are there when the pods are created: mounts may name them already."""
        template = copy.copy(obj.spec.template)
        template.spec = copy.copy(template.spec)
        known = {volume.name for volume in template.spec.volumes}
        claims = [claim.metadata.name for claim in obj.spec.volume_claim_templates]
        claimed = [
            Volume(name=name, empty_dir=EmptyDirVolumeSource())
            for name in claims
            if name not in known
        ]
        template.spec.volumes = [*template.spec.volumes, *claimed]
        return validate_template(template, "spec.template")

    def validate_update(self, new: StatefulSet, old: StatefulSet) -> list[FieldError]:
        spec = copy.copy(new.spec)
        for name in _MUTABLE:
            setattr(spec, name, getattr(old.spec, name))
        if spec == old.spec:
            return []
        return [errors.forbidden_field("spec", _IMMUTABLE_DETAIL)]


def _default_update_strategy(strategy: StatefulSetUpdateStrategy) -> None:
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update or RollingUpdateStatefulSetStrategy()
        strategy.rolling_update = rolling
        if rolling.partition is None:
            rolling.partition = 0


def _default_retention(spec: StatefulSetSpec) -> None:
    retention = spec.persistent_volume_claim_retention_policy
    if retention is None:
        retention = StatefulSetPersistentVolumeClaimRetentionPolicy()
    retention.when_deleted = retention.when_deleted or "Retain"
    retention.when_scaled = retention.when_scaled or "Retain"
    spec.persistent_volume_claim_retention_policy = retention


def _default_claim(claim: PersistentVolumeClaim) -> None:
    claim.api_version = "v1"
    claim.kind = "PersistentVolumeClaim"
    claim.spec.volume_mode = claim.spec.volume_mode or "Filesystem"
    claim.status.phase = claim.status.phase or "Pending"


def _update_strategy_errors(strategy: StatefulSetUpdateStrategy, path: str) -> list[FieldError]:
    if strategy.type not in ("RollingUpdate", "OnDelete"):
        detail = "must be 'RollingUpdate' or 'OnDelete'"
        return [errors.invalid_value(path, strategy, detail)]
    rolling = strategy.rolling_update
    if rolling is None:
        return []
    path = f"{path}.rollingUpdate"
    violations = checks.natural(rolling.partition, f"{path}.partition")
    return violations + count_or_percent(rolling.max_unavailable, f"{path}.maxUnavailable")
