"""The watch cache: every object as the bytes a client gets, in key order, with the recent history beside it.

Reads join bytes and never decode. A change's event line is built once, whoever watches. Labels and the fields that
selectors may name are read from the bytes on first need.
"""

from __future__ import annotations

import bisect
import functools
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tiphys.machinery.selectors import EVERYTHING, Selector
from tiphys.store.corruption import Corrupt
from tiphys.store.engine import Change

_META = b'"metadata":{'
HISTORY = 10_000  # events kept for each resource: how far behind a watcher may resume
HISTORY_BYTES = (
    48 << 20
)  # of the objects in these events: one large object, changed all the time, is not memory's end
_FEWEST = 16  # events that are kept, however large their objects
_RECENT = 256  # events whose lines are kept
_RECENT_BYTES = 8 << 20  # of the objects in these
_LAST = "\U0010ffff"  # after any name
_INDEXES = 32  # selector keys indexed for each resource


def with_revision(value: bytes, revision: int) -> bytes:
    """Stored bytes as clients get them: `metadata.resourceVersion` is known only once the write has its place."""
    at = value.index(_META) + len(_META)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def without_revision(data: bytes) -> bytes:
    start = data.index(_META) + len(_META)
    end = data.index(b",", start) + 1
    return data[:start] + data[end:]


class Selectable(NamedTuple):
    """What a field selector may name: the value at `path` (or else at `name`) of an object, `absent` where it has none.
    Of several paths, with ``|`` between them, the first that has a value counts."""

    name: str
    absent: str = ""
    path: str = ""

    @property
    def paths(self) -> list[str]:
        return (self.path or self.name).split("|")


@functools.cache
def _places(fields: tuple[Selectable, ...]) -> list[tuple[str, str, list[list[str]]]]:
    """(name, absent, paths in parts) of each field."""
    return [
        (field.name, field.absent, [path.split(".") for path in field.paths]) for field in fields
    ]


@functools.cache
def _projection(fields: tuple[Selectable, ...]) -> msgspec.json.Decoder[Any]:
    """A decoder that reads only labels and the named fields."""
    tree: dict[str, Any] = {}
    for path in (path for field in fields for path in field.paths):
        node = tree
        *parents, last = path.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = None
    tree.setdefault("metadata", {})["labels"] = None
    return msgspec.json.Decoder(_partial("Projection", tree))


def _partial(name: str, tree: dict[str, Any]) -> type:
    fields: list[tuple[str, Any, Any]] = []
    for key, sub in tree.items():
        inner: Any = _partial(key, sub) if isinstance(sub, dict) else Any
        fields.append((key, inner | None if isinstance(sub, dict) else inner, None))
    return msgspec.defstruct(name, fields)


class Packed(NamedTuple):
    """Bytes that are compressed, with a like of them as dictionary."""

    like: bytes
    compressed: bytes


def packed_alike(values: Sequence[bytes]) -> list[Packed]:
    """Compresses values that are alike, pods of one Deployment, say: to a tenth, each by itself."""
    packed: list[Packed] = []
    like = values[0]
    for value in values:
        compressor = zlib.compressobj(level=1, zdict=like)
        packed.append(Packed(like, compressor.compress(value) + compressor.flush()))
    return packed


def unpacked(packed: Packed) -> bytes:
    return zlib.decompressobj(zdict=packed.like).decompress(packed.compressed)


class Entry:
    """One object at one revision. `data` is its JSON with resourceVersion."""

    __slots__ = ("_fields", "_labels", "_selectable", "data", "key", "revision", "shown")

    def __init__(
        self, key: str, revision: int, data: bytes, selectable: tuple[Selectable, ...]
    ) -> None:
        self.key = key
        self.revision = revision
        self.data = data
        self._selectable = selectable
        self._labels: dict[str, str] | None = None
        self._fields: dict[str, str] | None = None
        self.shown: dict[Any, bytes] | None = (
            None  # the object in other forms, kept by whoever made them
        )

    def _read(self) -> None:
        seen = _projection(self._selectable).decode(self.data)
        self._labels = (seen.metadata and seen.metadata.labels) or {}
        fields = {}
        for name, absent, paths in _places(self._selectable):
            for path in paths:
                value: Any = seen
                for part in path:
                    value = getattr(value, part, None)
                if value:
                    break
            fields[name] = (
                str(value).lower()
                if isinstance(value, bool)
                else absent
                if value is None
                else str(value)
            )
        self._fields = fields

    def pack(self, packed: Packed) -> None:
        """Keeps the object's bytes as `packed_alike` made them."""
        _BYTES.__set__(self, packed)
        self.__class__ = _PackedEntry

    def slim(self) -> None:
        """Keeps the object's bytes alone."""
        self.shown = self._labels = self._fields = None

    @property
    def labels(self) -> dict[str, str]:
        if self._labels is None:
            self._read()
        return self._labels  # type: ignore[return-value]

    @property
    def fields(self) -> dict[str, str]:
        if self._fields is None:
            self._read()
        return self._fields  # type: ignore[return-value]


class _PackedEntry(Entry):
    """An object as it once was, whose bytes are compressed. Whoever asks for them gets them anew."""

    __slots__ = ()

    @property
    def data(self) -> bytes:  # type: ignore[override]
        packed: Packed = _BYTES.__get__(self)
        return unpacked(packed)


_BYTES: Any = Entry.__dict__["data"]  # where an entry has them, compressed or not
_WORTH_PACKING = 512  # bytes of an object


class _KeepsNothing(dict[Any, bytes]):
    """The lines of an event that every watcher that keeps up has had: who is late has them made anew, each time."""

    def __setitem__(self, key: Any, line: bytes) -> None:
        pass


_NOT_KEPT = _KeepsNothing()


class Event:
    """A change as watchers see it: `entry` is None for a deletion, `previous` is None for a creation."""

    __slots__ = ("entry", "lines", "previous", "revision")

    def __init__(self, revision: int, entry: Entry | None, previous: Entry | None) -> None:
        self.revision = revision
        self.entry = entry
        self.previous = previous
        self.lines: dict[Any, bytes] = {}

    @property
    def key(self) -> str:
        return (self.entry or self.previous).key  # type: ignore[union-attr]

    @property
    def size(self) -> int:
        """Bytes of the object that it is about."""
        return len((self.entry or self.previous).data)  # type: ignore[union-attr]

    def tombstone(self, data: bytes | None = None) -> bytes:
        """The object as it last was (or as `data` shows it), at the revision of its disappearance from this view."""
        return with_revision(without_revision(data or self.previous.data), self.revision)  # type: ignore[union-attr]

    def line(self, kind: str) -> bytes:
        """The watch line, built once for all watchers: kind is ADDED, MODIFIED or DELETED."""
        made = self.lines.get(kind)
        if made is None:
            body = self.tombstone() if kind == "DELETED" else self.entry.data  # type: ignore[union-attr]
            made = self.lines[kind] = b'{"type":"%b","object":%b}\n' % (kind.encode(), body)
        return made

    def chunk(self, kind: str) -> bytes:
        """The line as a chunk of an HTTP/1.1 answer, built once, too."""
        made = self.lines.get((kind,))
        if made is None:
            line = self.line(kind)
            made = self.lines[kind,] = b"%x\r\n%b\r\n" % (len(line), line)
        return made


class Filter:
    """Which objects a list or a watch is about."""

    __slots__ = ("fields", "labels", "matches_all", "prefix")

    def __init__(
        self, prefix: str, labels: Selector = EVERYTHING, fields: Selector = EVERYTHING
    ) -> None:
        self.prefix = prefix
        self.labels = labels
        self.fields = fields
        self.matches_all = not labels.requirements and not fields.requirements

    @property
    def stored(self) -> Filter:
        """As much of the view as the stored bytes can tell: the cache goes by that, and whoever asks for the rest."""
        return self

    def matches(self, entry: Entry) -> bool:
        if not entry.key.startswith(self.prefix):
            return False
        if self.matches_all:
            return True
        return self.labels.matches(entry.labels) and self.fields.matches(entry.fields)

    def kind(self, event: Event) -> str | None:
        """What the event is in this view: an object can enter or leave it without being made or deleted."""
        entry, previous = event.entry, event.previous
        if self.matches_all:
            if not (entry or previous).key.startswith(self.prefix):  # type: ignore[union-attr]
                return None
            return "DELETED" if entry is None else "ADDED" if previous is None else "MODIFIED"
        now = entry is not None and self.matches(entry)
        before = previous is not None and self.matches(previous)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


class Watcher:
    """A place in the history of a resource. It holds no events: the cache's history does, for all watchers.

    `wake` is called with the first change after everything was taken. `overflowed`: history went on without it, or what
    came cannot be shown.
    """

    __slots__ = ("_cache", "_spoilt", "filter", "overflowed", "position", "wake")

    def __init__(
        self, cache: ResourceCache, view: Filter, position: int, wake: Callable[[], None]
    ) -> None:
        self._cache = cache
        self.filter = view
        self.position = (
            position  # number of the next event, counted from the first that the cache ever had
        )
        self.wake = wake
        self.overflowed = False
        self._spoilt = cache.spoilt

    @property
    def behind(self) -> bool:
        """Whether there are events that it has not looked at."""
        return self.position < self._cache.written

    def take(self, most: int = HISTORY, size: int = 1 << 40) -> list[tuple[str, Event]]:
        """The next events of its view: looks at `most`, ends with the one that makes more than `size` bytes."""
        cache, view, taken = self._cache, self.filter, list[tuple[str, Event]]()
        events, dropped = cache.events, cache.written - len(cache.events)
        position = self.position
        if position < dropped or cache.spoilt != self._spoilt:
            self.overflowed = True
            return taken
        end = min(cache.written, position + most)
        while position < end and size >= 0:
            event = events[position - dropped]
            position += 1
            if (kind := view.kind(event)) is not None:
                taken.append((kind, event))
                size -= event.size
        self.position = position
        if position == cache.written:
            cache.idle.add(self)
        return taken


class Expired(Exception):
    """The history asked for is no longer kept; `floor` is the oldest revision from which it is complete."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


class ResourceCache:
    """All objects of one resource, and the events that led to them."""

    def __init__(self, prefix: str, selectable: tuple[Selectable, ...], floor: int) -> None:
        self.prefix = prefix
        self._selectable = selectable
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self.events: deque[Event] = deque()
        self._bytes = 0  # of the objects in the events
        self._looked_through = 0  # events whose objects have been compressed, from the oldest on
        self._recent: deque[Event] = deque()  # the last events, whose lines are kept
        self._recent_bytes = 0
        self.written = 0  # events so far, those that are forgotten, too
        self._floor = floor  # of lists: what is older is compacted, whichever resource it was about
        self._dropped = floor  # of watches: the last event of this resource that is not kept
        self.revision = 0  # of the last change to this resource
        self.corrupt: dict[str, Corrupt] = {}
        self.spoilt = 0  # how often a value came that was no object
        self.idle: set[Watcher] = set()  # watchers that have seen everything
        self._indexes: dict[tuple[str, str], dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def __iter__(self) -> Iterator[Entry]:
        return (self._entries[key] for key in self._keys)

    # --- changes ---

    def apply(self, change: Change) -> None:
        key = change.key
        if self.corrupt:
            self.corrupt.pop(key, None)
        self.revision = change.revision
        previous = self._entries.get(key)
        entry = None
        if change.value is None:
            if previous is None:
                return
            del self._entries[key]
            del self._keys[bisect.bisect_left(self._keys, key)]
        else:
            entry = Entry(
                key, change.revision, with_revision(change.value, change.revision), self._selectable
            )
            self._entries[key] = entry
            if previous is None:
                if not self._keys or key > self._keys[-1]:
                    self._keys.append(key)
                else:
                    bisect.insort(self._keys, key)
        if self._indexes:
            self._reindex(previous, entry)
        if change.revision <= self._floor:
            return
        self._tell(Event(change.revision, entry, previous))

    def spoil(self, found: Corrupt) -> None:
        """A value came that is no object. Watches end: what they would have to show cannot be shown."""
        self.corrupt[found.key] = found
        self.spoilt += 1
        if (entry := self._entries.pop(found.key, None)) is not None:
            del self._keys[bisect.bisect_left(self._keys, found.key)]
            self._reindex(entry, None)
        self.forget(found.revision)  # who resumes has to list again, and is told there
        self.revision = found.revision
        idle, self.idle = self.idle, set()
        for watcher in idle:
            watcher.wake()

    def corrupt_below(self, prefix: str) -> list[Corrupt]:
        """The values under a prefix that are no objects, in key order."""
        return (
            [self.corrupt[key] for key in sorted(self.corrupt) if key.startswith(prefix)]
            if self.corrupt
            else []
        )

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.written += 1
        size = event.size
        self._bytes += size
        self._recent.append(event)
        self._recent_bytes += size
        while len(self._recent) > _RECENT or (
            self._recent_bytes > _RECENT_BYTES and len(self._recent) > 1
        ):
            self._age()
        while len(self.events) > HISTORY or (
            self._bytes > HISTORY_BYTES and len(self.events) > _FEWEST
        ):
            self._floor = self._let_go()
        if self.idle:
            idle, self.idle = self.idle, set()
            for watcher in idle:
                watcher.wake()

    def _let_go(self) -> int:
        """Forgets the oldest event. Returns its revision."""
        oldest = self.events.popleft()
        self._bytes -= oldest.size
        self._looked_through = max(self._looked_through - 1, 0)
        self._dropped = oldest.revision
        return oldest.revision

    def _age(self) -> None:
        """The oldest of the recent events is recent no more. Its line weighs as much as the object, and can be made again; so
        can what was read from the object that it has replaced."""
        event = self._recent.popleft()
        self._recent_bytes -= event.size
        event.lines = _NOT_KEPT
        if event.previous is not None:
            event.previous.slim()

    def select_by(self, selectable: tuple[Selectable, ...]) -> None:
        """From now on field selectors may name these."""
        if selectable == self._selectable:
            return
        self._selectable = selectable
        self._indexes.clear()
        for entry in self._entries.values():
            entry._selectable, entry._labels, entry._fields = selectable, None, None

    def packable(self, most: int) -> list[Entry]:
        """Up to so many objects that are history and not compressed yet. Each is returned once."""
        entries: list[Entry] = []
        old = len(self.events) - len(self._recent)
        while self._looked_through < old and len(entries) < most:
            event = self.events[self._looked_through]
            self._looked_through += 1
            if event.previous is not None and len(event.previous.data) > _WORTH_PACKING:
                entries.append(event.previous)
        return entries

    @property
    def floor(self) -> int:
        """The oldest revision of which a list may still be had."""
        return self._floor

    def forget(self, revision: int) -> None:
        """Lets go of history up to and including `revision`."""
        while self.events and self.events[0].revision <= revision:
            self._let_go()
        while self._recent and self._recent[0].revision <= revision:
            self._age()
        self._floor = max(self._floor, revision)

    # --- reads ---

    def select(self, view: Filter) -> list[Entry]:
        """The objects of a view, in key order."""
        candidates = self.candidates(view)
        return (
            candidates
            if view.matches_all
            else [entry for entry in candidates if view.matches(entry)]
        )

    def candidates(self, view: Filter) -> list[Entry]:
        """The objects that may be of a view as they stand now, in key order: those that an index knows, or all below its
        prefix. Who has no time for all of them at once looks later which of them match."""
        keys = self._candidates(view)
        chosen: Sequence[str] = self._range(view.prefix) if keys is None else sorted(keys)
        return [self._entries[key] for key in chosen]

    def snapshot(self, view: Filter) -> list[Entry]:
        """Candidates, without making an index."""
        view = view.stored
        return self.candidates(view if self._indexed(view) else Filter(view.prefix))

    def page(self, view: Filter, start: str, limit: int) -> tuple[list[Entry], int]:
        """(the first objects of a view of everything after the key `start`, how many come after them)."""
        keys = self._range(view.prefix)
        first = bisect.bisect_right(keys, start) if start else 0
        chosen = keys[first : first + limit]
        return [self._entries[key] for key in chosen], len(keys) - first - len(chosen)

    def count(self, prefix: str) -> int:
        """How many objects are below a prefix."""
        if prefix == self.prefix:
            return len(self._keys)
        return bisect.bisect_left(self._keys, prefix + _LAST) - bisect.bisect_left(
            self._keys, prefix
        )

    def _range(self, prefix: str) -> list[str]:
        if prefix == self.prefix:
            return self._keys
        return self._keys[
            bisect.bisect_left(self._keys, prefix) : bisect.bisect_left(self._keys, prefix + _LAST)
        ]

    def at(self, view: Filter, revision: int) -> list[Entry]:
        """The view as it stood at a revision: the present with the later events undone. Raises Expired."""
        view = view.stored
        if revision < self._floor:
            raise Expired(self._floor)
        state = {entry.key: entry for entry in self.select(Filter(view.prefix))}
        for event in reversed(self.events):
            if event.revision <= revision:
                break
            if event.previous is None:
                state.pop(event.key, None)
            elif event.key.startswith(view.prefix):
                state[event.key] = event.previous
        return [state[key] for key in sorted(state) if view.matches(state[key])]

    def _candidates(self, view: Filter) -> set[str] | None:
        """Keys that an index says may match; None when no requirement is of use to an index."""
        for source, selector in (("field", view.fields), ("label", view.labels)):
            for requirement in selector.requirements:
                if requirement.operator not in ("=", "in") or requirement.key.startswith(
                    "metadata.n"
                ):
                    continue
                index = self._index(source, requirement.key)
                if index is not None:
                    return set().union(*(index.get(value, ()) for value in requirement.values))
        return None

    def _indexed(self, view: Filter) -> bool:
        """Whether no index has to be made for the view: making one reads the labels of every object."""
        for source, selector in (("field", view.fields), ("label", view.labels)):
            for requirement in selector.requirements:
                if requirement.operator in ("=", "in") and not requirement.key.startswith(
                    "metadata.n"
                ):
                    return (source, requirement.key) in self._indexes or len(
                        self._indexes
                    ) >= _INDEXES
        return True

    def _index(self, source: str, key: str) -> dict[str, set[str]] | None:
        index = self._indexes.get((source, key))
        if index is None and len(self._indexes) < _INDEXES:
            index = self._indexes[source, key] = {}
            for entry in self._entries.values():
                self._file(index, source, key, entry)
        return index

    @staticmethod
    def _file(index: dict[str, set[str]], source: str, key: str, entry: Entry) -> None:
        value = (entry.labels if source == "label" else entry.fields).get(key)
        if value is not None:
            index.setdefault(value, set()).add(entry.key)

    def _reindex(self, previous: Entry | None, entry: Entry | None) -> None:
        for (source, key), index in self._indexes.items():
            old = (
                (previous.labels if source == "label" else previous.fields).get(key)
                if previous
                else None
            )
            new = (entry.labels if source == "label" else entry.fields).get(key) if entry else None
            if old == new:
                continue
            if old is not None and (keys := index.get(old)) is not None:
                keys.discard(previous.key)  # type: ignore[union-attr]
                if not keys:
                    del index[old]
            if new is not None:
                index.setdefault(new, set()).add(entry.key)  # type: ignore[union-attr]

    # --- watches ---

    def watch(self, view: Filter, since: int, wake: Callable[[], None]) -> Watcher:
        """A place after `since`, of which what has already happened can be taken at once. Raises Expired, but not while no
        event of this resource is missing: an object's own version is good for as long as nothing has changed."""
        if since < self._dropped:
            raise Expired(self._dropped)
        position = self.written
        for event in reversed(self.events):
            if event.revision <= since:
                break
            position -= 1
        watcher = Watcher(self, view.stored, position, wake)
        if not watcher.behind:
            self.idle.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self.idle.discard(watcher)
