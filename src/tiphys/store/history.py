"""The recent changes of one resource, kept so that watches can be resumed and the past can be
listed.

Every watcher is a position in this history, none has a queue of its own: a thousand watchers of a
resource cost no more memory than one. The history is bounded in events and in bytes, since one
large object that changes all the time would otherwise fill the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice

from tiphys.store.entries import Entry, with_revision, without_revision
from tiphys.store.packing import WORTH_PACKING


class _NoLines(dict[Hashable, bytes]):
    """The lines of an event that every watcher which keeps up has had. A late watcher has them
    built, each time."""

    def __setitem__(self, key: Hashable, line: bytes) -> None:
        pass


_NO_LINES = _NoLines()


class Event:
    """A change as watchers see it: `entry` is None for a deletion, `previous` is None for a
    creation."""

    __slots__ = ("entry", "lines", "previous", "revision")

    def __init__(self, revision: int, entry: Entry | None, previous: Entry | None) -> None:
        self.revision = revision
        self.entry = entry
        self.previous = previous
        self.lines: dict[Hashable, bytes] = {}

    @property
    def key(self) -> str:
        return (self.entry or self.previous).key  # type: ignore[union-attr]  # an event has one

    @property
    def size(self) -> int:
        """Bytes of the object's JSON, of the deleted one for a deletion."""
        return len((self.entry or self.previous).data)  # type: ignore[union-attr]

    def tombstone(self, data: bytes | None = None) -> bytes:
        """The object as it was before, at the revision of this event: what upstream sends with
        DELETED.

        `data` is the previous object in another form; its stored form by default. Raises
        AttributeError for a creation, which has no previous object.
        """
        if data is None:
            data = self.previous.data  # type: ignore[union-attr]
        return with_revision(without_revision(data), self.revision)

    def line(self, kind: str) -> bytes:
        """The event's line in a watch response, built once for all watchers: `kind` is ADDED,
        MODIFIED or DELETED."""
        line = self.lines.get(kind)
        if line is None:
            body = self.tombstone() if kind == "DELETED" else self.entry.data  # type: ignore[union-attr]
            line = b'{"type":"%b","object":%b}\n' % (kind.encode(), body)
            self.lines[kind] = line
        return line

    def chunk(self, kind: str) -> bytes:
        """The line as a chunk of an HTTP/1.1 response, built once, too."""
        chunk = self.lines.get((kind,))
        if chunk is None:
            line = self.line(kind)
            chunk = b"%x\r\n%b\r\n" % (len(line), line)
            self.lines[(kind,)] = chunk
        return chunk

    def forget_derived(self) -> None:
        """Drops what can be made again. A built line weighs as much as the object itself."""
        self.lines = _NO_LINES
        if self.previous is not None:
            self.previous.forget_derived()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much history a resource keeps.

    events:       how far behind a watcher may fall or resume
    size:         bytes of the objects in these events
    fewest:       events that are kept however large their objects are
    recent:       events whose built lines are kept, too
    recent_size:  bytes of the objects in these
    """

    events: int = 10_000
    size: int = 48 << 20
    fewest: int = 16
    recent: int = 256
    recent_size: int = 8 << 20


class History:
    """The last events of one resource, in revision order.

    A position counts events from the first that there ever was. `written` is the position after the
    newest event; the oldest that is kept is at ``written - len(events)``.

    dropped: revision of the newest event that is no longer kept. A watch cannot resume from before
             it.
    """

    def __init__(self, dropped: int, limits: Limits) -> None:
        self.events: deque[Event] = deque()
        self.written = 0
        self.dropped = dropped
        self._limits = limits
        self._size = 0
        self._recent: deque[Event] = deque()
        self._recent_size = 0
        self._packable = 0  # events from the oldest on whose objects were handed out for packing

    def append(self, event: Event) -> bool:
        """Adds the newest event. Returns whether older ones were dropped for it."""
        size = event.size
        self.events.append(event)
        self.written += 1
        self._size += size
        self._recent.append(event)
        self._recent_size += size
        limits = self._limits
        while len(self._recent) > limits.recent or (
            self._recent_size > limits.recent_size and len(self._recent) > 1
        ):
            self._age_oldest()
        dropped = False
        while len(self.events) > limits.events or (
            self._size > limits.size and len(self.events) > limits.fewest
        ):
            self._drop_oldest()
            dropped = True
        return dropped

    def forget(self, revision: int) -> None:
        """Drops the events up to and including `revision`."""
        while self.events and self.events[0].revision <= revision:
            self._drop_oldest()
        while self._recent and self._recent[0].revision <= revision:
            self._age_oldest()

    def _drop_oldest(self) -> None:
        oldest = self.events.popleft()
        self._size -= oldest.size
        self._packable = max(self._packable - 1, 0)
        self.dropped = oldest.revision

    def packable(self, most: int) -> list[Entry]:
        """Up to `most` objects that only the history holds and that are not recent. Each is
        returned once."""
        entries: list[Entry] = []
        old = len(self.events) - len(self._recent)
        while self._packable < old and len(entries) < most:
            previous = self.events[self._packable].previous
            self._packable += 1
            if previous is not None and len(previous.data) > WORTH_PACKING:
                entries.append(previous)
        return entries

    def _age_oldest(self) -> None:
        event = self._recent.popleft()
        self._recent_size -= event.size
        event.forget_derived()

    def position_after(self, revision: int) -> int:
        """The position of the first event that is newer than `revision`."""
        return self.written - sum(1 for _ in self.newer_than(revision))

    def newer_than(self, revision: int) -> Iterator[Event]:
        """The events newer than `revision`, newest first."""
        for event in reversed(self.events):
            if event.revision <= revision:
                return
            yield event

    def last(self, count: int) -> list[Event] | None:
        """The newest `count` events, newest first; None if some of them are no longer kept."""
        if count > len(self.events):
            return None
        return list(islice(reversed(self.events), count))
