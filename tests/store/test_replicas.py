"""A replica holds what the primary's caches hold, history included, and lags behind knowingly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tiphys.store.cache import Expired, Filter, ResourceCache
from tiphys.store.engine import StoreError, StoreTimeout, TooLarge, Write
from tiphys.store.memory import MemoryEngine
from tiphys.store.replica import ReplicaEngine
from tiphys.store.sharing import SharedEngine
from tiphys.store.store import Store

PREFIX = "/core/things/"


def thing(name: str, value: int = 0) -> bytes:
    return b'{"metadata":{"name":"%b"},"value":%d}' % (name.encode(), value)


class Refusing(MemoryEngine):
    """An engine that fails as `error` says, while there is one."""

    error: StoreError | None = None

    async def commit(self, write: Write) -> int:
        if self.error is not None:
            raise self.error
        return await super().commit(write)


class Primary:
    def __init__(self) -> None:
        self.inner = Refusing()
        self.engine = SharedEngine(self.inner)
        self.store = Store(self.engine)
        self.lost: list[str] = []

    async def put(self, name: str, value: int = 0) -> int:
        return await self.engine.commit(Write(f"{PREFIX}{name}", thing(name, value)))

    async def replica(self) -> Store:
        ours, theirs = socket.socketpair()
        engine = ReplicaEngine(theirs, self.engine.published, lambda: self.lost.append("primary"))
        store = Store(engine)
        engine.forget = store.forget
        await asyncio.gather(self.engine.attach(ours, self.store, lambda: None), store.open())
        return store


@pytest.fixture
async def primary() -> AsyncIterator[Primary]:
    made = Primary()
    await made.store.open()
    yield made
    await made.store.close()


def listed(store: Store) -> list[bytes]:
    return [entry.data for entry in store.cache(PREFIX)]


def events(cache: ResourceCache, since: int) -> list[tuple[str, int, bytes | None]]:
    taken = cache.watch(Filter(PREFIX), since, lambda: None).take()
    return [(kind, e.revision, e.previous and e.previous.data) for kind, e in taken]


async def test_a_replica_begins_with_objects_and_history(primary: Primary) -> None:
    first = await primary.put("a")
    await primary.put("a", 1)
    await primary.put("b")
    await primary.engine.commit(Write(f"{PREFIX}a", None))
    replica = await primary.replica()
    assert listed(replica) == listed(primary.store) and replica.revision == 4
    for since in (0, first, 3):
        assert events(replica.cache(PREFIX), since) == events(primary.store.cache(PREFIX), since)


async def test_forgotten_history_is_expired_in_a_replica_too(primary: Primary) -> None:
    for value in range(4):
        await primary.put("a", value)
    await primary.store.compact(2)
    replica = await primary.replica()
    assert [row[:2] for row in events(replica.cache(PREFIX), 2)] == [
        ("MODIFIED", 3),
        ("MODIFIED", 4),
    ]
    with pytest.raises(Expired):
        replica.cache(PREFIX).watch(Filter(PREFIX), 1, lambda: None)


async def test_what_the_primary_forgets_a_replica_forgets(primary: Primary) -> None:
    for value in range(4):
        await primary.put("a", value)
    replica = await primary.replica()
    await primary.store.compact(3)
    last = await primary.put("a", 4)
    await replica.fresh()
    assert replica.cache(PREFIX).floor == 3 and replica.revision == last
    with pytest.raises(Expired):
        replica.cache(PREFIX).watch(Filter(PREFIX), 2, lambda: None)


async def test_what_is_not_an_object_is_not_in_a_replica_either(primary: Primary) -> None:
    primary.store._checks_changes = True
    await primary.put("a")
    await primary.engine.commit(Write(f"{PREFIX}b", b"[]"))
    replica = await primary.replica()
    assert replica.cache(PREFIX).corrupt == primary.store.cache(PREFIX).corrupt
    assert len(listed(replica)) == 1


async def test_whoever_reads_one_replica_sees_what_another_wrote(primary: Primary) -> None:
    one, other = await primary.replica(), await primary.replica()
    for value in range(50):
        entry = await one.put(one.cache(PREFIX), f"{PREFIX}a", thing("a", value), None)
        assert other.lags() or other.revision == entry.revision
        assert await other.fresh() >= entry.revision
        assert listed(other) == [entry.data] == listed(one)


async def test_changes_during_the_load_come_after_it(primary: Primary) -> None:
    for value in range(200):
        await primary.put(f"a{value}")
    loading = asyncio.gather(primary.replica(), *(primary.put("b", n) for n in range(100)))
    replica = (await loading)[0]
    await replica.fresh()
    assert listed(replica) == listed(primary.store) and len(listed(replica)) == 201


@pytest.mark.parametrize("error", [StoreError("full"), StoreTimeout("late"), TooLarge()])
async def test_a_write_fails_through_a_replica_as_it_fails_at_the_primary(
    primary: Primary, error: StoreError
) -> None:
    replica = await primary.replica()
    primary.inner.error = error
    async with asyncio.timeout(10):
        with pytest.raises(StoreError) as failure:
            await replica.put(replica.cache(PREFIX), f"{PREFIX}a", thing("a"), None)
    assert type(failure.value) is type(error) and str(failure.value) == str(error)
    primary.inner.error = None
    assert await replica.put(replica.cache(PREFIX), f"{PREFIX}a", thing("a"), None)


async def test_without_its_primary_a_replica_writes_and_promises_nothing(primary: Primary) -> None:
    replica = await primary.replica()
    await primary.engine.close()
    with pytest.raises(StoreError):
        await replica.put(replica.cache(PREFIX), f"{PREFIX}a", thing("a"), None)
    assert primary.lost == ["primary"]
