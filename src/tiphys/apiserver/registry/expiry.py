"""Events end after an hour, as upstream's do: old events must not fill the store.

etcd ends them by itself; on the other engines this loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from tiphys.api.catalog import BY_PATH
from tiphys.machinery import timestamps
from tiphys.store.cache import Entry
from tiphys.store.engine import Conflict, StoreError
from tiphys.store.store import Store

EVERY = 60.0  # seconds between looks
_EVENTS = BY_PATH["", "v1", "events"]


class _Meta(msgspec.Struct):
    creationTimestamp: str = ""


class _Seen(msgspec.Struct):
    metadata: _Meta
    lastTimestamp: str | None = None
    eventTime: str | None = None


_seen = msgspec.json.Decoder(_Seen).decode


def expired(entries: Iterable[Entry], now: float, lifetime: float) -> list[Entry]:
    """The events whose last change was more than `lifetime` seconds ago."""
    gone = []
    for entry in entries:
        event = _seen(entry.data)
        times = (event.lastTimestamp, event.eventTime, event.metadata.creationTimestamp)
        if now - max(timestamps.parse(text) for text in times) > lifetime:
            gone.append(entry)
    return gone


async def expire_events(store: Store, now: Callable[[], float], lifetime: float) -> None:
    """Until it is cancelled. Another server that shares the store may be faster, which is fine."""
    while True:
        await asyncio.sleep(EVERY)
        for entry in expired(store.cache(_EVENTS.prefix), now(), lifetime):
            try:
                await store.delete(entry.key, entry.revision)
            except (Conflict, StoreError):
                continue
