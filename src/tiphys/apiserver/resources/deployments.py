"""Deployments."""

from __future__ import annotations

from tiphys.api.apps_v1 import Deployment, DeploymentSpec, RollingUpdateDeployment
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.scaleviews import WORKLOAD_SCALE
from tiphys.apiserver.resources.workloads import (
    SELECTOR_COLUMN,
    TEMPLATE_COLUMNS,
    WorkloadStrategy,
    count_or_percent,
    is_zero,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_STRATEGIES = ("Recreate", "RollingUpdate")


class DeploymentStrategy(WorkloadStrategy[Deployment]):
    columns = (
        NAME,
        Column("Ready", lambda o: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        Column("Up-to-date", lambda o: o.status.updated_replicas),
        Column("Available", lambda o: o.status.available_replicas),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    )
    scale = WORKLOAD_SCALE
    names_pods = True

    def prepare_for_status(self, new: Deployment, old: Deployment) -> None:
        super().prepare_for_status(new, old)
        new.metadata.labels = old.metadata.labels

    def default(self, obj: Deployment) -> None:
        super().default(obj)
        spec = obj.spec
        if spec.replicas is None:
            spec.replicas = 1
        spec.strategy.type = spec.strategy.type or "RollingUpdate"
        if spec.strategy.type == "RollingUpdate":
            rolling = spec.strategy.rolling_update or RollingUpdateDeployment()
            spec.strategy.rolling_update = rolling
            if rolling.max_unavailable is None:
                rolling.max_unavailable = "25%"
            if rolling.max_surge is None:
                rolling.max_surge = "25%"
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10
        if spec.progress_deadline_seconds is None:
            spec.progress_deadline_seconds = 600

    def validate(self, obj: Deployment) -> list[FieldError]:
        spec = obj.spec
        violations = super().validate(obj) + _strategy_errors(spec)
        violations += checks.natural(spec.revision_history_limit, "spec.revisionHistoryLimit")
        deadline = spec.progress_deadline_seconds
        if deadline is not None and deadline <= spec.min_ready_seconds:
            detail = "must be greater than minReadySeconds"
            field = "spec.progressDeadlineSeconds"
            violations.append(errors.invalid_value(field, deadline, detail))
        return violations


def _strategy_errors(spec: DeploymentSpec) -> list[FieldError]:
    kind = spec.strategy.type
    rolling = spec.strategy.rolling_update
    if kind not in _STRATEGIES:
        # The value is shown as upstream shows its own type, without JSON names.
        shown = {"Type": kind, "RollingUpdate": None}
        return [errors.not_supported("spec.strategy", shown, _STRATEGIES)]
    if rolling is None:
        return []
    path = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [errors.forbidden_field(path, detail)]
    violations = count_or_percent(rolling.max_unavailable, f"{path}.maxUnavailable")
    violations += count_or_percent(rolling.max_surge, f"{path}.maxSurge")
    if is_zero(rolling.max_unavailable) and is_zero(rolling.max_surge):
        detail = "may not be 0 when `maxSurge` is 0"
        field = f"{path}.maxUnavailable"
        violations.append(errors.invalid_value(field, rolling.max_unavailable, detail))
    return violations
