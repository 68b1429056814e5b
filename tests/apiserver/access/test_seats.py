"""Seats of priority levels: who gets some, who borrows, who waits and whose turn is next."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.tables import each_row
from tiphys.api import flowcontrol_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.access.prioritylevel import Counts, Flow, Level, Waiter, configure, shares
from tiphys.apiserver.http.request import User, parse
from tiphys.machinery.errors import StatusError

QUEUES = {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}}


def level(name: str, shares: int = 1, **limited: Any) -> v1.PriorityLevelConfiguration:
    limited = {"limitResponse": {"type": "Reject"}, "nominalConcurrencyShares": shares, **limited}
    made = v1.PriorityLevelConfiguration(metadata=ObjectMeta(name=name))
    spec = {"type": "Limited", "limited": limited}
    made.spec = from_builtins(spec, v1.PriorityLevelConfigurationSpec)
    return made


def fairness(*levels: v1.PriorityLevelConfiguration, seats: int = 8) -> Fairness:
    made = Fairness(stored(*levels), seats)
    made.flow_of(User("jane"), parse("GET", "/version", {}))
    return made


def flow(one: Level) -> Flow:
    return Flow("s", one, "s/jane", (), one.schemas.setdefault("s", Counts()))


def entered(made: Fairness, name: str, *widths: int) -> list[bool]:
    return [made.enter(made.levels[name], width) for width in widths]


def test_a_level_has_its_own_seats() -> None:
    made = fairness(level("a"), level("b"), seats=4)
    assert entered(made, "a", 1, 1, 1) == [True, True, False]
    made.leave(made.levels["a"])
    assert entered(made, "a", 1, 1) == [True, False]


def test_what_takes_several_leaves_half_to_what_takes_one() -> None:
    made = fairness(level("a"), seats=8)
    assert entered(made, "a", 4, 2, 1) == [True, False, True]
    made = fairness(level("a"), seats=8)
    assert entered(made, "a", 3, 2, 1) == [True, False, True]
    made = fairness(level("a"), seats=8)
    assert entered(made, "a", 2, 2, 2) == [True, True, False]
    made.leave(made.levels["a"], 2)
    assert entered(made, "a", 2) == [True]


def test_a_level_without_seats_serves_one_at_a_time() -> None:
    made = fairness(level("a", 0), level("b"), seats=8)
    assert entered(made, "a", 1, 1) == [True, False]
    made = fairness(level("a", 0), level("b"), seats=8)
    assert entered(made, "a", 7, 1) == [True, False]  # what it is, when nobody is there


@pytest.mark.parametrize(
    ("lends", "borrows", "taken"),
    [(0, None, 4), (50, None, 6), (100, None, 8), (100, 25, 5), (100, 0, 4), (50, 100, 6)],
)
def test_what_others_do_not_need_is_borrowed(lends: int, borrows: int | None, taken: int) -> None:
    limit = {} if borrows is None else {"borrowingLimitPercent": borrows}
    made = fairness(level("a", **limit), level("b", lendablePercent=lends), seats=8)
    assert entered(made, "a", *[1] * 9).count(True) == taken


def test_what_is_lent_is_lent_once() -> None:
    levels = [level("a"), level("b"), level("c", 2, lendablePercent=50)]
    made = fairness(*levels, seats=8)
    assert entered(made, "a", *[1] * 4).count(True) == 4  # its own two, and two of c's
    assert entered(made, "b", *[1] * 3).count(True) == 2
    assert entered(made, "c", *[1] * 4).count(True) == 4


def test_who_uses_all_lends_nothing() -> None:
    made = fairness(level("a"), level("b", lendablePercent=100), seats=8)
    assert entered(made, "b", *[1] * 3).count(True) == 3
    assert entered(made, "a", *[1] * 6).count(True) == 5


# --- waiting ---


async def reason_of(waiting: Any) -> str:
    try:
        await waiting
    except StatusError as error:
        return str(error.reason)
    return ""


async def waiters(made: Fairness, *widths: int) -> list[asyncio.Task[None]]:
    """Requests that wait at level a, in their order."""
    one = made.levels["a"]
    tasks = [asyncio.ensure_future(made.queue(flow(one), width)) for width in widths]  # fmt: skip
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_longest_is_served_first() -> None:
    made = fairness(level("a", limitResponse=QUEUES), seats=2)
    one = made.levels["a"]
    assert entered(made, "a", 1, 1) == [True, True]
    first, second = await waiters(made, 1, 1)
    assert one.waiting == 2 and flow(one).counts.waiting == 2
    made.leave(one)
    await asyncio.sleep(0)
    assert first.done() and not second.done() and one.used == 2
    made.leave(one)
    await second
    assert (one.waiting, one.used, flow(one).counts.waiting) == (0, 2, 0)


async def test_a_full_queue_refuses() -> None:
    made = fairness(level("a", limitResponse=QUEUES), seats=1)
    one = made.levels["a"]
    entered(made, "a", 1)
    tasks = await waiters(made, 1, 1)
    assert await reason_of(made.queue(flow(one))) == "TooManyRequests"
    assert one.refused == 1 and flow(one).counts.refused == {"queue-full": 1}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert one.waiting == 0


async def test_a_level_without_queues_refuses() -> None:
    made = fairness(level("a"), seats=1)
    one = made.levels["a"]
    entered(made, "a", 1)
    assert await reason_of(made.seat(flow(one), 1)) == "TooManyRequests"
    assert flow(one).counts.refused == {"concurrency-limit": 1}


async def test_who_goes_away_does_not_keep_his_turn() -> None:
    made = fairness(level("a", limitResponse=QUEUES), seats=1)
    one = made.levels["a"]
    entered(made, "a", 1)
    gone, served = await waiters(made, 1, 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    made.leave(one)
    await served
    assert one.used == 1 and one.waiting == 0


async def test_who_goes_as_he_is_served_gives_his_seats_to_the_next() -> None:
    made = fairness(level("a", limitResponse=QUEUES), seats=1)
    one = made.levels["a"]
    entered(made, "a", 1)
    gone, served = await waiters(made, 1, 1)
    made.leave(one)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await served
    assert one.used == 1


async def test_a_seat_is_counted_until_it_is_released_once() -> None:
    made = fairness(level("a"), seats=4)
    one = made.levels["a"]
    seat = await made.seat(flow(one), 1)
    counts = flow(one).counts
    assert (one.used, counts.served, counts.executing, counts.seats) == (1, 1, 1, 1)
    seat.release()
    seat.release()
    assert (one.used, counts.served, counts.executing, counts.seats) == (0, 1, 0, 0)


# --- levels ---


@each_row(
    [
        (400, 8, 100, 1),
        (400, 8, 101, 2),
        (400, 8, 0, 1),
        (400, 8, 100_000, 10),
        (40, 1, 100_000, 6),
        (40, 8, 100_000, 5),
        (1, 8, 100_000, 1),
        (0, 0, 100_000, 1),
        (245, 6, 950, 10),
        (49, 6, 100_000, 8),
        (5, 1, 100_000, 1),
    ],
)
def test_who_reads_much_takes_several_seats(
    nominal: int, hand: int, objects: int, seats: int
) -> None:
    """Ten at most, no more than 15 percent of the level, and so many that a hand of flows fits."""
    assert Level("a", nominal=nominal, hand=hand).width(objects) == seats


def test_a_flow_has_a_hand_of_queues_and_takes_the_shortest() -> None:
    one = Level("a", hand=2, queues=[deque() for _ in range(4)])
    first = one.shard("jane")
    assert one.shard("jane") == first
    one.queues[first].append(object())  # type: ignore[arg-type]
    second = one.shard("jane")
    assert second != first
    one.queues[second] += [object(), object()]  # type: ignore[list-item]
    assert one.shard("jane") == first  # the two that it has been dealt, whatever is free beside


def test_a_flow_keeps_to_its_hand_however_much_it_asks() -> None:
    one = Level("a", hand=3, queues=[deque() for _ in range(64)])
    dealt = set()
    for _ in range(30):
        index = one.shard("jane")
        dealt.add(index)
        one.queues[index].append(object())  # type: ignore[arg-type]
    assert len(dealt) == 3


def test_flows_are_spread_over_all_queues() -> None:
    one = Level("a", hand=1, queues=[deque() for _ in range(4)])
    assert {one.shard(f"user-{number}") for number in range(50)} == {0, 1, 2, 3}


def test_queues_are_served_in_turn() -> None:
    one = Level("a", queues=[deque(), deque(), deque()])
    order = [next(one.in_turn()) for _ in range(4)]
    assert [order[n] is one.queues[n % 3] for n in range(4)] == [True] * 4
    assert len(list(one.in_turn())) == 3


def queued(count: int) -> dict[str, Any]:
    queuing = {"queues": count, "handSize": 1, "queueLengthLimit": 9}
    return {"limitResponse": {"type": "Queue", "queuing": queuing}}


async def test_who_waits_is_spread_over_new_queues() -> None:
    one = Level("a")
    configure(one, level("a", **queued(1)), 8, 1)
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    one.queues[0].extend(Waiter(future) for future in futures)
    configure(one, level("a", **queued(2)), 8, 1)
    assert [[waiter.future for waiter in queue] for queue in one.queues] == [[futures[0], futures[2]], [futures[1]]]  # fmt: skip
    configure(one, level("a"), 8, 1)
    assert one.queues == [] and one.length == 0
    assert [await reason_of(future) for future in futures] == ["TooManyRequests"] * 3


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({"type": "Exempt"}, 0),
        ({"type": "Exempt", "exempt": {}}, 0),
        ({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 5}}, 5),
        ({"type": "Limited", "limited": {}}, 30),
        ({"type": "Limited", "limited": {"nominalConcurrencyShares": 0}}, 0),
        ({"type": "Limited"}, 30),
    ],
)
def test_how_many_shares_a_level_has(spec: dict[str, Any], count: int) -> None:
    made = v1.PriorityLevelConfiguration()
    made.spec = from_builtins(spec, v1.PriorityLevelConfigurationSpec)
    assert shares(made) == count


def test_an_exempt_level_has_seats_to_lend_and_no_limit() -> None:
    made = v1.PriorityLevelConfiguration(metadata=ObjectMeta(name="exempt"))
    body = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 1}}
    made.spec = from_builtins(body, v1.PriorityLevelConfigurationSpec)
    one = Level("exempt")
    configure(one, made, 8, 2)
    assert (one.exempt, one.nominal, one.queues) == (True, 4, [])
