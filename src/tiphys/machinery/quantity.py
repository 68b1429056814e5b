"""Arithmetic on quantities. Values are whole numbers of nano units, so nothing is rounded on the
way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiphys.api.base import Quantity, canonical_quantity, format_quantity, parse_quantity

__all__ = [
    "add",
    "canonical_quantity",
    "ceil_units",
    "format_quantity",
    "maximum",
    "milli",
    "nano",
    "subtract",
    "total",
]

NANO = 10**9


def nano(quantity: str) -> int:
    return parse_quantity(quantity)[0]


def milli(quantity: str) -> int:
    """Thousandths, rounded up: how cpu is counted."""
    return -(-nano(quantity) // 10**6)


def ceil_units(quantity: str) -> int:
    """Whole units, rounded up: bytes of memory, numbers of devices."""
    return -(-nano(quantity) // NANO)


def add(left: str, right: str) -> Quantity:
    """Sum in the format of the left operand, unless it is zero."""
    (a, form), (b, other) = parse_quantity(left), parse_quantity(right)
    return format_quantity(a + b, form if a else other)


def subtract(left: str, right: str) -> Quantity:
    (a, form), (b, _) = parse_quantity(left), parse_quantity(right)
    return format_quantity(a - b, form)


def total(lists: Iterable[Mapping[str, str]]) -> dict[str, Quantity]:
    """Sum of resource lists, name by name."""
    result: dict[str, Quantity] = {}
    for resources in lists:
        for name, value in resources.items():
            result[name] = add(result[name], value) if name in result else canonical_quantity(value)
    return result


def maximum(lists: Iterable[Mapping[str, str]]) -> dict[str, Quantity]:
    """The larger of each name over resource lists."""
    result: dict[str, Quantity] = {}
    for resources in lists:
        for name, value in resources.items():
            if name not in result or nano(value) > nano(result[name]):
                result[name] = canonical_quantity(value)
    return result
