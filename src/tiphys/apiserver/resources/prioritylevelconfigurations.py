"""Priority levels: how many seats the requests of a level have, and how they queue."""

from __future__ import annotations

from typing import Any

from tiphys.api import flowcontrol_v1 as v1
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.checks import given, one_of
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_MOST_QUEUES = 10_000_000


class PriorityLevelConfigurationStrategy(Strategy[v1.PriorityLevelConfiguration]):
    columns = (NAME, Column("Type", lambda o: o.spec.type), AGE)

    generation = True

    def default(self, obj: v1.PriorityLevelConfiguration) -> None:
        if (exempt := obj.spec.exempt) is not None:
            exempt.nominal_concurrency_shares = exempt.nominal_concurrency_shares or 0
            exempt.lendable_percent = exempt.lendable_percent or 0
        if (limited := obj.spec.limited) is not None:
            if limited.nominal_concurrency_shares is None:
                limited.nominal_concurrency_shares = 30
            limited.lendable_percent = limited.lendable_percent or 0
            if (queuing := limited.limit_response.queuing) is not None:
                queuing.queues = queuing.queues or 64
                queuing.hand_size = queuing.hand_size or 8
                queuing.queue_length_limit = queuing.queue_length_limit or 50

    def validate(self, obj: v1.PriorityLevelConfiguration) -> list[FieldError]:
        spec = obj.spec
        violations: list[FieldError] = []
        if (obj.metadata.name == "exempt") != (spec.type == "Exempt") and spec.type in (
            "Exempt",
            "Limited",
        ):
            detail = "must be 'Exempt' if and only if `name` is 'exempt'"
            violations.append(errors.invalid_value("spec.type", spec.type, detail))
        if spec.type == "Exempt":
            if spec.limited is not None:
                violations.append(
                    errors.forbidden_field("spec.limited", "must be nil if the type is not Limited")
                )
            if spec.exempt is not None:
                violations += _shares(spec.exempt, "spec.exempt")
        elif spec.type == "Limited":
            if spec.exempt is not None:
                violations.append(
                    errors.forbidden_field("spec.exempt", "must be nil if the type is Limited")
                )
            if spec.limited is None:
                violations.append(
                    errors.required("spec.limited", "must not be empty when type is Limited")
                )
            else:
                violations += _limited(spec.limited, "spec.limited")
        else:
            violations.append(errors.not_supported("spec.type", spec.type, ("Exempt", "Limited")))
        return violations


def _shares(part: Any, path: str) -> list[FieldError]:
    shares = part.nominal_concurrency_shares
    lent = part.lendable_percent
    violations: list[FieldError] = []
    if shares is not None and shares < 0:
        detail = "must be a non-negative integer"
        violations.append(errors.invalid_value(f"{path}.nominalConcurrencyShares", shares, detail))
    if lent is not None and not 0 <= lent <= 100:
        violations.append(
            errors.invalid_value(
                f"{path}.lendablePercent", lent, "must be between 0 and 100, inclusive"
            )
        )
    return violations


def _limited(part: v1.LimitedPriorityLevelConfiguration, path: str) -> list[FieldError]:
    violations = _shares(part, path)
    borrowed = part.borrowing_limit_percent
    if borrowed is not None and borrowed < 0:
        detail = "if specified, must be a non-negative integer"
        violations.append(errors.invalid_value(f"{path}.borrowingLimitPercent", borrowed, detail))
    path = f"{path}.limitResponse"
    answer = part.limit_response
    queuing = answer.queuing
    if answer.type == "Reject":
        if queuing is not None:
            detail = "must be nil if limited.limitResponse.type is not Limited"
            violations.append(errors.forbidden_field(f"{path}.queuing", detail))
    elif answer.type == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            return [*violations, errors.required(f"{path}.queuing", detail)]
        for name, value in (
            ("queueLengthLimit", queuing.queue_length_limit),
            ("queues", queuing.queues),
        ):
            if value <= 0:
                violations.append(
                    errors.invalid_value(f"{path}.queuing.{name}", value, "must be positive")
                )
        if queuing.queues > _MOST_QUEUES:
            detail = f"must not be greater than {_MOST_QUEUES}"
            violations.append(
                errors.invalid_value(f"{path}.queuing.queues", queuing.queues, detail)
            )
        if queuing.hand_size <= 0:
            violations.append(
                errors.invalid_value(
                    f"{path}.queuing.handSize", queuing.hand_size, "must be positive"
                )
            )
        elif queuing.hand_size > queuing.queues:
            detail = f"should not be greater than queues ({queuing.queues})"
            violations.append(
                errors.invalid_value(f"{path}.queuing.handSize", queuing.hand_size, detail)
            )
    else:
        violations += given(answer.type, f"{path}.type") + one_of(
            answer.type, ("Queue", "Reject"), f"{path}.type"
        )
    return violations
