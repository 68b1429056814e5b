"""Daemon sets."""

from __future__ import annotations

from tiphys.api.apps_v1 import DaemonSet, RollingUpdateDaemonSet
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.columns import AGE, NAME, Column, selector_text
from tiphys.apiserver.resources.workloads import (
    SELECTOR_COLUMN,
    TEMPLATE_COLUMNS,
    WorkloadStrategy,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_UPDATE_STRATEGIES = ("OnDelete", "RollingUpdate")
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _template_generation(daemon_set: DaemonSet) -> int:
    """How many templates it has had; one where the count is missing."""
    text = daemon_set.metadata.annotations.get(_TEMPLATE_GENERATION, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else 1


class DaemonSetStrategy(WorkloadStrategy[DaemonSet]):
    columns = (
        NAME,
        Column("Desired", lambda o: o.status.desired_number_scheduled, type="integer"),
        Column("Current", lambda o: o.status.current_number_scheduled, type="integer"),
        Column("Ready", lambda o: o.status.number_ready, type="integer"),
        Column("Up-to-date", lambda o: o.status.updated_number_scheduled, type="integer"),
        Column("Available", lambda o: o.status.number_available, type="integer"),
        Column("Node Selector", lambda o: selector_text(o.spec.template.spec.node_selector)),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    )
    noun = "daemonset"

    def default(self, obj: DaemonSet) -> None:
        super().default(obj)
        spec = obj.spec
        spec.update_strategy.type = spec.update_strategy.type or "RollingUpdate"
        if spec.update_strategy.type == "RollingUpdate":
            rolling = spec.update_strategy.rolling_update or RollingUpdateDaemonSet()
            spec.update_strategy.rolling_update = rolling
            if rolling.max_unavailable is None:
                rolling.max_unavailable = 1
            if rolling.max_surge is None:
                rolling.max_surge = 0
        if spec.revision_history_limit is None:
            spec.revision_history_limit = 10

    def prepare_for_create(self, obj: DaemonSet) -> None:
        super().prepare_for_create(obj)
        obj.metadata.annotations[_TEMPLATE_GENERATION] = str(_template_generation(obj))

    def prepare_for_update(self, new: DaemonSet, old: DaemonSet) -> None:
        super().prepare_for_update(new, old)
        generation = _template_generation(old)
        if new.spec.template != old.spec.template:
            generation += 1
        new.metadata.annotations[_TEMPLATE_GENERATION] = str(generation)

    def validate(self, obj: DaemonSet) -> list[FieldError]:
        spec = obj.spec
        violations = super().validate(obj)
        kind = spec.update_strategy.type
        if kind not in _UPDATE_STRATEGIES:
            # The value is shown as upstream shows its own type, without JSON names.
            shown = {"Type": kind, "RollingUpdate": None}
            field = "spec.updateStrategy"
            violations.append(errors.not_supported(field, shown, _UPDATE_STRATEGIES))
        if spec.template.spec.active_deadline_seconds is not None:
            detail = "activeDeadlineSeconds in DaemonSet is not Supported"
            field = "spec.template.spec.activeDeadlineSeconds"
            violations.append(errors.forbidden_field(field, detail))
        limit = spec.revision_history_limit
        return violations + checks.natural(limit, "spec.revisionHistoryLimit")
