"""The store over the memory engine, and over one that is slow or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from tests.store.builders import until, value
from tiphys.store import store as module
from tiphys.store.cache import Expired, Filter
from tiphys.store.corruption import prefix_of
from tiphys.store.engine import (
    TOO_LARGE,
    Change,
    Conflict,
    Listener,
    Snapshot,
    StoreError,
    StoreTimeout,
    TooLarge,
)
from tiphys.store.engine import Write as EngineWrite
from tiphys.store.entries import Entry
from tiphys.store.memory import MemoryEngine
from tiphys.store.metrics import StoreMetrics
from tiphys.store.store import Retention, Store

PODS = "/core/pods/"
KEY = "/core/pods/ns/a"


class Faulty(MemoryEngine):
    """Answers when `answers` is set, and fails while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()
        self.broken = False
        self.pings = 0
        self.compacted: list[int] = []

    async def _answer(self) -> None:
        await self.answers.wait()
        if self.broken:
            raise StoreError("broken")

    async def commit(self, write: EngineWrite) -> int:
        await self._answer()
        return await super().commit(write)

    async def ping(self) -> None:
        self.pings += 1
        await self._answer()

    async def compact(self, revision: int) -> None:
        self.compacted.append(revision)
        await self._answer()


@pytest.fixture
async def engine() -> Faulty:
    return Faulty()


@pytest.fixture
async def store(engine: Faulty) -> AsyncIterator[Store]:
    made = Store(engine)
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("key", "prefix"), [(KEY, PODS), ("/g/widgets/x", "/g/widgets/"), ("/g/w/ns/x/y", "/g/w/")]
)
def test_a_key_begins_with_the_prefix_of_its_resource(key: str, prefix: str) -> None:
    assert prefix_of(key) == prefix


async def test_what_was_written_can_be_read_at_once(store: Store) -> None:
    entry = await store.put(store.cache(PODS), KEY, value(), 0)
    assert store.cache(PODS).get(KEY) is entry and store.revision == entry.revision == 1
    assert (store.counts(), store.commits) == ({PODS: 1}, 1)
    assert await store.delete(KEY, 1) == 2
    assert (store.counts(), store.commits, await store.fresh()) == ({PODS: 0}, 2, 2)


async def test_a_writer_gets_what_it_wrote_though_it_was_replaced_meanwhile(
    store: Store, engine: Faulty
) -> None:
    engine.answers.clear()
    puts = [
        asyncio.ensure_future(store.put(store.cache(PODS), KEY, value(label), None))
        for label in ("x", "y")
    ]
    await asyncio.sleep(0)
    engine.answers.set()
    first, second = await asyncio.gather(*puts)
    assert (first.revision, second.revision) == (1, 2)
    assert first.labels == {"l": "x"} and second.labels == {"l": "y"}


async def test_a_conflict_names_the_current_revision(store: Store) -> None:
    await store.put(store.cache(PODS), KEY, value(), 0)
    with pytest.raises(Conflict) as conflict:
        await store.put(store.cache(PODS), KEY, value(), 0)
    assert conflict.value.current == 1


async def test_an_engine_that_does_not_answer_is_waited_for_until_the_deadline(
    engine: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.01)
    store = Store(engine)
    await store.open()
    engine.answers.clear()
    with pytest.raises(StoreTimeout, match="did not answer"):
        await store.delete(KEY, None)
    await store.close()


@pytest.mark.parametrize("fault", ["broken", "silent"])
async def test_a_write_that_fails_is_counted(
    engine: Faulty, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.01)
    registry = CollectorRegistry()
    store = Store(engine, metrics=StoreMetrics(registry))
    await store.open()
    engine.broken = fault == "broken"
    if fault == "silent":
        engine.answers.clear()
    with pytest.raises(StoreError):
        await store.delete(KEY, None)
    labels = {"operation": "delete", "group": "", "resource": "pods"}
    assert registry.get_sample_value("etcd_request_errors_total", labels) == 1
    await store.close()


async def test_a_write_that_is_made_is_timed(engine: Faulty) -> None:
    registry = CollectorRegistry()
    store = Store(engine, metrics=StoreMetrics(registry))
    await store.open()
    made = await store.put(store.cache(PODS), KEY, value(), 0)
    await store.delete(KEY, made.revision)
    for operation in ("create", "delete"):
        labels = {"operation": operation, "group": "", "resource": "pods"}
        assert registry.get_sample_value("etcd_request_duration_seconds_count", labels) == 1
    await store.close()


async def test_health_is_asked_once_for_all_who_wait(store: Store, engine: Faulty) -> None:
    engine.answers.clear()
    assert await asyncio.gather(*(store.answers(0.01) for _ in range(3))) == [False] * 3
    assert engine.pings == 1
    engine.answers.set()
    assert await store.answers(5) and engine.pings == 1
    engine.broken = True
    assert not await store.answers(5) and engine.pings == 2


async def test_waiting_for_a_revision_ends_when_it_comes_or_in_time(store: Store) -> None:
    assert not await store.reached(1, 0.01)
    waiting = [asyncio.ensure_future(store.reached(revision, 5)) for revision in (1, 2)]
    await asyncio.sleep(0)
    await store.put(store.cache(PODS), KEY, value(), 0)
    assert await waiting[0] and not waiting[1].done()
    await store.delete(KEY, None)
    assert await waiting[1] and await store.reached(2, 0)


async def test_compaction_forgets_in_memory_and_on_disk_and_goes_on_after_a_failure(
    store: Store, engine: Faulty
) -> None:
    pods = store.cache(PODS)
    for _ in range(3):
        await store.put(pods, KEY, value(), None)
    engine.broken = True
    await store.compact(2)
    assert pods.floor == 2 and [event.revision for event in pods.events] == [3]
    await store.compact(2)
    await store.compact(1)
    await store.compact(3)
    assert engine.compacted == [2, 3]


def test_history_stays_for_five_rounds() -> None:
    retention = Retention(10)
    compacted = [retention.next_round(revision) for revision in (20, 30, 40, 50, 60, 70)]
    assert compacted == [None, None, None, None, 10, 20]


class Restarted(MemoryEngine):
    """Has a snapshot, and tells of changes before `open` has returned."""

    async def open(self, listener: Listener) -> Snapshot:
        listener([Change(4, "/core/pods/ns/b", value(), 0)])
        listener([Change(5, "/core/pods/ns/c", value(), 0)])
        changes = [
            Change(2, KEY, value(), 0),
            Change(3, KEY, value(), 2),
            Change(4, "/core/pods/ns/b", value(), 0),
        ]
        return Snapshot(4, 2, changes)


async def test_history_begins_where_the_engine_was_compacted() -> None:
    store = Store(Restarted())
    await store.open()
    pods = store.cache(PODS)
    assert store.revision == 5 and [event.revision for event in pods.events] == [3, 4, 5]
    assert pods.watch(Filter(PODS), 2, lambda: None).behind
    for resource in (pods, store.cache("/core/nodes/")):
        with pytest.raises(Expired):
            resource.watch(Filter(resource.prefix), 1, lambda: None)
        with pytest.raises(Expired):
            resource.candidates_at(resource.prefix, 1)
    await store.close()


class Broken(MemoryEngine):
    """Has values that are not objects."""

    async def open(self, listener: Listener) -> Snapshot:
        changes = [Change(1, KEY, b"[]", 0), Change(2, "nonsense", value(), 0)]
        return Snapshot(2, 0, [*changes, Change(3, "/core/pods/ns/b", value(), 0)])


async def test_values_that_are_not_objects_are_noted_under_their_resource() -> None:
    store = Store(Broken())
    await store.open()
    pods = store.cache(PODS)
    assert list(pods.corrupt) == [KEY] and list(store.counts()) == [PODS]
    assert len(pods) == 1 and store.revision == 3
    assert pods.corruptions == 1
    await store.close()


async def test_an_object_has_so_many_bytes_at_the_most(store: Store, engine: Faulty) -> None:
    body = b'{"metadata":{"name":"x"},"data":"%b"}'
    most = body % (b"x" * (module.MOST_BYTES - len(body) + 2))
    pods = store.cache(PODS)
    with pytest.raises(TooLarge, match=TOO_LARGE):
        await store.put(pods, KEY, most + b" ", None)
    assert store.commits == 0
    await store.put(pods, KEY, most, None)
    assert store.commits == 1


async def test_a_creation_is_one_and_every_other_write_an_update(engine: Faulty) -> None:
    registry = CollectorRegistry()
    store = Store(engine, metrics=StoreMetrics(registry))
    await store.open()
    pods = store.cache(PODS)
    first = await store.put(pods, KEY, value(), 0)
    await store.put(pods, KEY, value(), first.revision)
    await store.put(pods, KEY, value(), None)
    with pytest.raises(Conflict):
        await store.delete("nonsense", None)
    name = "etcd_request_duration_seconds_count"

    def count(operation: str, resource: str) -> float | None:
        labels = {"operation": operation, "group": "", "resource": resource}
        return registry.get_sample_value(name, labels)

    assert (count("create", "pods"), count("update", "pods"), count("delete", "")) == (1, 2, 1)
    labels = {"operation": "delete", "group": "", "resource": ""}
    assert registry.get_sample_value("etcd_request_errors_total", labels) is None, "no fault of its"
    await store.close()


async def test_a_write_that_was_undone_meanwhile_is_returned_as_it_was(
    store: Store, engine: Faulty
) -> None:
    engine.answers.clear()
    put = asyncio.ensure_future(store.put(store.cache(PODS), KEY, value(), None))
    gone = asyncio.ensure_future(store.delete(KEY, None))
    await asyncio.sleep(0)
    engine.answers.set()
    assert (await put).revision == 1 and await gone == 2
    assert b'"resourceVersion":"1"' in (await put).data


class Lagging(MemoryEngine):
    """Of a store that others write to, or one that is not as far as it could be."""

    def __init__(self, shared: bool, lags: bool) -> None:
        super().__init__()
        self.shared = shared
        self._lags = lags
        self.asked = 0

    def lags(self) -> bool:
        return self._lags

    async def barrier(self) -> int:
        self.asked += 1
        return 7


@pytest.mark.parametrize(
    ("shared", "lags", "asked"), [(False, False, 0), (True, False, 1), (False, True, 1)]
)
async def test_who_reads_asks_the_engine_only_where_it_may_be_further(
    shared: bool, lags: bool, asked: int
) -> None:
    engine = Lagging(shared, lags)
    store = Store(engine)
    await store.open()
    assert (store.is_shared, store.lags(), store.must_ask) == (shared, lags, bool(asked))
    assert await store.fresh() == (7 if asked else 0) and engine.asked == asked
    await store.close()


async def test_a_waiter_that_left_is_not_woken(store: Store) -> None:
    waiting = [asyncio.ensure_future(store.reached(1, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await store.put(store.cache(PODS), KEY, value(), 0)
    assert await waiting[1] and not store._waiters


@pytest.mark.parametrize("shared", [True, False])
async def test_what_others_write_is_looked_at_and_what_we_write_is_not(shared: bool) -> None:
    engine = Lagging(shared, False)
    store = Store(engine)
    await store.open()
    engine._listener([Change(1, KEY, b'{"metadata":{"labels":{}}}', 0)])
    assert list(store.cache(PODS).corrupt) == ([KEY] if shared else [])
    await store.close()


async def test_history_is_compacted_every_minute_once_it_is_five_rounds_old(
    engine: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_EVERY", 0.01)
    monkeypatch.setattr(module, "KEEP", 2)
    store = Store(engine)
    await store.open()
    made = await store.put(store.cache(PODS), KEY, value(), 0)
    await until(lambda: made.revision in engine.compacted)
    assert engine.compacted == [made.revision], "there is nothing more to forget"
    await store.close()


async def test_the_past_is_compressed_and_the_present_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PACKED_AT_ONCE", 3)
    pods = store.cache(PODS)
    body = b'{"metadata":{"name":"x"},"data":"%b","number":%d}'
    for number in range(270):
        await store.put(pods, KEY, body % (b"x" * 600, number), None)
    await store.compress_history()
    packed = [
        event.previous is not None and type(event.previous) is not Entry for event in pods.events
    ]
    assert packed.index(False, 1) == packed.count(True) + 1 == 14
    assert b'"number":5' in pods.candidates_at(PODS, 6)[0].data


class Seeded(MemoryEngine):
    """Knows that a value is broken, and where the history of one resource begins."""

    async def open(self, listener: Listener) -> Snapshot:
        row = (KEY, 6, "broken")
        changes = [Change(5, "/core/pods/ns/b", value(), 0)]
        return Snapshot(9, 3, changes, {PODS: 5}, [row, ("nonsense", 7, "broken")])


async def test_a_snapshot_says_what_is_broken_and_where_histories_begin() -> None:
    store = Store(Seeded())
    await store.open()
    pods = store.cache(PODS)
    assert store.revision == 9 and list(pods.corrupt) == [KEY]
    assert pods.floor == 6 and store.cache("/core/nodes/").floor == 3
    [contents] = [one for one in store.contents() if one.prefix == PODS]
    assert [entry.key for entry in contents.entries] == ["/core/pods/ns/b"]
    assert [(one.key, one.fault) for one in contents.corrupt] == [(KEY, "broken")]
    await store.compact(3)
    assert store.cache("/core/nodes/").floor == 3
    await store.close()
