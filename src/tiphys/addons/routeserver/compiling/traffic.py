"""Several backends share the traffic of a path by weights: which predicates give each its share.

With ``Traffic(p)`` each share is of what the routes before it have left, and ``True()`` makes those
be matched first. With ``TrafficSegment(from, to)`` each has its piece of the line from 0 to 1, so
that a request stays with its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tiphys.addons.routeserver.eskip import Call


class Weighted(NamedTuple):
    name: str
    weight: float


class Share(NamedTuple):
    """`allowed` is whether any traffic comes at all."""

    allowed: bool
    predicates: tuple[Call, ...] = ()


ALL = Share(True)


def shares(backends: Sequence[Weighted], algorithm: str) -> dict[str, Share]:
    """The share of each backend by its name. Where all weights are 0 they get the same."""
    if algorithm == "traffic-segment-predicate":
        return _segments(backends)
    return _remainders(backends)


def _remainders(backends: Sequence[Weighted]) -> dict[str, Share]:
    weights = [backend.weight for backend in backends]
    if not any(weights):
        weights = [1.0] * len(backends)
    left = sum(weights)
    last = max((index for index, weight in enumerate(weights) if weight > 0), default=0)
    by_name: dict[str, Share] = {}
    for index, backend in enumerate(backends):
        if index == last:
            by_name[backend.name] = ALL
        else:
            part = weights[index] / left if weights[index] else 0.0
            after = max(len(backends) - index - 2, 0)
            predicates = () if part == 1 else (Call("Traffic", (part,)), *[Call("True")] * after)
            by_name[backend.name] = Share(part > 0, predicates)
        left -= weights[index]
    return by_name


def _segments(backends: Sequence[Weighted]) -> dict[str, Share]:
    weights: dict[str, float] = {}
    for backend in backends:
        weights.setdefault(backend.name, backend.weight)
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    ends: dict[str, tuple[float, float]] = {}
    total = 0.0
    for name, weight in weights.items():
        ends[name] = (total, total + weight)
        total += weight
    return {name: _segment(start / total, end / total) for name, (start, end) in ends.items()}


def _segment(start: float, end: float) -> Share:
    if (start, end) == (0, 1):
        return ALL
    return Share(start != end, (Call("TrafficSegment", (start, end)),))
