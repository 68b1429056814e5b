"""Small builders of stored objects and of caches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tiphys.store.cache import Entry, Limits, ResourceCache, Selectable
from tiphys.store.engine import Change

PREFIX = "/core/pods/"
SELECTABLE = (Selectable("spec.nodeName"), Selectable("spec.unschedulable", "false"))


def key(name: str, namespace: str = "ns") -> str:
    return f"{PREFIX}{namespace}/{name}"


def value(label: str = "a", node: str = "n1") -> bytes:
    """A stored object with the label ``l`` on a node; an empty node is left out."""
    spec = {"nodeName": node} if node else {}
    obj = {"metadata": {"name": "x", "labels": {"l": label}}, "spec": spec}
    return json.dumps(obj, separators=(",", ":")).encode()


def put(revision: int, name: str, label: str = "a", node: str = "n1") -> Change:
    return Change(revision, key(name), value(label, node), 0)


def delete(revision: int, name: str) -> Change:
    return Change(revision, key(name), None, 1)


def cache(*changes: Change, limits: Limits | None = None) -> ResourceCache:
    made = ResourceCache(PREFIX, SELECTABLE, 0, limits or Limits())
    for change in changes:
        made.apply(change)
    return made


def names(entries: list[Entry]) -> list[str]:
    return [entry.key.rpartition("/")[2] for entry in entries]


async def until(check: Callable[[], Any]) -> None:
    """Returns once that holds, which other tasks bring about."""
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0)
