from __future__ import annotations

from tiphys.apiserver.registry.expiry import expired
from tiphys.machinery import timestamps
from tiphys.store.cache import Entry

START = "2026-01-01T00:00:00Z"


def event(name: str, **times: str) -> Entry:
    import json

    body = {"metadata": {"name": name, "creationTimestamp": START}, **times}
    return Entry(name, 1, json.dumps(body).encode(), ())


def test_an_event_ends_an_hour_after_it_was_last_seen() -> None:
    old, repeated = event("old"), event("repeated", lastTimestamp="2026-01-01T00:30:00Z")
    start = timestamps.parse(START)
    assert expired([old, repeated], start + 3599, 3600) == []
    assert expired([old, repeated], start + 3700, 3600) == [old]
    assert expired([old, repeated], start + 7200, 3600) == [old, repeated]
