from __future__ import annotations

import asyncio
import json

import pytest

from tests.apiserver.registry.builders import registry
from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.apiserver.registry import expiry
from tiphys.apiserver.registry.expiry import expired
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import timestamps
from tiphys.store.cache import Entry, Filter

EVENTS = resource_of(core_v1.Event)
START = "2026-01-01T00:00:00Z"


def event(name: str, **times: str) -> Entry:
    body = {"metadata": {"name": name, "creationTimestamp": START}, **times}
    return Entry(name, 1, json.dumps(body, separators=(",", ":")).encode(), ())


def test_an_event_ends_an_hour_after_it_was_last_seen() -> None:
    old, repeated = event("old"), event("repeated", lastTimestamp="2026-01-01T00:30:00Z")
    start = timestamps.parse(START)
    assert expired([old, repeated], start + 3599, 3600) == []
    assert expired([old, repeated], start + 3700, 3600) == [old]
    assert expired([old, repeated], start + 7200, 3600) == [old, repeated]


async def test_expired_events_are_deleted_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "EVERY", 0.001)
    now = timestamps.parse(START) + 3700
    later = {"lastTimestamp": "2026-01-01T00:30:00Z"}
    tasks = TaskGroup("expiry")
    async with registry() as objects:
        cache = objects.cache(EVENTS)
        for entry in (event("old"), event("new", **later)):
            await objects.store.put(cache, EVENTS.key("default", entry.key), entry.data, 0)
        changed = asyncio.Event()
        cache.watch(Filter(EVENTS.prefix), objects.store.revision, changed.set)
        tasks.start(expiry.expire_events(objects.store, lambda: now, 3600), "events")
        async with asyncio.timeout(20):
            await changed.wait()
        assert [entry.key for entry in cache] == [EVENTS.key("default", "new")]
        await tasks.stop()
