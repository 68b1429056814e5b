"""What the etcd engine does beyond the contract: leases, other writers, compaction by others,
restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.etcds import etcd_in
from tiphys.store import etcdpb as pb
from tiphys.store.cache import Expired, Filter
from tiphys.store.engine import Change, StoreError, TooLarge, Write
from tiphys.store.etcd import EtcdEngine
from tiphys.store.store import Store


async def test_a_key_of_etcd_ends_with_its_lease(etcd: str, tmp_path: Path) -> None:
    ended = asyncio.Event()

    def listen(changes: Any) -> None:
        if any(change.value is None for change in changes):
            ended.set()

    engine = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    await engine.open(listen)
    await engine.commit(Write("/a/b/short", b"1", 0, 3600))
    first = await engine._leases.of(3600)
    await engine.commit(Write("/a/b/other", b"1", 0))
    assert await engine._leases.of(3600) == first, (
        "keys written at about the same time share a lease"
    )
    await engine._leases.end(first)
    async with asyncio.timeout(10):
        await ended.wait()
    assert list(engine._live) == ["/a/b/other"]
    await engine.close()


async def stored(etcd: str, prefix: str) -> Store:
    made = Store(EtcdEngine([etcd], prefix=prefix))
    await made.open()
    return made


async def test_watches_resume_over_a_restart_as_far_as_etcd_remembers(
    etcd: str, tmp_path: Path
) -> None:
    first = await stored(etcd, f"/{tmp_path.name}")
    cache = first.cache("/a/b/")
    made = await first.put(cache, "/a/b/x", b'{"metadata":{"name":"x"}}', 0)
    changed = await first.put(
        cache, "/a/b/x", b'{"metadata":{"name":"x","uid":"1"}}', made.revision
    )
    gone = await first.delete("/a/b/x", changed.revision)
    await first.close()

    second = await stored(etcd, f"/{tmp_path.name}")
    watcher = second.cache("/a/b/").watch(Filter("/a/b/"), made.revision, lambda: None)
    seen = [
        (event.revision, event.entry is None)
        for event in second.cache("/a/b/").events
        if event.revision > made.revision
    ]
    assert watcher.behind and seen == [(changed.revision, False), (gone, True)]
    await second.compact(changed.revision)
    await second.close()

    third = await stored(etcd, f"/{tmp_path.name}")
    with pytest.raises(Expired):
        third.cache("/a/b/").watch(Filter("/a/b/"), made.revision, lambda: None)
    third.cache("/a/b/").watch(Filter("/a/b/"), changed.revision, lambda: None)
    assert third.cache("/a/b/").get("/a/b/x") is None and third.revision >= gone
    await third.close()


async def test_how_far_the_watch_is_is_known_by_a_mark_of_our_own(
    etcd: str, tmp_path: Path
) -> None:
    """etcd 3.4.23 says its newest revision while older changes have yet to be sent."""
    other = EtcdEngine([etcd], prefix=f"/{tmp_path.name}-other")
    engine = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    seen: list[Change] = []
    await other.open(lambda changes: None)
    await engine.open(seen.extend)
    foreign = await other.commit(Write("/a/b/x", b"1", 0))
    assert await engine.barrier() >= foreign, "although no change of ours came since"
    mark = await engine._etcd.range(pb.RangeRequest(key=engine._mark_key), timeout=5)
    assert mark.kvs[0].mod_revision > foreign
    assert not seen and not engine._live, "the mark is no object"
    await other.close()
    await engine.close()


async def test_a_server_starts_on_an_etcd_that_is_full(tmp_path: Path) -> None:
    """No mark can be written there. What etcd says of its watch is believed then."""
    with etcd_in(tmp_path / "data", quota_backend_bytes=str(1 << 20)) as address:
        other = EtcdEngine([address], prefix="/other")
        await other.open(lambda changes: None)
        with pytest.raises(StoreError, match="database space exceeded"):
            for number in range(100):
                await other.commit(Write(f"/a/b/{number}", bytes(100_000), 0))
        await other.close()
        engine = EtcdEngine([address])
        await engine.open(lambda changes: None)
        assert await engine.barrier() > 1
        await engine.close()


async def test_a_server_that_missed_compacted_changes_goes_on_from_what_is_live(
    etcd: str, tmp_path: Path
) -> None:
    """Its watch was broken while another server wrote, and compacted all of that."""
    seen: list[Change] = []
    late = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    await late.open(seen.extend)
    kept = await late.commit(Write("/a/b/kept", b"1", 0))
    changed = await late.commit(Write("/a/b/changed", b"1", 0))
    deleted = await late.commit(Write("/a/b/deleted", b"1", 0))
    await late._tasks.stop()
    seen.clear()

    other = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    await other.open(lambda changes: None)
    again = await other.commit(Write("/a/b/changed", b"2", changed))
    created = await other.commit(Write("/a/b/created", b"1", 0))
    await other.commit(Write("/a/b/deleted", None, deleted))
    newest = await other.commit(Write("/a/b/created", b"2", created))
    await other.compact(newest)

    late._tasks.start(late._follow(), "watch")
    assert await late.barrier() >= newest
    assert [(change.key, change.value, change.previous) for change in seen] == [
        ("/a/b/changed", b"2", changed),
        ("/a/b/created", b"2", 0),
        ("/a/b/deleted", None, deleted),
    ]
    *written, deletion = [change.revision for change in seen]
    assert written == [again, newest] and deletion >= newest and kept < changed
    assert await late.commit(Write("/a/b/created", b"3", newest)) > newest
    await other.close()
    await late.close()


async def test_writes_of_others_under_other_keys_do_not_hold_up_a_read(
    etcd: str, tmp_path: Path
) -> None:
    engine = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    other = EtcdEngine([etcd], prefix=f"/{tmp_path.name}-other")
    await engine.open(lambda changes: None)
    await other.open(lambda changes: None)
    revision = await other.commit(Write("/a/b/x", b"1", 0))
    async with asyncio.timeout(10):
        assert await engine.barrier() >= revision
    await other.close()
    await engine.close()


async def test_what_etcd_does_not_take_is_too_large(etcd: str, tmp_path: Path) -> None:
    engine = EtcdEngine([etcd], prefix=f"/{tmp_path.name}")
    await engine.open(lambda changes: None)
    with pytest.raises(TooLarge, match="etcdserver: request is too large"):
        await engine.commit(Write("/a/b/large", b"x" * (1600 << 10), 0))
    assert await engine.commit(Write("/a/b/large", b"x" * (1500 << 10), 0))
    await engine.close()
