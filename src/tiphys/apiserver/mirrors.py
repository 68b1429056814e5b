"""Decoded objects of a resource that every request asks for: roles, policies, webhooks.

A change of one of thousands costs a look at the revisions of all, and one decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from tiphys.api.base import decode
from tiphys.store.cache import ResourceCache

T = TypeVar("T")


class Mirror(Generic[T]):
    """The objects of one cache, by key in order. Nobody changes them."""

    def __init__(self, cache: ResourceCache, kind: type[T]) -> None:
        self._cache = cache
        self._kind = kind
        self._seen = -1
        self._known: dict[str, tuple[int, T]] = {}

    def refresh(self) -> tuple[list[tuple[str, T]], list[tuple[str, T]]]:
        """Looks for changes. Returns (key and object of what went, of what came); what changed is in both."""
        if self._cache.revision == self._seen:
            return [], []
        gone, come = [], []
        fresh = dict[str, tuple[int, T]]()
        for entry in self._cache:
            known = self._known.pop(entry.key, None)
            if known is None or known[0] != entry.revision:
                if known is not None:
                    gone.append((entry.key, known[1]))
                known = (entry.revision, decode(entry.data, self._kind))
                come.append((entry.key, known[1]))
            fresh[entry.key] = known
        gone += [(key, obj) for key, (_, obj) in self._known.items()]
        self._known, self._seen = fresh, self._cache.revision
        return gone, come

    def __iter__(self) -> Iterator[T]:
        return (obj for _, obj in self._known.values())

    def items(self) -> Iterator[tuple[str, T]]:
        return ((key, obj) for key, (_, obj) in self._known.items())
