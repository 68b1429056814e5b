"""Priority levels: how many seats the requests of a level have, and how they queue."""

from __future__ import annotations

from tiphys.api.flowcontrol_v1 import (
    ExemptPriorityLevelConfiguration,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_TYPES = ("Exempt", "Limited")
_MOST_QUEUES = 10_000_000


class PriorityLevelConfigurationStrategy(Strategy[PriorityLevelConfiguration]):
    columns = (NAME, Column("Type", lambda o: o.spec.type), AGE)
    generation = True

    def default(self, obj: PriorityLevelConfiguration) -> None:
        exempt = obj.spec.exempt
        if exempt is not None:
            exempt.nominal_concurrency_shares = exempt.nominal_concurrency_shares or 0
            exempt.lendable_percent = exempt.lendable_percent or 0
        limited = obj.spec.limited
        if limited is not None:
            if limited.nominal_concurrency_shares is None:
                limited.nominal_concurrency_shares = 30
            limited.lendable_percent = limited.lendable_percent or 0
            queuing = limited.limit_response.queuing
            if queuing is not None:
                queuing.queues = queuing.queues or 64
                queuing.hand_size = queuing.hand_size or 8
                queuing.queue_length_limit = queuing.queue_length_limit or 50

    def validate(self, obj: PriorityLevelConfiguration) -> list[FieldError]:
        kind = obj.spec.type
        if kind not in _TYPES:
            return [errors.not_supported("spec.type", kind, _TYPES)]
        violations = []
        if (obj.metadata.name == "exempt") != (kind == "Exempt"):
            detail = "must be 'Exempt' if and only if `name` is 'exempt'"
            violations.append(errors.invalid_value("spec.type", kind, detail))
        return violations + (_exempt(obj.spec) if kind == "Exempt" else _limited(obj.spec))


def _exempt(spec: PriorityLevelConfigurationSpec) -> list[FieldError]:
    violations = []
    if spec.limited is not None:
        detail = "must be nil if the type is not Limited"
        violations.append(errors.forbidden_field("spec.limited", detail))
    if spec.exempt is not None:
        violations += _shares(spec.exempt, "spec.exempt")
    return violations


def _limited(spec: PriorityLevelConfigurationSpec) -> list[FieldError]:
    violations = []
    if spec.exempt is not None:
        detail = "must be nil if the type is Limited"
        violations.append(errors.forbidden_field("spec.exempt", detail))
    limited = spec.limited
    if limited is None:
        detail = "must not be empty when type is Limited"
        return [*violations, errors.required("spec.limited", detail)]
    violations += _shares(limited, "spec.limited")
    percent = limited.borrowing_limit_percent
    if percent is not None and percent < 0:
        detail = "if specified, must be a non-negative integer"
        field = "spec.limited.borrowingLimitPercent"
        violations.append(errors.invalid_value(field, percent, detail))
    return violations + _response(limited.limit_response, "spec.limited.limitResponse")


def _shares(
    level: ExemptPriorityLevelConfiguration | LimitedPriorityLevelConfiguration, path: str
) -> list[FieldError]:
    violations = []
    shares = level.nominal_concurrency_shares
    if shares is not None and shares < 0:
        detail = "must be a non-negative integer"
        violations.append(errors.invalid_value(f"{path}.nominalConcurrencyShares", shares, detail))
    return violations + checks.within(level.lendable_percent, 0, 100, f"{path}.lendablePercent")


def _response(response: LimitResponse, path: str) -> list[FieldError]:
    """What becomes of a request that finds no seat."""
    queuing = response.queuing
    if response.type == "Reject":
        if queuing is None:
            return []
        detail = "must be nil if limited.limitResponse.type is not Limited"
        return [errors.forbidden_field(f"{path}.queuing", detail)]
    if response.type == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            return [errors.required(f"{path}.queuing", detail)]
        return _queuing(queuing, f"{path}.queuing")
    violations = checks.required(response.type, f"{path}.type")
    return violations + checks.one_of(response.type, ("Queue", "Reject"), f"{path}.type")


def _queuing(queuing: QueuingConfiguration, path: str) -> list[FieldError]:
    violations = []
    sizes = {"queueLengthLimit": queuing.queue_length_limit, "queues": queuing.queues}
    for name, size in sizes.items():
        if size <= 0:
            violations.append(errors.invalid_value(f"{path}.{name}", size, "must be positive"))
    if queuing.queues > _MOST_QUEUES:
        detail = f"must not be greater than {_MOST_QUEUES}"
        violations.append(errors.invalid_value(f"{path}.queues", queuing.queues, detail))
    if queuing.hand_size <= 0:
        detail = "must be positive"
        violations.append(errors.invalid_value(f"{path}.handSize", queuing.hand_size, detail))
    elif queuing.hand_size > queuing.queues:
        detail = f"should not be greater than queues ({queuing.queues})"
        violations.append(errors.invalid_value(f"{path}.handSize", queuing.hand_size, detail))
    return violations
