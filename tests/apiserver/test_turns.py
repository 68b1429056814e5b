"""Who may hold the event loop, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.apiserver.eventloop import turns
from tiphys.apiserver.eventloop.turns import Rounds, Turns


async def test_users_take_turns_however_many_requests_each_has() -> None:
    line, order = Turns(), list[str]()

    async def steps(user: str) -> None:
        for _ in range(4):
            await line.take(user)
            order.append(user)

    await asyncio.gather(*(steps("rush") for _ in range(20)), steps("other"))
    assert len(order) == 84
    last = len(order) - 1 - order[::-1].index("other")
    assert last < 20 + 8, "who asks for little waits behind each other user once for each step"


async def test_there_is_one_step_in_a_round_of_the_loop() -> None:
    line, rounds, steps = Turns(), 0, list[int]()

    def count() -> None:
        nonlocal rounds
        rounds += 1
        if len(steps) < 30:
            asyncio.get_running_loop().call_soon(count)

    async def step() -> None:
        await line.take("user")
        steps.append(rounds)

    count()
    await asyncio.gather(*(step() for _ in range(30)))
    assert max(steps.count(number) for number in steps) == 1


async def test_the_turn_of_who_went_away_is_the_next_ones() -> None:
    line = Turns()
    await line.take("first")
    waiting = [asyncio.ensure_future(line.take("user")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert [task.cancelled() for task in waiting] == [False, True, False]


async def test_callbacks_are_run_in_order_and_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, ran, looked = 0.0, list[int](), list[int]()
    monkeypatch.setattr(turns.time, "monotonic", lambda: clock)
    rounds = Rounds()

    def callback(number: int) -> None:
        nonlocal clock
        clock += 0.001
        ran.append(number)

    for number in range(20):
        rounds.add(lambda number=number: callback(number))  # type: ignore[misc]
    while len(ran) < 20:
        looked.append(len(ran))
        await asyncio.sleep(0)
    assert ran == list(range(20))
    assert len(looked) > 4, "the loop looks at its sockets between"


async def test_a_callback_that_fails_takes_no_other_with_it() -> None:
    rounds, ran = Rounds(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    def fails() -> None:
        raise RuntimeError

    rounds.add(fails)
    rounds.add(ran.set)
    await asyncio.wait_for(ran.wait(), 5)
