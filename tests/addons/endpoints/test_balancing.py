"""Which endpoint a request goes to."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tiphys.addons.endpoints.balancing import SLOW_START, SPILL, Address, Balancer, Member

A1, A2, B1 = Address("10.0.0.1:80", "a"), Address("10.0.0.2:80", "a"), Address("10.0.1.1:80", "b")


def balancer(*addresses: Address, zone: str = "") -> Balancer:
    made = Balancer(zone, random.Random(1))
    made.update(addresses, 100.0)
    return made


def member(made: Balancer, address: Address) -> Member:
    return next(one for one in made.members if one.address == address)


def picks(made: Balancer, count: int = 1000, now: float = 200.0) -> Counter[Address]:
    """How often each is chosen while nothing is under way."""
    chosen = (made.pick(now) for _ in range(count))
    return Counter(one.address for one in chosen if one is not None)


def test_equals_get_about_the_same() -> None:
    counted = picks(balancer(A1, A2, B1), 6000)
    assert all(abs(count - 2000) < 200 for count in counted.values())


def test_of_two_the_less_loaded_is_taken() -> None:
    made = balancer(A1, A2)
    member(made, A1).under_way = 1
    assert picks(made) == {A2: 1000}


def test_a_new_endpoint_comes_to_its_share_slowly() -> None:
    made = balancer(A1)
    made.update([A1, A2], 200.0)
    assert member(made, A2).weight(200.0) == pytest.approx(0.1)
    assert member(made, A2).weight(200.0 + SLOW_START / 2) == pytest.approx(0.5)
    assert member(made, A2).weight(200.0 + SLOW_START) == 1.0


def test_the_first_endpoints_have_their_share_at_once() -> None:
    assert member(balancer(A1), A1).weight(100.0) == 1.0


def test_one_that_fails_gets_less_and_is_forgiven() -> None:
    made = balancer(A1, A2)
    for _ in range(3):
        made.failed(member(made, A1), 200.0, reached=True)
    assert member(made, A1).weight(200.0) == pytest.approx(0.25)
    assert member(made, A1).weight(300.0) > 0.99


def test_one_that_is_out_of_reach_is_passed_over_longer_each_time() -> None:
    made = balancer(A1, A2)
    made.failed(member(made, A1), 200.0, reached=False)
    assert picks(made, now=200.9) == {A2: 1000}
    made.failed(member(made, A1), 201.0, reached=False)
    assert not member(made, A1).is_reachable(202.9)
    assert member(made, A1).is_reachable(203.0)
    made.succeeded(member(made, A1))
    assert member(made, A1).is_reachable(201.0)


def test_when_none_can_be_reached_one_is_tried_all_the_same() -> None:
    made = balancer(A1)
    made.failed(member(made, A1), 200.0, reached=False)
    chosen = made.pick(200.0)
    assert chosen is not None and chosen.address == A1


def test_what_was_tried_is_not_tried_again() -> None:
    made = balancer(A1, A2)
    chosen = made.pick(200.0, frozenset((A1,)))
    assert chosen is not None and chosen.address == A2
    assert made.pick(200.0, frozenset((A1, A2))) is None


def test_the_own_zone_comes_first_until_it_is_busy() -> None:
    made = balancer(A1, A2, B1, zone="a")
    assert set(picks(made)) == {A1, A2}
    member(made, A1).under_way = SPILL
    assert set(picks(made)) == {A2}
    member(made, A2).under_way = SPILL
    assert B1 in picks(made)


def test_a_zone_that_is_gone_is_made_up_for_by_the_others() -> None:
    made = balancer(A1, A2, B1, zone="a")
    assert made.update([B1], 200.0) == [A1, A2]
    assert picks(made) == {B1: 1000}
    assert balancer().pick(200.0) is None
