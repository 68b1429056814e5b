"""Priority classes."""

from __future__ import annotations

from tiphys.api.scheduling_v1 import PriorityClass
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_SYSTEM_PREFIX = "system-"
_SYSTEM_CLASSES = ("system-node-critical", "system-cluster-critical")
_HIGHEST_OF_USERS = 1_000_000_000
_PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")


class PriorityClassStrategy(Strategy[PriorityClass]):
    columns = (
        NAME,
        Column("Value", lambda o: o.value, type="integer"),
        Column("Global-Default", lambda o: o.global_default, type="boolean"),
        AGE,
        Column("PreemptionPolicy", lambda o: o.preemption_policy),
    )
    generation = True

    def desired(self, obj: PriorityClass) -> None:
        """Nothing that may change counts."""

    def default(self, obj: PriorityClass) -> None:
        obj.preemption_policy = obj.preemption_policy or "PreemptLowerPriority"

    def validate(self, obj: PriorityClass) -> list[FieldError]:
        name = obj.metadata.name
        of_the_system = name.startswith(_SYSTEM_PREFIX)
        if of_the_system and name not in _SYSTEM_CLASSES:
            detail = (
                "priority class names with 'system-' prefix are reserved for system use only."
                f" error: {name}"
            )
            return [errors.forbidden_field("metadata.name", detail)]
        if obj.value > _HIGHEST_OF_USERS and not of_the_system:
            detail = "maximum allowed value of a user defined priority is 1000000000"
            return [errors.forbidden_field("value", detail)]
        return checks.one_of(obj.preemption_policy, _PREEMPTION_POLICIES, "preemptionPolicy")

    def validate_update(self, new: PriorityClass, old: PriorityClass) -> list[FieldError]:
        violations = immutable("value", new.value, old.value)
        policy = new.preemption_policy
        return violations + immutable("preemptionPolicy", policy, old.preemption_policy)
