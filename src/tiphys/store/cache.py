"""The watch cache: every object of a resource as the bytes a client gets, in key order, and its
recent history.

Changes enter by `ResourceCache.apply`, in revision order. Reads join bytes and decode nothing. The
parts: `entries` (one object), `history` (recent events), `filters` (views), `indexes` (selective
lists).
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tiphys.store.corruption import Corrupt
from tiphys.store.engine import Change
from tiphys.store.entries import Entry, Selectable, with_revision, without_revision
from tiphys.store.filters import Filter
from tiphys.store.history import Event, History, Limits
from tiphys.store.indexes import Indexes

__all__ = [
    "Entry",
    "Event",
    "Expired",
    "Filter",
    "Limits",
    "ResourceCache",
    "Selectable",
    "Version",
    "Watcher",
    "with_revision",
    "without_revision",
]

_AFTER_ANY_NAME = "\U0010ffff"
_LIMITS = Limits()
_UNBOUNDED = 1 << 40  # bytes


class Expired(Exception):
    """The history asked for is no longer kept; `floor` is the oldest revision from which it is
    complete."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


class Version(NamedTuple):
    """How far a cache is. Two equal versions have equal contents."""

    revision: int  # of the last change of this resource
    written: int  # events so far
    corruptions: int  # values so far that were not objects


class Contents(NamedTuple):
    """All that a cache holds at one moment; objects and events stay as they are."""

    prefix: str
    entries: list[Entry]
    events: list[Event]
    dropped: int
    """The revision of the newest event that is no longer kept."""
    corrupt: list[Corrupt]


class Watcher:
    """A place in the history of a resource. It holds no events itself.

    filter:     the view whose events it takes
    position:   of the next event that it takes, see `History`
    wake:       called with the first change after it has taken everything
    overflowed: there is no more to take: events it had not taken were dropped, or a value came
                that cannot be shown. Its client has to list again (upstream closes such a watch,
                and a resumption gets 410).
    """

    __slots__ = ("_cache", "_corruptions", "filter", "overflowed", "position", "wake")

    def __init__(
        self, cache: ResourceCache, view: Filter, position: int, wake: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._corruptions = cache.corruptions
        self.filter = view
        self.position = position
        self.wake = wake
        self.overflowed = False

    @property
    def behind(self) -> bool:
        """Whether there are events that it has not taken."""
        return self.position < self._cache.written

    def take(self, most: int = _LIMITS.events, size: int = _UNBOUNDED) -> list[tuple[str, Event]]:
        """The next events of its view, each with its type in that view (see `Filter.kind`).

        Takes no more than `most` events, and ends with the one that exceeds `size` bytes of
        objects in sum. Once it has taken everything, the next change wakes it.
        """
        cache = self._cache
        events = cache.events
        position = self.position
        oldest = cache.written - len(events)
        taken: list[tuple[str, Event]] = []
        if position < oldest or cache.corruptions != self._corruptions:
            self.overflowed = True
            return taken
        end = min(cache.written, position + most)
        while position < end and size >= 0:
            event = events[position - oldest]
            position += 1
            kind = self.filter.kind(event)
            if kind is not None:
                taken.append((kind, event))
                size -= event.size
        self.position = position
        if position == cache.written:
            cache.idle.add(self)
        return taken


class ResourceCache:
    """All objects of one resource, and the events that led to them.

    prefix:     ``/group/plural/``, which every key starts with
    selectable: what field selectors of this resource may name
    floor:      changes up to this revision are the past: they make objects, but no events
    limits:     of the history
    """

    def __init__(
        self,
        prefix: str,
        selectable: tuple[Selectable, ...],
        floor: int,
        limits: Limits = _LIMITS,
    ) -> None:
        self.prefix = prefix
        self._selectable = selectable
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []  # of the entries, in order
        self._indexes = Indexes()
        self._history = History(floor, limits)
        # Lists go by the floor: compaction raises it, whichever resource the compacted changes were
        # about. Watches go by the last event of this resource that was dropped, so that a watch of
        # a quiet resource can be resumed.
        self._floor = floor
        self.revision = 0
        self._version = Version(0, 0, 0)
        self.corrupt: dict[str, Corrupt] = {}
        self.corruptions = 0
        self.idle: set[Watcher] = set()  # the watchers that have taken everything

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Entry]:
        """The objects in key order."""
        return (self._entries[key] for key in self._keys)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    @property
    def floor(self) -> int:
        """The oldest revision of which a list may still be had."""
        return self._floor

    @property
    def events(self) -> deque[Event]:
        """The recent events, oldest first. Not to be changed."""
        return self._history.events

    @property
    def written(self) -> int:
        """How many events there were so far, dropped ones included."""
        return self._history.written

    @property
    def version(self) -> Version:
        """The same value as long as it is equal: every write asks for that of six caches."""
        known = self._version
        if (
            known.revision != self.revision
            or known.written != self._history.written
            or known.corruptions != self.corruptions
        ):
            known = Version(self.revision, self._history.written, self.corruptions)
            self._version = known
        return known

    def contents(self) -> Contents:
        entries = list(self._entries.values())
        events = list(self._history.events)
        corrupt = list(self.corrupt.values())
        return Contents(self.prefix, entries, events, self._history.dropped, corrupt)

    def keys_changed_since(self, version: Version) -> list[str] | None:
        """Keys that changed after `version`, newest first, repeated for repeated changes.

        None if the history cannot tell: everything may have changed.
        """
        if version == self.version:
            return []
        if version.corruptions != self.corruptions:
            return None
        events = self._history.last(self._history.written - version.written)
        if not events:  # they were dropped, or the changes are of the past, which makes no events
            return None
        return [event.key for event in events]

    # --- changes ---

    def apply(self, change: Change) -> None:
        """Takes the next change in revision order: 4 µs for a new object of 1.5 kB."""
        key = change.key
        if self.corrupt:
            self.corrupt.pop(key, None)
        self.revision = change.revision
        previous = self._entries.get(key)
        entry: Entry | None = None
        if change.value is not None:
            data = with_revision(change.value, change.revision)
            entry = Entry(key, change.revision, data, self._selectable)
            self._put(entry, previous)
        elif previous is not None:
            self._remove(key)
        else:
            return
        if self._indexes:
            self._indexes.update(previous, entry)
        if change.revision <= self._floor:
            return
        if self._history.append(Event(change.revision, entry, previous)):
            self._floor = self._history.dropped
        self._wake_watchers()

    def _put(self, entry: Entry, previous: Entry | None) -> None:
        self._entries[entry.key] = entry
        if previous is not None:
            return
        if not self._keys or entry.key > self._keys[-1]:
            self._keys.append(entry.key)  # at the start all come in order: no search
        else:
            bisect.insort(self._keys, entry.key)

    def _remove(self, key: str) -> None:
        del self._entries[key]
        del self._keys[bisect.bisect_left(self._keys, key)]

    def _wake_watchers(self) -> None:
        if not self.idle:
            return
        idle = self.idle
        self.idle = set()
        for watcher in idle:
            watcher.wake()

    def set_corrupt(self, corrupt: Corrupt) -> None:
        """Takes note of a value that is not an object.

        Its key has no object from now on. Watches end, since what they would have to show cannot be
        shown, and cannot be resumed from before it: their clients list again, and get the error
        there.
        """
        self.corrupt[corrupt.key] = corrupt
        self.corruptions += 1
        previous = self._entries.get(corrupt.key)
        if previous is not None:
            self._remove(corrupt.key)
            self._indexes.update(previous, None)
        self.forget(corrupt.revision)
        self._history.dropped = corrupt.revision  # it made no event, so no watch may resume over it
        self.revision = corrupt.revision
        self._wake_watchers()

    def corrupt_below(self, prefix: str) -> list[Corrupt]:
        """The values under a prefix that are not objects, in key order."""
        if not self.corrupt:
            return []
        return [self.corrupt[key] for key in sorted(self.corrupt) if key.startswith(prefix)]

    def select_by(self, selectable: tuple[Selectable, ...]) -> None:
        """From now on field selectors may name these: the definition of a custom resource has
        changed."""
        if selectable == self._selectable:
            return
        self._selectable = selectable
        self._indexes.clear()
        for entry in self._entries.values():
            entry.select_by(selectable)

    def forget(self, revision: int) -> None:
        """Drops history up to and including `revision`; objects stay."""
        self._history.forget(revision)
        self._floor = max(self._floor, revision)

    def packable(self, most: int) -> list[Entry]:
        """Up to `most` objects of the past that are not compressed yet, see `packing`. Each is
        returned once."""
        return self._history.packable(most)

    # --- lists ---

    def select(self, view: Filter) -> list[Entry]:
        """The objects of a view, in key order."""
        candidates = self.candidates(view)
        if view.matches_all:
            return candidates
        return [entry for entry in candidates if view.matches(entry)]

    def candidates(self, view: Filter) -> list[Entry]:
        """The objects that may be of a view, in key order: those an index names, or all below the
        prefix.

        Comparing 100,000 objects takes half a second: who must not hold the event loop that long
        takes the candidates, which stay as they are, and compares them in slices.
        """
        indexed = self._indexes.keys(view, self._entries.values())
        keys = self._keys_below(view.prefix) if indexed is None else sorted(indexed)
        return [self._entries[key] for key in keys]

    def snapshot(self, view: Filter) -> list[Entry]:
        """Candidates, without building an index for them."""
        view = view.stored
        if self._indexes.ready_for(view):
            return self.candidates(view)
        return self.candidates(Filter(view.prefix))

    def page(self, view: Filter, start: str, limit: int) -> tuple[list[Entry], int]:
        """The first `limit` objects below a view's prefix after the key `start`, and how many
        follow them.

        Of a view without selectors; an empty `start` means the first object.
        """
        keys = self._keys_below(view.prefix)
        first = bisect.bisect_right(keys, start) if start else 0
        chosen = keys[first : first + limit]
        return [self._entries[key] for key in chosen], len(keys) - first - len(chosen)

    def count(self, prefix: str) -> int:
        """How many objects are below a prefix."""
        if prefix == self.prefix:
            return len(self._keys)
        first, end = self._bounds(prefix)
        return end - first

    def _keys_below(self, prefix: str) -> list[str]:
        if prefix == self.prefix:
            return self._keys
        first, end = self._bounds(prefix)
        return self._keys[first:end]

    def _bounds(self, prefix: str) -> tuple[int, int]:
        first = bisect.bisect_left(self._keys, prefix)
        end = bisect.bisect_left(self._keys, prefix + _AFTER_ANY_NAME, lo=first)
        return first, end

    def candidates_at(self, prefix: str, revision: int) -> list[Entry]:
        """The objects below a prefix as they were at a revision, in key order: the present with
        the newer events undone. Raises Expired."""
        undone = self._undone(prefix, revision)
        keys = self._keys_below(prefix)
        if not undone:
            return [self._entries[key] for key in keys]
        keys = sorted([*keys, *self._gone_since(undone)])
        entries = (undone[key] if key in undone else self._entries[key] for key in keys)
        return [entry for entry in entries if entry is not None]

    def page_at(
        self, prefix: str, revision: int, start: str, limit: int
    ) -> tuple[list[Entry], int]:
        """`page` as it was at a revision. What is looked at is the page and what has changed since,
        not every object. Raises Expired."""
        undone = self._undone(prefix, revision)
        keys = self._keys_below(prefix)
        first = bisect.bisect_right(keys, start) if start else 0
        gone = [key for key in self._gone_since(undone) if key > start]
        new = sum(
            1
            for key, entry in undone.items()
            if entry is None and key > start and key in self._entries
        )
        left = len(keys) - first + len(gone) - new
        chosen: list[Entry] = []
        for key in sorted(keys[first : first + limit + new] + gone):
            if len(chosen) == limit:
                break
            entry = undone[key] if key in undone else self._entries[key]
            if entry is not None:
                chosen.append(entry)
        return chosen, left - len(chosen)

    def _undone(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """What was at the keys that have changed since a revision. Raises Expired."""
        if revision < self._floor:
            raise Expired(self._floor)
        newer = self._history.newer_than(revision)
        # The newest comes first, so that of each key the oldest is kept.
        if prefix == self.prefix:
            return {event.key: event.previous for event in newer}
        return {event.key: event.previous for event in newer if event.key.startswith(prefix)}

    def _gone_since(self, undone: dict[str, Entry | None]) -> list[str]:
        return [
            key for key, entry in undone.items() if entry is not None and key not in self._entries
        ]

    # --- watches ---

    def watch(self, view: Filter, since: int, wake: Callable[[], None]) -> Watcher:
        """A watcher of what happens after the revision `since`; what already happened can be taken
        at once.

        Raises Expired only if an event of this resource may be missing: an object's own
        resourceVersion can be watched from for as long as nothing of its resource has changed,
        whatever was compacted elsewhere.
        """
        if since < self._history.dropped:
            raise Expired(self._history.dropped)
        watcher = Watcher(self, view.stored, self._history.position_after(since), wake)
        if not watcher.behind:
            self.idle.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self.idle.discard(watcher)
