"""How many users next: a closed loop on what the system says that it does (pure).

A system answers more slowly the more it has to do, so that orders grow less than users do. Near a
point ``orders = c * users ** e``; the exponent is read from the last two measurements that tell it,
and the next number of users is where the curve meets the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FLATTEST, _STEEPEST = 0.25, 1.25  # exponents that are believed
_LARGEST_STEP = 4.0  # by which the users grow or shrink at most
_TOLD = 0.05  # users have to differ by so much to tell the exponent
_CLOSE = 0.01  # of the target: within that nothing is changed


@dataclass(frozen=True, slots=True)
class Measurement:
    """Orders a minute that so many users made."""

    users: int
    orders: float


def exponent(measured: Sequence[Measurement]) -> float:
    """How orders follow users, of the newest two measurements far enough apart; 1 where nothing is
    known: twice the users, twice the orders."""
    newest = measured[-1]
    if newest.orders <= 0:
        return 1.0
    for older in reversed(measured[:-1]):
        if older.orders <= 0 or older.users <= 0:
            continue
        apart = math.log(newest.users / older.users)
        if abs(apart) < _TOLD:
            continue
        found = math.log(newest.orders / older.orders) / apart
        return min(max(found, _FLATTEST), _STEEPEST)
    return 1.0


def next_users(measured: Sequence[Measurement], target: float, most: int) -> int:
    """From 1 to `most`. `measured` is in order, the newest last, and has users in each."""
    newest = measured[-1]
    if newest.orders <= 0:
        return min(most, max(1, math.ceil(newest.users * 2)))
    missing = target / newest.orders
    if abs(missing - 1) <= _CLOSE:
        return min(most, newest.users)
    missing = min(max(missing, 1e-3), 1e3)  # more says nothing more, and powers of it overflow
    factor: float = missing ** (1 / exponent(measured))
    factor = min(max(factor, 1 / _LARGEST_STEP), _LARGEST_STEP)
    wanted = newest.users * factor
    rounded = math.ceil(wanted) if missing > 1 else math.floor(wanted)
    return min(most, max(1, rounded))


def is_out_of_reach(measured: Sequence[Measurement], target: float, most: int) -> bool:
    """Whether the last three measurements, at the most users that there may be, are more than a
    twentieth below the target."""
    last = measured[-3:]
    return len(last) == 3 and all(one.users >= most and one.orders < 0.95 * target for one in last)
