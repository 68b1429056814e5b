"""Pod disruption budgets."""

from __future__ import annotations

from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.workloads import count_or_percent
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def _amount(value: int | str | None) -> str:
    return "N/A" if value is None else str(value)


class PodDisruptionBudgetStrategy(Strategy[PodDisruptionBudget]):
    unconditional_update = False
    columns = (
        NAME,
        Column("Min Available", lambda o: _amount(o.spec.min_available)),
        Column("Max Unavailable", lambda o: _amount(o.spec.max_unavailable)),
        Column("Allowed Disruptions", lambda o: o.status.disruptions_allowed, type="integer"),
        AGE,
    )
    generation = True

    def validate(self, obj: PodDisruptionBudget) -> list[FieldError]:
        spec = obj.spec
        if spec.min_available is not None and spec.max_unavailable is not None:
            detail = "minAvailable and maxUnavailable cannot be both set"
            return [errors.invalid_value("spec", {}, detail)]
        violations = count_or_percent(spec.min_available, "spec.minAvailable")
        violations += checks.label_selector(spec.selector, "spec.selector")
        policy = spec.unhealthy_pod_eviction_policy
        field = "spec.unhealthyPodEvictionPolicy"
        violations += checks.one_of(policy, _EVICTION_POLICIES, field)
        return violations + count_or_percent(spec.max_unavailable, "spec.maxUnavailable")
