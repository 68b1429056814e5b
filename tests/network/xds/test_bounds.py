"""How much clients of an xDS server may take of it."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.network.xds import bounds
from tiphys.network.xds.bounds import Held, OnTheWay, Share, TooMuch, weight


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_HELD_EACH", 10)
    monkeypatch.setattr(bounds, "_HELD", 15)
    monkeypatch.setattr(bounds, "_ON_THE_WAY", 10)
    monkeypatch.setattr(bounds, "_PAUSE", 0.001)


def test_names_weigh_their_text_and_what_stands_beside_it() -> None:
    assert weight([]) == 0
    assert weight(["a", "bc"]) == 3 + 2 * 64


def test_one_stream_may_keep_so_much_and_no_more() -> None:
    held, share = Held(), Share()
    held.keep(share, 10)
    with pytest.raises(TooMuch, match="a stream"):
        held.keep(share, 11)
    assert share.held == 10


def test_all_streams_together_may_keep_so_much_and_no_more() -> None:
    held, first, second = Held(), Share(), Share()
    held.keep(first, 10)
    held.keep(second, 5)
    with pytest.raises(TooMuch, match="the clients"):
        held.keep(second, 6)
    held.keep(first, 9)
    held.keep(second, 6)


def test_who_asks_for_no_more_than_before_is_never_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, share = Held(), Share()
    held.keep(share, 10)
    monkeypatch.setattr(bounds, "_HELD", 5)
    held.keep(share, 10)
    held.keep(share, 9)


def test_what_a_stream_kept_is_free_when_it_ends() -> None:
    held, first, second = Held(), Share(), Share()
    held.keep(first, 10)
    held.release(first)
    held.keep(second, 10)
    held.keep(first, 5)


async def sent(way: OnTheWay, size: int, done: asyncio.Event, going: asyncio.Event) -> None:
    async with way.sending(size):
        going.set()
        await done.wait()


async def test_an_answer_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_SLOW", 1000.0)
    way = OnTheWay()
    done = [asyncio.Event(), asyncio.Event()]
    going = [asyncio.Event(), asyncio.Event()]
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        tasks.create_task(sent(way, 6, done[0], going[0]))
        await going[0].wait()
        tasks.create_task(sent(way, 5, done[1], going[1]))
        tasks.create_task(sent(way, 4, done[1], asyncio.Event()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not going[1].is_set()
        done[0].set()
        await going[1].wait()
        done[1].set()


async def test_what_is_larger_than_all_room_goes_alone() -> None:
    way = OnTheWay()
    async with asyncio.timeout(20), way.sending(11):
        pass


async def test_the_slowest_reader_is_let_go_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_SLOW", -1.0)
    way = OnTheWay()
    going = asyncio.Event()
    slow = asyncio.ensure_future(sent(way, 10, asyncio.Event(), going))
    await going.wait()
    async with asyncio.timeout(20), way.sending(1):
        pass
    assert slow.cancelled()
