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


@pytest.mark.parametrize(("later", "share"), [(0.0, 1.0), (4.9, 1.0), (5.0, 0.1), (60.0, 0.1)])
def test_who_comes_while_all_are_new_has_no_slow_start(later: float, share: float) -> None:
    made = balancer(A1)
    made.update([A1, A2], 100.0 + later)
    assert member(made, A2).weight(100.0 + later) == pytest.approx(share)


def test_a_client_begins_with_its_first_endpoint_and_not_before() -> None:
    made = balancer()
    made.update([A1], 500.0)
    made.update([A1, A2], 504.0)
    assert member(made, A2).weight(504.0) == 1.0


def test_an_endpoint_that_stays_is_the_same_and_one_that_comes_back_is_new() -> None:
    made = balancer(A1, A2)
    kept = member(made, A1)
    assert made.update([A1], 200.0) == [A2]
    assert made.update([A1, A2, A2], 300.0) == []
    assert member(made, A1) is kept
    assert member(made, A2).weight(300.0) == pytest.approx(0.1)
    assert len(made.members) == 2


def test_a_clock_that_goes_back_makes_nobody_worse_than_new() -> None:
    made = balancer(A1)
    made.update([A1, A2], 200.0)
    assert member(made, A2).weight(100.0) == pytest.approx(0.1)


def test_who_has_half_the_share_is_taken_with_half_as_much_under_way() -> None:
    made = balancer(A1, A2)
    made.failed(member(made, A1), 200.0, reached=True)  # a share of a half
    member(made, A2).under_way = 1
    loads = [member(made, one).load(200.0) for one in (A1, A2)]
    assert loads == pytest.approx([2.0, 2.0])
    member(made, A2).under_way = 2
    assert picks(made) == {A1: 1000}


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
    made.failed(member(made, A1), 300.0, reached=False)
    assert member(made, A1).is_reachable(301.0), "a success forgives the doubling, too"


@pytest.mark.parametrize(
    ("times", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (9, 30)]
)
def test_no_endpoint_is_passed_over_for_more_than_half_a_minute(times: int, seconds: float) -> None:
    made = balancer(A1)
    for _ in range(times):
        made.failed(member(made, A1), 200.0, reached=False)
    assert not member(made, A1).is_reachable(200.0 + seconds - 0.1)
    assert member(made, A1).is_reachable(200.0 + seconds)


def test_failures_halve_in_ten_seconds_and_add_up() -> None:
    made = balancer(A1)
    one = member(made, A1)
    made.failed(one, 200.0, reached=True)
    assert [one.faults(now) for now in (200.0, 210.0, 220.0)] == pytest.approx([1, 0.5, 0.25])
    made.failed(one, 210.0, reached=True)
    assert one.faults(210.0) == pytest.approx(1.5)
    assert one.is_reachable(210.0), "it was reached"


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
    member(made, A2).under_way = SPILL - 1
    assert B1 not in picks(made)
    member(made, A2).under_way = SPILL
    assert B1 in picks(made)


def test_a_client_without_a_zone_has_no_neighbours() -> None:
    nowhere = Address("10.0.2.1:80")
    assert set(picks(balancer(A1, B1, nowhere))) == {A1, B1, nowhere}


def test_a_neighbour_out_of_reach_is_made_up_for_by_other_zones() -> None:
    made = balancer(A1, B1, zone="a")
    made.failed(member(made, A1), 200.0, reached=False)
    assert picks(made, now=200.0) == {B1: 1000}


def test_a_zone_that_is_gone_is_made_up_for_by_the_others() -> None:
    made = balancer(A1, A2, B1, zone="a")
    assert made.update([B1], 200.0) == [A1, A2]
    assert picks(made) == {B1: 1000}
    assert balancer().pick(200.0) is None
