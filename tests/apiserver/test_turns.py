"""Who may hold the event loop, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.apiserver.eventloop import turns, worker
from tiphys.apiserver.eventloop.turns import Pace, Rounds, Turns
from tiphys.apiserver.eventloop.workers import Workers
from tiphys.machinery.errors import StatusError


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


async def test_a_job_that_takes_too_much_processor_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Workers._started

    async def started_and_exhausted() -> asyncio.subprocess.Process:
        process = await start()
        process.send_signal(worker.EXHAUSTED)
        return process

    monkeypatch.setattr(Workers, "_started", staticmethod(started_and_exhausted))
    with pytest.raises(StatusError, match="took too long") as given_up:
        await Workers().run(worker.READ_YAML, b"a: 1")
    assert given_up.value.code == 504


async def test_a_flow_at_a_pace_lets_others_go_between_two_things() -> None:
    line, order = Turns(), list[str]()

    async def work(flow: str) -> None:
        pace = Pace(line, flow)
        for _ in range(3):
            order.append(flow)
            pace._until = 0.0  # as if a millisecond had passed
            await pace.next()

    await asyncio.gather(work("a"), work("b"))
    assert "b" in order[:3] and "a" in order[3:]
