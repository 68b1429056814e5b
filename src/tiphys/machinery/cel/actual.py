"""What calls and operators cost as they run, by the sizes of their arguments: upstream's
`CallCost`, and where a call takes longer here than upstream's does, or makes something large at
once, what that takes. Charged before the work is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_CHECK = 350_000  # of an authorizer: two of them in one expression, as upstream
_FORMAT_PATTERN = 64  # characters of the expression behind a named format, about


def weight(value: Any) -> int:
    """How many parts a value has, all of them counted; ten characters are one."""
    if isinstance(value, str | bytes):
        return 1 + len(value) // 10
    if isinstance(value, list):
        return 1 + sum(map(weight, value))
    if isinstance(value, dict):
        return 1 + sum(map(weight, value)) + sum(map(weight, value.values()))
    return 1


def comparison_cost(left: Any, right: Any) -> int:
    """Of ==: the smaller of two texts, and of lists and maps whatever they hold."""
    if isinstance(left, str) and isinstance(right, str):
        return min(len(left), len(right)) // 10
    if isinstance(left, list | dict) and isinstance(right, list | dict) and len(left) == len(right):
        return weight(left) // 5
    return 0


def search_cost(item: Any, container: Any) -> int:
    """Of `in`: a list is scanned."""
    return len(container) * (1 + weight(item) // 10) if isinstance(container, list) else 0


def joining_cost(left: Any, right: Any) -> int:
    """Of +: what is made. Lists are copied here, which upstream's are not."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) + len(right)
    if isinstance(left, str | bytes) and isinstance(right, str | bytes):
        return (len(left) + len(right)) // 10
    return 0


def _traversal(value: Any, *rest: Any) -> int:
    return weight(value)


def _expression(text: str, pattern: str, *rest: Any) -> int:
    """Of a regular expression: each may take a step for each state at each character."""
    return math.ceil((1 + len(text)) / 10) * math.ceil(len(pattern) / 4)


def _replace(text: str, old: str, new: str, *rest: Any) -> int:
    grown = text.count(old) * max(len(new) - len(old), 0)
    return 1 + (2 * len(text) + grown) // 10


def _join(items: list[Any], by: str = "") -> int:
    return 1 + weight(items) + len(items) * len(by) // 10


def _pairs(left: list[Any], right: list[Any]) -> int:
    return 1 + len(left) * len(right)


def _contains(value: Any, item: Any) -> int:
    return 1 + (search_cost(item, value) if isinstance(value, list) else len(value) // 10)


_COSTS: dict[str, Callable[..., int]] = {
    "check": lambda *_: _CHECK,
    "isSorted": _traversal,
    "sum": _traversal,
    "max": _traversal,
    "min": _traversal,
    "indexOf": _traversal,
    "lastIndexOf": _traversal,
    "flatten": _traversal,
    "slice": _traversal,
    "reverse": _traversal,
    "sort": lambda items: 1 + 2 * len(items),
    "distinct": lambda items: 1 + len(items) ** 2,
    "replace": _replace,
    "split": lambda text, *_: 1 + len(text) // 5,
    "join": _join,
    "matches": _expression,
    "find": _expression,
    "findAll": _expression,
    "validate": lambda form, text: math.ceil((1 + len(text)) / 10) * _FORMAT_PATTERN // 4,
    "sets.contains": _pairs,
    "sets.intersects": _pairs,
    "sets.equivalent": lambda a, b: 2 * _pairs(a, b),
    "contains": _contains,
    "includes": _contains,
    "lists.range": lambda size: 1 + max(size, 0),
    "format": lambda text, values: 1 + len(text) // 10 + weight(values),
    "string": lambda value: weight(value),
}


def call_cost(name: str, values: list[Any]) -> int:
    """What a call of a function or method costs with these arguments, its target the first of
    them."""
    special = _COSTS.get(name)
    if special is not None:
        return special(*values)
    return 1 + sum(len(value) // 10 for value in values if isinstance(value, str | list | bytes))
