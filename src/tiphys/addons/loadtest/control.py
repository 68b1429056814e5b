"""How many users next: a closed loop on what the system reports (pure).

A system answers more slowly the more it has to do, so that orders grow less than users do. Near a
point ``orders = c * users ** e``. Both are fitted to the last measurements, of which newer ones and
nearer ones count more, so that noise is averaged and a change is followed; the next number of users
is where the curve meets the target. While measurements are too much alike to estimate the exponent,
it is the one that is expected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_EXPECTED = 0.85
_FLATTEST, _STEEPEST = 0.25, 1.25  # exponents that are believed
_BELIEF = 0.02  # in what is expected: as that of measurements whose logarithms vary by so much
_FADING = 0.6  # how much less each older measurement counts
_NEAR = 0.8  # logarithm of users: further away the curve is another one
_LARGEST_STEP = 4.0  # by which the users grow or shrink at most
_CLOSE = 0.01  # of the target: within that nothing is changed


@dataclass(frozen=True, slots=True)
class Measurement:
    """Orders a minute that so many users made."""

    users: int
    orders: float


@dataclass(frozen=True, slots=True)
class Curve:
    """``orders = exp(level) * users ** exponent``"""

    level: float
    exponent: float

    def users_for(self, orders: float) -> float:
        return math.exp((math.log(orders) - self.level) / self.exponent)

    def orders_of(self, users: float) -> float:
        return math.exp(self.level + self.exponent * math.log(users))


def fitted(measured: Sequence[Measurement]) -> Curve | None:
    """Through those of the last measurements that have orders; None where there are none."""
    last_users = math.log(measured[-1].users)
    points: list[tuple[float, float, float]] = []  # weight, logarithms of users and of orders
    for age, measurement in enumerate(reversed(measured)):
        if measurement.orders > 0:
            users = math.log(measurement.users)
            nearness = math.exp(-(((users - last_users) / _NEAR) ** 2))
            points.append((_FADING**age * nearness, users, math.log(measurement.orders)))
    total = sum(weight for weight, _, _ in points)
    if not total:
        return None
    users = sum(weight * x for weight, x, _ in points) / total
    orders = sum(weight * y for weight, _, y in points) / total
    spread = sum(weight * (x - users) ** 2 for weight, x, _ in points)
    common = sum(weight * (x - users) * (y - orders) for weight, x, y in points)
    exponent = (common + _BELIEF * _EXPECTED) / (spread + _BELIEF)
    exponent = min(max(exponent, _FLATTEST), _STEEPEST)
    return Curve(orders - exponent * users, exponent)


def next_users(measured: Sequence[Measurement], target: float, most: int) -> int:
    """From 1 to `most`. `measured` is in order, the newest last, and has users in each."""
    newest = measured[-1]
    curve = fitted(measured)
    if curve is None or newest.orders <= 0:
        return min(most, max(1, newest.users * 2))
    if abs(curve.orders_of(newest.users) / target - 1) <= _CLOSE:
        return min(most, newest.users)
    fewest = newest.users / _LARGEST_STEP
    wanted = max(_users_for(curve, target), fewest)
    wanted = min(wanted, newest.users * _LARGEST_STEP)
    return min(most, max(1, round(wanted)))


def _users_for(curve: Curve, target: float) -> float:
    try:
        return curve.users_for(target)
    except OverflowError:  # of a curve so flat that no number of users is enough
        return math.inf


def is_out_of_reach(measured: Sequence[Measurement], target: float, most: int) -> bool:
    """Whether the last three measurements, at the most users that there may be, are more than a
    twentieth below the target."""
    last = measured[-3:]
    return len(last) == 3 and all(one.users >= most and one.orders < 0.95 * target for one in last)
