"""The primary's side of its replicas: what they are sent, and when one is given up."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.store.builders import PREFIX, cache, delete, key, put
from tiphys.store import sharing as module
from tiphys.store import wire
from tiphys.store.engine import Change, StoreError, Write
from tiphys.store.memory import MemoryEngine
from tiphys.store.sharing import SharedEngine, _changes_in_order
from tiphys.store.store import Store


class Inner(MemoryEngine):
    """Says of itself what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.error: StoreError | None = None

    def lags(self) -> bool:
        return True

    async def ping(self) -> None:
        self.calls.append("ping")
        if self.error is not None:
            raise self.error

    async def barrier(self) -> int:
        self.calls.append("barrier")
        return 7

    async def compact(self, revision: int) -> None:
        self.calls.append(f"compact {revision}")

    async def close(self) -> None:
        self.calls.append("close")


class Other:
    """The replica's end of a stream: what came, and what is said."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.gone = asyncio.Event()  # as the primary is told
        self.ours, self.theirs = socket.socketpair()
        self.stream = wire.Stream(wire.ToReplica, self.got.put_nowait, self.lost.set)

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self.stream, sock=self.ours)

    async def attach(self, engine: SharedEngine, store: Store) -> None:
        await engine.attach(self.theirs, store, self.gone.set)

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.got.get()


async def shared() -> tuple[Inner, SharedEngine, Store]:
    inner = Inner()
    engine = SharedEngine(inner)
    store = Store(engine)
    await store.open()
    return inner, engine, store


async def attached(engine: SharedEngine, store: Store) -> Other:
    other = Other()
    await other.connect()
    await other.attach(engine, store)
    assert isinstance(await other.next(), wire.Loaded)
    return other


def written(number: int) -> Write:
    return Write(f"/core/things/{number}", b'{"metadata":{"name":"x"}}')


async def test_everything_is_asked_of_the_engine_inside() -> None:
    inner, engine, store = await shared()
    assert engine.lags() and not engine.shared and await engine.barrier() == 7
    await engine.ping()
    await engine.compact(3)
    await store.close()
    assert inner.calls == ["barrier", "ping", "compact 3", "close"]


async def test_a_revision_is_published_before_anybody_hears_of_it() -> None:
    engine = SharedEngine(MemoryEngine())
    heard: list[int] = []
    await engine.open(lambda changes: heard.append(engine.published.revision))
    assert await engine.commit(written(1)) == 1 and heard == [1]
    engine._changed([])
    assert heard == [1], "nothing happened, so nobody is told"


async def test_a_store_that_was_written_to_is_published_as_far_as_it_is() -> None:
    inner = MemoryEngine()
    await inner.commit(written(1))
    engine = SharedEngine(inner)
    await engine.open(lambda changes: None)
    assert engine.published.revision == 1


async def test_what_a_replica_asks_is_answered() -> None:
    inner, engine, store = await shared()
    other = await attached(engine, store)
    other.stream.send(wire.frame(wire.Question(1, True)))
    assert await other.next() == wire.Revision(1, 7)
    other.stream.send(wire.frame(wire.Question(2, False)))
    assert await other.next() == wire.Revision(2, 0)
    assert inner.calls == ["barrier", "ping"]
    inner.error = StoreError("full")
    other.stream.send(wire.frame(wire.Question(3, False)))
    assert await other.next() == wire.Failed(3, "full", False)
    other.stream.send(wire.frame(wire.Commit(4, "/core/things/1", b"v", 9, 0)))
    assert await other.next() == wire.Conflicted(4, 0)
    await store.close()
    async with asyncio.timeout(10):
        await other.lost.wait()


async def test_a_replica_is_sent_each_change_and_what_is_forgotten() -> None:
    _, engine, store = await shared()
    others = [await attached(engine, store) for _ in range(2)]
    await engine.commit(written(1))
    await engine.compact(1)
    for other in others:
        changes = await other.next()
        assert [row[0] for row in changes.rows] == [1]
        assert await other.next() == wire.Compacted(1)
    others[0].stream.abort()
    async with asyncio.timeout(10):
        await others[0].gone.wait()
    assert len(engine._replicas) == 1 and not others[1].gone.is_set()
    await store.close()


async def test_a_replica_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine, store = await shared()
    slow, quick = Other(), await attached(engine, store)
    await slow.attach(engine, store)  # nobody reads at its end
    monkeypatch.setattr(module, "_MOST_UNSENT", 2 << 20)
    value = b'{"metadata":{"name":"x"},"data":"%b"}' % (b"x" * (1 << 20))
    for number in range(6):
        await engine.commit(Write(f"/core/things/{number}", value))
        await quick.next()
    async with asyncio.timeout(10):
        await slow.gone.wait()
    assert not quick.gone.is_set()
    slow.ours.close()
    await store.close()


async def test_what_is_held_for_a_replica_that_loads_counts_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = MemoryEngine()
    replica = module._Replica(inner, module.TaskGroup("replicas"))
    other = Other()
    await other.connect()
    await replica.connect(other.theirs, other.gone.set)
    monkeypatch.setattr(module, "_MOST_UNSENT", 20)
    replica.send(b"x" * 12)
    replica.send(b"x" * 8)
    assert not replica._stream.closed
    replica.send(b"x")
    assert replica._stream.closed
    async with asyncio.timeout(10):
        await other.gone.wait()


async def test_a_replica_that_goes_while_it_loads_is_sent_no_more() -> None:
    _, engine, store = await shared()
    await engine.commit(written(1))
    other = Other()
    other.ours.close()
    await other.attach(engine, store)
    async with asyncio.timeout(10):
        await other.gone.wait()
    assert not engine._replicas
    await store.close()


async def test_what_happened_before_a_load_is_in_it_and_not_after_it() -> None:
    _, engine, store = await shared()
    replica = module._Replica(engine, module.TaskGroup("replicas"))
    other = Other()
    await other.connect()
    await replica.connect(other.theirs, other.gone.set)
    replica.send(wire.frame(wire.Compacted(1)))  # held, and then of before the load
    await replica.load(store, True)
    replica.send(wire.frame(wire.Compacted(2)))
    loaded = await other.next()
    assert isinstance(loaded, wire.Loaded) and loaded.shared
    assert await other.next() == wire.Compacted(2)
    replica.abort()
    await store.close()


def rows(*changes: Change) -> list[tuple[int, str, bool]]:
    """Revision, name, and whether there is a value, of what a replica of a cache begins with."""
    made = cache(*changes)
    return [
        (change.revision, change.key.rpartition("/")[2], change.value is not None)
        for change in _changes_in_order([made.contents()])
    ]


@pytest.mark.parametrize(
    ("changes", "begins_with"),
    [
        ([], []),
        ([put(1, "a"), put(2, "b")], [(1, "a", True), (2, "b", True)]),
        ([put(1, "a"), put(2, "a")], [(1, "a", True), (2, "a", True)]),
        ([put(1, "a"), delete(2, "a")], [(1, "a", True), (2, "a", False)]),
        ([put(2, "b"), put(3, "a")], [(2, "b", True), (3, "a", True)]),
    ],
)
def test_a_replica_begins_with_what_led_here(
    changes: list[Change], begins_with: list[tuple[int, str, bool]]
) -> None:
    assert rows(*changes) == begins_with


def test_what_was_replaced_after_the_history_begins_is_sent_as_it_was() -> None:
    made = cache(put(1, "old"), put(2, "a", "x"), put(3, "a", "y"))
    made.forget(2)
    sent = list(_changes_in_order([made.contents()]))
    assert [(change.revision, change.key) for change in sent] == [
        (1, key("old")),
        (2, key("a")),
        (3, key("a")),
    ]
    assert sent[1].value is not None and b'"l":"x"' in sent[1].value
    assert b"resourceVersion" not in sent[1].value and PREFIX in sent[1].key
