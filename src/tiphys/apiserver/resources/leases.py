"""Leases."""

from __future__ import annotations

from tiphys.api.coordination_v1 import Lease
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors


class LeaseStrategy(Strategy[Lease]):
    unconditional_update = False
    columns = (NAME, Column("Holder", lambda o: o.spec.holder_identity or ""), AGE)
    create_on_update = True

    def validate(self, obj: Lease) -> list[FieldError]:
        spec = obj.spec
        violations = checks.natural(spec.lease_transitions, "spec.leaseTransitions")
        seconds = spec.lease_duration_seconds
        if seconds is not None and seconds <= 0:
            detail = "must be greater than 0"
            field = "spec.leaseDurationSeconds"
            violations.append(errors.invalid_value(field, seconds, detail))
        strategy = spec.strategy
        if strategy is not None:
            for problem in label_key_errors(strategy.removeprefix("/")):
                violations.append(errors.invalid_value("spec.strategy", strategy, problem))
        elif spec.preferred_holder:
            detail = "may only be specified if `strategy` is defined"
            violations.append(errors.forbidden_field("spec.preferredHolder", detail))
        return violations
