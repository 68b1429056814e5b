"""Informers that have what they are given, and tell whoever listens of it."""

from __future__ import annotations

import asyncio
from typing import Any


class Objects:
    """Those of one kind, by ``namespace/name``."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self._objects: dict[str, Any] = {}
        self._listeners: list[Any] = []
        self._indexes: dict[str, Any] = {}

    def __iter__(self) -> Any:
        return iter(list(self._objects.values()))

    def get(self, key: str) -> Any:
        return self._objects.get(key)

    def index(self, name: str, keys: Any) -> None:
        self._indexes[name] = keys

    def by(self, name: str, key: str) -> list[Any]:
        return [obj for obj in self if key in self._indexes[name](obj)]

    def on_change(self, listener: Any) -> None:
        self._listeners.append(listener)
        for obj in self:
            listener(None, obj)

    def put(self, obj: Any) -> None:
        key = _key(obj)
        old, self._objects[key] = self._objects.get(key), obj
        self._tell(old, obj)

    def remove(self, obj: Any) -> None:
        self._tell(self._objects.pop(_key(obj)), None)

    def _tell(self, old: Any, new: Any) -> None:
        for listener in self._listeners:
            listener(old, new)


def _key(obj: Any) -> str:
    meta = obj.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else str(meta.name)


class Given:
    """Stands for `Informers`."""

    def __init__(self) -> None:
        self._by_kind: dict[type, Objects] = {}

    def of(self, kind: type) -> Objects:
        return self._by_kind.setdefault(kind, Objects())
