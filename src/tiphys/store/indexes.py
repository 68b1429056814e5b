"""Indexes over labels and fields: which keys have a value, so that a selective list does not look
at every object."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.store.entries import Entry
from tiphys.store.filters import Filter, Source

MOST = 32  # indexes of one resource; selectors are chosen by clients, and each index costs memory

_Index = dict[str, set[str]]  # value → keys of the objects that have it


class Indexes:
    """The indexes of one resource. One is built when a selector first asks for it, and maintained
    from then on."""

    def __init__(self) -> None:
        self._indexes: dict[tuple[Source, str], _Index] = {}

    def __bool__(self) -> bool:
        return bool(self._indexes)

    def clear(self) -> None:
        self._indexes.clear()

    def ready_for(self, view: Filter) -> bool:
        """Whether `keys` would answer for this view without building an index first.

        Building one reads the labels of every object: 5 µs each, half a second for 100,000.
        """
        for source, requirement in view.indexable():
            return (source, requirement.key) in self._indexes or len(self._indexes) >= MOST
        return True

    def keys(self, view: Filter, entries: Iterable[Entry]) -> set[str] | None:
        """Keys of the objects that may match; None if no index helps, and all may.

        `entries` are all objects of the resource, for building the index.
        """
        for source, requirement in view.indexable():
            index = self._index(source, requirement.key, entries)
            if index is not None:
                return set().union(*(index.get(value, ()) for value in requirement.values))
        return None

    def _index(self, source: Source, key: str, entries: Iterable[Entry]) -> _Index | None:
        index = self._indexes.get((source, key))
        if index is None and len(self._indexes) < MOST:
            index = {}
            for entry in entries:
                value = _value(entry, source, key)
                if value is not None:
                    index.setdefault(value, set()).add(entry.key)
            self._indexes[source, key] = index
        return index

    def update(self, previous: Entry | None, entry: Entry | None) -> None:
        """Notes that `entry` replaced `previous`; None means "does not exist"."""
        for (source, key), index in self._indexes.items():
            old_value = _value(previous, source, key)
            new_value = _value(entry, source, key)
            if old_value == new_value:
                continue
            if previous is not None and old_value is not None:
                _discard(index, old_value, previous.key)
            if entry is not None and new_value is not None:
                index.setdefault(new_value, set()).add(entry.key)


def _value(entry: Entry | None, source: Source, key: str) -> str | None:
    if entry is None:
        return None
    if source == "label":
        return entry.labels.get(key)
    return entry.fields.get(key)


def _discard(index: _Index, value: str, key: str) -> None:
    keys = index.get(value)
    if keys is None:
        return
    keys.discard(key)
    if not keys:
        del index[value]
