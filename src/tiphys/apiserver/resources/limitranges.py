"""Limit ranges."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api.core_v1 import LimitRange, LimitRangeItem
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import CREATED_DATE, NAME
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError

_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


class LimitRangeStrategy(Strategy[LimitRange]):
    create_on_update = True
    columns = (NAME, CREATED_DATE)

    def default(self, obj: LimitRange) -> None:
        for item in obj.spec.limits:
            if item.type == "Container":
                _default_container(item)

    def validate(self, obj: LimitRange) -> list[FieldError]:
        violations = []
        seen: set[str] = set()
        for index, item in enumerate(obj.spec.limits):
            path = f"spec.limits[{index}]"
            if item.type in seen:
                violations.append(errors.duplicate(f"{path}.type", item.type))
            seen.add(item.type)
            violations += _type_errors(item, path)
            violations += _ratio_errors(item, f"{path}.maxLimitRequestRatio")
            violations += _pod_errors(item, path)
            violations += _bound_errors(item, path)
        return violations


def _default_container(item: LimitRangeItem) -> None:
    """What is absent follows from what is set: a default from the most, a default request from the
    default or the least."""
    for name, amount in item.max.items():
        item.default.setdefault(name, amount)
    for source in (item.default, item.min):
        for name, amount in source.items():
            item.default_request.setdefault(name, amount)


def _type_errors(item: LimitRangeItem, path: str) -> list[FieldError]:
    violations = checks.qualified(item.type, f"{path}.type")
    if "/" not in item.type and item.type not in _TYPES:
        detail = "must be a standard limit type or fully qualified"
        violations.append(errors.invalid_value(f"{path}.type", item.type, detail))
    if item.type == "PersistentVolumeClaim" and "storage" not in {*item.min, *item.max}:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        violations.append(errors.required(f"{path}.limits", detail))
    return violations


def _ratio_errors(item: LimitRangeItem, path: str) -> list[FieldError]:
    violations = []
    for name, ratio in item.max_limit_request_ratio.items():
        if quantity.nano(ratio) < quantity.NANO:
            detail = f"ratio {ratio} is less than 1"
            violations.append(errors.invalid_value(f"{path}[{name}]", ratio, detail))
    return violations


def _pod_errors(item: LimitRangeItem, path: str) -> list[FieldError]:
    if item.type != "Pod":
        return []
    violations = []
    detail = "may not be specified when `type` is 'Pod'"
    if item.default:
        violations.append(errors.forbidden_field(f"{path}.default", detail))
    if item.default_request:
        violations.append(errors.forbidden_field(f"{path}.defaultRequest", detail))
    return violations


class _Order(NamedTuple):
    """Two bounds, of which one may not be above the other; where the error is, whose value it
    shows, and how both are called, all as upstream has it."""

    lower: str
    higher: str
    field: str
    shown: str
    lower_noun: str
    higher_noun: str


_ORDERS = (
    _Order("min", "max", "min", "min", "min", "max"),
    _Order("min", "defaultRequest", "defaultRequest", "defaultRequest", "min", "default request"),
    _Order("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request", "max"),
    _Order(
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request",
        "default limit",
    ),
    _Order("min", "default", "default", "min", "min", "default"),
    _Order("default", "max", "default", "max", "default", "max"),
)


def _bound_errors(item: LimitRangeItem, path: str) -> list[FieldError]:
    bounds = {
        "min": item.min,
        "defaultRequest": item.default_request,
        "default": item.default,
        "max": item.max,
    }
    violations = []
    for order in _ORDERS:
        lower = bounds[order.lower]
        higher = bounds[order.higher]
        for name in sorted(lower.keys() & higher.keys()):
            if quantity.nano(lower[name]) <= quantity.nano(higher[name]):
                continue
            detail = (
                f"{order.lower_noun} value {lower[name]} is greater than"
                f" {order.higher_noun} value {higher[name]}"
            )
            field = f"{path}.{order.field}[{name}]"
            violations.append(errors.invalid_value(field, bounds[order.shown][name], detail))
    return violations
