"""Decoded objects of a resource that every request asks for: bindings, policies, webhooks.

A change is decoded at the next refresh; one of thousands does not touch the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from tiphys.api.base import decode
from tiphys.store.cache import Entry, ResourceCache, Version

T = TypeVar("T")
Changes = tuple[list[tuple[str, T]], list[tuple[str, T]]]
_UNCHANGED: Changes[Any] = ([], [])


class Mirror(Generic[T]):
    """The objects of one cache. They are not to be changed."""

    def __init__(self, cache: ResourceCache, kind: type[T]) -> None:
        self._cache = cache
        self._kind = kind
        self._version = Version(-1, 0, 0)
        self._known: dict[str, tuple[int, T]] = {}  # by key, with the revision

    def refresh(self) -> Changes[T]:
        """Looks for changes.

        Returns (key and object of what went, of what came); what changed is in both.
        """
        cache = self._cache
        version = cache.version
        if version is self._version or version == self._version:
            return _UNCHANGED
        changed = None if self._version.revision < 0 else cache.keys_changed_since(self._version)
        self._version = version
        if changed is None:
            return self._apply({entry.key: entry for entry in cache}, relist=True)
        return self._apply({key: cache.get(key) for key in changed})

    def _apply(self, entries: dict[str, Entry | None], relist: bool = False) -> Changes[T]:
        """Takes what stands now under some keys, or under all there are."""
        gone: list[tuple[str, T]] = []
        come: list[tuple[str, T]] = []
        if relist:
            deleted = [key for key in self._known if key not in entries]
            for key in deleted:
                _, obj = self._known.pop(key)
                gone.append((key, obj))
        for key, entry in entries.items():
            known = self._known.get(key)
            if entry is not None and known is not None and known[0] == entry.revision:
                continue
            if known is not None:
                del self._known[key]
                gone.append((key, known[1]))
            if entry is not None:
                obj = decode(entry.data, self._kind)
                self._known[key] = (entry.revision, obj)
                come.append((key, obj))
        return gone, come

    def items(self) -> Iterator[tuple[str, T]]:
        """Key and object, in the order of the keys."""
        return ((key, self._known[key][1]) for key in sorted(self._known))

    def __iter__(self) -> Iterator[T]:
        return (obj for _, obj in self.items())
