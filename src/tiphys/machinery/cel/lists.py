"""Functions of lists and sets."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    NONE,
    CelError,
    CostExceeded,
    Optional,
    equal,
    less,
)

_LONGEST = (
    1_000_000  # elements of a list made from nothing: more would cost more than any expression may
)


def _sum(items: list[Any]) -> Any:
    if not items:
        return 0
    total = items[0]
    for item in items[1:]:
        total = total + item
    return total


def _least(items: list[Any]) -> Any:
    return _foremost(items, "min", less)


def _greatest(items: list[Any]) -> Any:
    return _foremost(items, "max", lambda a, b: less(b, a))


def _foremost(items: list[Any], name: str, before: Callable[[Any, Any], bool]) -> Any:
    if not items:
        raise CelError(f"{name} called on empty list")
    best = items[0]
    for item in items[1:]:
        best = item if before(item, best) else best
    return best


def _is_sorted(items: list[Any]) -> bool:
    return all(not less(b, a) for a, b in itertools.pairwise(items))


def _distinct(items: list[Any]) -> list[Any]:
    distinct: list[Any] = []
    for item in items:
        if not any(equal(item, other) for other in distinct):
            distinct.append(item)
    return distinct


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    flat: list[Any] = []
    for item in items:
        flat += _flatten(item, depth - 1) if isinstance(item, list) and depth else [item]
    return flat


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(
            f"cannot slice({start}, {end}), start index must be less than or equal to end index"
        )
    if end > len(items):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _range(size: int) -> list[int]:
    if size < 0:
        raise CelError(f"lists.range: size must be non-negative, got {size}")
    if size > _LONGEST:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")
    return list(range(size))


def sorted_list(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Items sorted by the key that stands beside each."""

    def compare(a: tuple[Any, Any], b: tuple[Any, Any]) -> int:
        if less(a[1], b[1]):
            return -1
        return 1 if less(b[1], a[1]) else 0

    return [item for item, _ in sorted(pairs, key=functools.cmp_to_key(compare))]


def _has_all(left: list[Any], right: list[Any]) -> bool:
    return all(any(equal(item, other) for other in left) for item in right)


def _first(items: Any) -> Any:
    return Optional(True, items[0]) if items else NONE


def _last(items: Any) -> Any:
    return Optional(True, items[-1]) if items else NONE


FUNCTIONS: dict[str, Function] = {
    "sets.contains": _has_all,
    "sets.equivalent": lambda a, b: _has_all(a, b) and _has_all(b, a),
    "sets.intersects": lambda a, b: any(equal(x, y) for x in a for y in b),
    "lists.range": _range,
}
METHODS: dict[str, Function] = {
    "contains": lambda t, s: s in t if isinstance(t, str) else _has_all(t, [s]),
    "reverse": lambda v: v[::-1],
    "sum": _sum,
    "min": _least,
    "max": _greatest,
    "isSorted": _is_sorted,
    "distinct": _distinct,
    "flatten": _flatten,
    "slice": _slice,
    "sort": lambda v: sorted_list([(i, i) for i in v]),
    "first": _first,
    "last": _last,
    # Selectors of devices alone: attributes that may be lists.
    "includes": lambda v, item: any(
        equal(other, item) for other in (v if isinstance(v, list) else [v])
    ),
}
