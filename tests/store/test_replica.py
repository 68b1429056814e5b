"""A replica's side of the stream: what it makes of what its primary says, and of its silence."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.store.builders import until
from tiphys.store import replica as module
from tiphys.store import wire
from tiphys.store.engine import Change, Conflict, StoreError, StoreTimeout, TooLarge, Write
from tiphys.store.replica import ReplicaEngine

GONE = "the server's primary process is gone"


class Primary:
    """Speaks to a replica as it is told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Any] = asyncio.Queue()
        self.published = wire.Published()
        self.lost = 0
        self.heard: list[Change] = []
        ours, theirs = socket.socketpair()
        self._end = ours
        self.stream = wire.Stream(wire.FromReplica, self.asked.put_nowait, lambda: None)
        self.replica = ReplicaEngine(theirs, self.published, self._lose)

    def _lose(self) -> None:
        self.lost += 1

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self.stream, sock=self._end)

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.stream.send(wire.frame(message))

    async def opened(self, shared: bool = False) -> Any:
        self.say(wire.Changes([(3, "/a/b/x", b"v", 0)]), wire.Changes([(4, "/a/b/y", b"v", 0)]))
        self.say(wire.Loaded(5, 2, {"/a/b/": 1}, [("/a/b/z", 5, "broken")], shared))
        return await self.replica.open(self.heard.extend)

    async def heard_of(self, revision: int) -> None:
        await until(lambda: self.heard and self.heard[-1].revision >= revision)


@pytest.fixture
async def primary() -> AsyncIterator[Primary]:
    made = Primary()
    await made.connect()
    yield made
    made.stream.abort()


async def test_what_comes_before_the_end_of_the_load_is_the_snapshot(primary: Primary) -> None:
    snapshot = await primary.opened(shared=True)
    assert [change.revision for change in snapshot.changes] == [3, 4] and not primary.heard
    assert (snapshot.revision, snapshot.compacted, snapshot.floors) == (5, 2, {"/a/b/": 1})
    assert snapshot.corrupt == [("/a/b/z", 5, "broken")] and primary.replica.shared
    primary.say(wire.Changes([(6, "/a/b/x", None, 3), (7, "/a/b/y", None, 4)]))
    await primary.heard_of(7)
    assert primary.heard == [Change(6, "/a/b/x", None, 3), Change(7, "/a/b/y", None, 4)]


async def test_a_replica_lags_until_it_has_what_was_published(primary: Primary) -> None:
    await primary.opened()
    assert not primary.replica.lags() and await primary.replica.barrier() == 5
    primary.published.advance(5)
    assert not primary.replica.lags()
    primary.published.advance(7)
    assert primary.replica.lags()
    reading = asyncio.ensure_future(primary.replica.barrier())
    primary.say(wire.Changes([(6, "/a/b/x", None, 3)]))
    await primary.heard_of(6)
    assert not reading.done() and primary.replica.lags()
    primary.say(wire.Changes([(7, "/a/b/y", None, 4)]))
    assert await reading == 7 and not primary.replica.lags()
    assert primary.asked.empty(), "it asks nobody where the primary is alone"


async def test_a_read_waits_so_long_for_what_was_published(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    await primary.opened()
    primary.published.advance(7)
    for _ in range(2):
        with pytest.raises(StoreError, match="revision 7 has not come yet"):
            await primary.replica.barrier()
    assert not primary.replica._waiters


async def test_where_others_write_too_the_primary_is_asked_how_far_it_is(primary: Primary) -> None:
    await primary.opened(shared=True)
    reading = asyncio.ensure_future(primary.replica.barrier())
    question = await primary.asked.get()
    assert question == wire.Question(1, True)
    primary.published.advance(6)
    primary.say(wire.Revision(question.id, 6), wire.Changes([(6, "/a/b/x", None, 3)]))
    assert await reading == 6


WRITE = Write("/a/b/x", b"v", 3, 60)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda id: wire.Conflicted(id, 9), Conflict("/a/b/x", 9)),
        (lambda id: wire.Failed(id, "full", False), StoreError("full")),
        (lambda id: wire.Failed(id, "late", True), StoreTimeout("late")),
        (lambda id: wire.Failed(id, "etcdserver: request is too large", False), TooLarge()),
    ],
)
async def test_a_write_fails_as_the_primary_says(
    primary: Primary, answer: Any, error: Exception
) -> None:
    await primary.opened()
    writing = asyncio.ensure_future(primary.replica.commit(WRITE))
    commit = await primary.asked.get()
    assert commit == wire.Commit(1, "/a/b/x", b"v", 3, 60)
    primary.say(answer(commit.id))
    with pytest.raises(type(error)) as failure:
        await writing
    assert type(failure.value) is type(error) and str(failure.value) == str(error)


async def test_answers_find_who_asked_whatever_their_order(primary: Primary) -> None:
    await primary.opened()
    asking = [asyncio.ensure_future(primary.replica.commit(WRITE)) for _ in range(3)]
    ids = [(await primary.asked.get()).id for _ in asking]
    asking[1].cancel()
    await asyncio.sleep(0)
    primary.say(*(wire.Revision(id, 10 + id) for id in reversed(ids)))
    assert [await asking[0], await asking[2]] == [10 + ids[0], 10 + ids[2]]
    assert not primary.replica._asked


async def test_a_ping_is_answered_by_the_primary(primary: Primary) -> None:
    await primary.opened()
    ping = asyncio.ensure_future(primary.replica.ping())
    question = await primary.asked.get()
    assert question == wire.Question(1, False) and not ping.done()
    primary.say(wire.Failed(question.id, "full", False))
    with pytest.raises(StoreError, match="full"):
        await ping


async def test_history_is_forgotten_when_the_primary_says_so(primary: Primary) -> None:
    forgotten: list[int] = []
    await primary.opened()
    primary.say(wire.Compacted(1))  # nobody is told of it yet
    primary.replica.forget = forgotten.append
    await primary.replica.compact(9)
    primary.say(wire.Compacted(3), wire.Changes([(6, "/a/b/x", None, 3)]))
    await primary.heard_of(6)
    assert forgotten[-1] == 3 and primary.asked.empty()


async def test_everybody_who_waits_hears_that_the_primary_is_gone(primary: Primary) -> None:
    await primary.opened()
    primary.published.advance(7)
    waiting = [
        asyncio.ensure_future(primary.replica.commit(WRITE)),
        asyncio.ensure_future(primary.replica.barrier()),
    ]
    await primary.asked.get()
    primary.stream.abort()
    for task in waiting:
        with pytest.raises(StoreError, match=GONE):
            await task
    assert primary.lost == 1
    with pytest.raises(StoreError, match=GONE):
        await primary.replica.ping()


async def test_a_primary_that_goes_during_the_load_is_an_error(primary: Primary) -> None:
    opening = asyncio.ensure_future(primary.replica.open(primary.heard.extend))
    primary.say(wire.Changes([(3, "/a/b/x", b"v", 0)]))
    await asyncio.sleep(0)
    primary.stream.abort()
    with pytest.raises(StoreError, match=GONE):
        await opening


async def test_a_replica_that_is_closed_misses_nobody(primary: Primary) -> None:
    await primary.opened()
    await primary.replica.close()
    await until(lambda: primary.replica._stream.closed)
    await asyncio.sleep(0)
    assert primary.lost == 0
