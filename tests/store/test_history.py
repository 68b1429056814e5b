"""How much history is kept."""

from __future__ import annotations

from tests.store.builders import SELECTABLE, key, value
from tiphys.store.cache import with_revision
from tiphys.store.entries import Entry
from tiphys.store.history import Event, History, Limits


def event(revision: int, previous: Entry | None = None) -> Event:
    data = with_revision(value(), revision)
    return Event(revision, Entry(key("a"), revision, data, SELECTABLE), previous)


def history(limits: Limits, count: int) -> History:
    made = History(0, limits)
    for revision in range(1, count + 1):
        made.append(event(revision))
    return made


def revisions(made: History) -> list[int]:
    return [event.revision for event in made.events]


SIZE = event(1).size


def test_as_many_events_as_the_limit_says() -> None:
    made = history(Limits(events=3, fewest=1), 3)
    assert (revisions(made), made.dropped) == ([1, 2, 3], 0)
    assert made.append(event(4)) and not history(Limits(), 1).append(event(2))
    assert (revisions(made), made.dropped, made.written) == ([2, 3, 4], 1, 4)


def test_as_many_bytes_as_the_limit_says_and_the_fewest_whatever_they_weigh() -> None:
    assert revisions(history(Limits(size=3 * SIZE, fewest=1), 5)) == [3, 4, 5]
    assert revisions(history(Limits(size=3 * SIZE - 1, fewest=1), 5)) == [4, 5]
    assert revisions(history(Limits(size=0, fewest=4), 5)) == [2, 3, 4, 5]


def test_bytes_of_what_was_forgotten_no_longer_count() -> None:
    made = history(Limits(size=3 * SIZE, fewest=1), 3)
    made.forget(2)
    made.append(event(4))
    made.append(event(5))
    assert revisions(made) == [3, 4, 5]


def with_lines(made: History) -> list[int]:
    """Revisions of the events that keep the line that is built for a watcher."""
    for event in made.events:
        event.line("ADDED")
    return [event.revision for event in made.events if event.lines]


def test_lines_are_kept_of_the_recent_events_alone() -> None:
    assert with_lines(history(Limits(recent=2), 5)) == [4, 5]
    assert with_lines(history(Limits(recent_size=2 * SIZE), 5)) == [4, 5]
    assert with_lines(history(Limits(recent_size=0), 5)) == [5]
    made = history(Limits(recent=4), 5)
    made.forget(3)
    assert with_lines(made) == [4, 5]


def test_what_was_read_from_a_replaced_object_goes_with_the_line() -> None:
    replaced = Entry(key("a"), 1, with_revision(value(), 1), SELECTABLE)
    replaced.shown = {"table": b"row"}
    made = History(0, Limits(recent=1))
    made.append(event(2, replaced))
    assert replaced.shown
    made.append(event(3))
    assert not replaced.shown


def test_positions_count_what_is_no_longer_kept() -> None:
    made = history(Limits(events=3, fewest=1), 5)
    assert [made.position_after(revision) for revision in (2, 3, 4, 5, 9)] == [2, 3, 4, 5, 5]
    assert [event.revision for event in made.newer_than(3)] == [5, 4]
    assert [event.revision for event in made.last(2) or ()] == [5, 4]
    assert made.last(4) is None and made.last(0) == []


def test_what_is_forgotten_is_no_longer_recent() -> None:
    made = history(Limits(recent=10), 4)
    made.forget(2)
    big = Entry(key("a"), 9, with_revision(value(label="x" * 10_000), 9), SELECTABLE)
    assert made.packable(10) == []
    made.append(event(5, big))
    for revision in range(6, 16):
        made.append(event(revision))
    assert made.packable(10) == [big]
    assert made.packable(10) == []
