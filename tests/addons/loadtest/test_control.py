"""How many users next: pure, against systems whose orders fall behind their users."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.addons.loadtest.control import Measurement, fitted, is_out_of_reach, next_users

System = Callable[[float], float]
SYSTEMS: dict[str, System] = {
    "linear": lambda users: 3.0 * users,
    "bends": lambda users: 12.0 * users / (1 + users / 400),
    "square root": lambda users: 80 * math.sqrt(users),
    "bends hard": lambda users: 6000 * (1 - math.exp(-users / 300)),
}


def loop(system: System, target: float, first: int, loops: int, noise: float = 0) -> list[float]:
    """The orders of each loop."""
    chance = random.Random(7)
    measured: list[Measurement] = []
    users = first
    for _ in range(loops):
        orders = system(users) * (1 + chance.uniform(-noise, noise))
        measured.append(Measurement(users, orders))
        users = next_users(measured, target, 100_000)
    return [one.orders for one in measured]


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_target_is_met_within_five_loops_and_kept(name: str) -> None:
    orders = loop(SYSTEMS[name], 3000, 100, 20)
    assert all(abs(found / 3000 - 1) <= 0.05 for found in orders[5:]), orders


def test_users_from_the_target_once_would_miss() -> None:
    """What the first measurement says of a user does not hold for many of them."""
    system = SYSTEMS["bends"]
    once = round(3000 / (system(10) / 10))
    assert system(once) / 3000 < 0.7


@pytest.mark.parametrize("name", SYSTEMS)
def test_noise_of_two_percent_is_ridden_out(name: str) -> None:
    orders = loop(SYSTEMS[name], 3000, 100, 30, noise=0.02)
    late = orders[6:]
    assert sum(abs(found / 3000 - 1) <= 0.05 for found in late) >= 0.9 * len(late), orders


GOLDEN = [
    # users and orders so far, the target, who is next
    ([(10, 0.0)], 100, 20),  # nothing is ordered yet: more of them
    ([(10, 50.0)], 100, 23),  # of one measurement: twice the orders take a little more than twice
    ([(10, 50.0), (20, 70.0)], 100, 38),  # four tenths more by twice the users: many more of them
    ([(10, 50.0), (20, 100.0)], 150, 30),  # as many orders as users
    ([(100, 100.0)], 100, 100),
    ([(100, 100.9)], 100, 100),  # near enough
    ([(100, 200.0)], 100, 44),
    ([(100, 10.0)], 1000, 400),  # no more than fourfold at once
    ([(1, 500.0)], 100, 1),
    ([(100, 95.0), (100, 105.0), (100, 99.0)], 100, 100),  # noise is averaged
]


@pytest.mark.parametrize("measured, target, wanted", GOLDEN)
def test_golden_cases(measured: list[tuple[int, float]], target: float, wanted: int) -> None:
    assert next_users([Measurement(*one) for one in measured], target, 1000) == wanted


def test_what_noise_says_of_the_exponent_is_bounded() -> None:
    steep = fitted([Measurement(100, 100.0), Measurement(106, 300.0)])
    flat = fitted([Measurement(100, 100.0), Measurement(200, 50.0)])
    assert steep is not None and steep.exponent == 1.25
    assert flat is not None and flat.exponent == 0.25


def test_a_target_that_is_out_of_reach_is_told_and_not_chased() -> None:
    measured = [Measurement(500, 900.0)] * 3
    assert next_users(measured, 5000, 500) == 500
    assert is_out_of_reach(measured, 5000, 500)
    assert not is_out_of_reach(measured[:2], 5000, 500)
    assert not is_out_of_reach(measured, 940, 500)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 1e7)), min_size=1, max_size=6),
    st.floats(0.1, 1e7),
    st.integers(1, 5000),
)
def test_users_stay_within_their_bounds(
    seen: list[tuple[int, float]], target: float, most: int
) -> None:
    found = next_users([Measurement(*one) for one in seen], target, most)
    assert 1 <= found <= most
    assert found <= 4 * seen[-1][0] + 1
