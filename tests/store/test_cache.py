from __future__ import annotations

import pytest

from tiphys.machinery.selectors import parse_fields, parse_labels
from tiphys.store.cache import (
    Entry,
    Expired,
    Filter,
    ResourceCache,
    Selectable,
    packed_alike,
)
from tiphys.store.engine import Change

PREFIX = "/core/pods/"


def value(label: str = "a", node: str = "n1") -> bytes:
    return b'{"metadata":{"name":"x","labels":{"l":"%b"}},"spec":{"nodeName":"%b"}}' % (
        label.encode(),
        node.encode(),
    )


def cache() -> ResourceCache:
    made = ResourceCache(
        PREFIX, (Selectable("spec.nodeName"), Selectable("spec.unschedulable", "false")), 0
    )
    for revision, name in enumerate("abc", 1):
        made.apply(
            Change(
                revision,
                f"{PREFIX}ns/{name}",
                value("odd" if revision % 2 else "even", f"n{revision}"),
                0,
            )
        )
    return made


def names(entries: list) -> list[str]:  # type: ignore[type-arg]
    return [entry.key[-1] for entry in entries]


def test_objects_carry_their_revision() -> None:
    assert b'"resourceVersion":"2"' in cache().get(f"{PREFIX}ns/b").data  # type: ignore[union-attr]


def test_selectors_by_label_and_field_before_and_after_a_change() -> None:
    made = cache()
    view = Filter(PREFIX, labels=parse_labels("l=odd"))
    assert names(made.select(view)) == ["a", "c"]
    made.apply(Change(4, f"{PREFIX}ns/a", value("even", "n3"), 1))
    assert names(made.select(view)) == ["c"]
    assert names(made.select(Filter(PREFIX, fields=parse_fields("spec.nodeName=n3")))) == ["a", "c"]
    assert names(made.select(Filter(PREFIX, fields=parse_fields("spec.unschedulable=false")))) == [
        "a",
        "b",
        "c",
    ]


def test_the_past_can_be_listed_as_it_was() -> None:
    made = cache()
    made.apply(Change(4, f"{PREFIX}ns/b", None, 2))
    made.apply(Change(5, f"{PREFIX}ns/d", value(), 0))
    assert names(made.select(Filter(PREFIX))) == ["a", "c", "d"]
    assert names(made.at(Filter(PREFIX), 3)) == ["a", "b", "c"]
    assert names(made.at(Filter(PREFIX), 1)) == ["a"]
    made.forget(2)
    with pytest.raises(Expired):
        made.at(Filter(PREFIX), 1)


def test_a_watch_resumes_without_a_gap_and_sees_objects_enter_and_leave() -> None:
    made = cache()
    watcher = made.watch(Filter(PREFIX, labels=parse_labels("l=odd")), 1, lambda: None)
    made.apply(Change(4, f"{PREFIX}ns/b", value("odd"), 2))
    made.apply(Change(5, f"{PREFIX}ns/b", value("even"), 4))
    made.apply(Change(6, f"{PREFIX}ns/c", None, 3))
    assert [(kind, event.key[-1]) for kind, event in watcher.take()] == [
        ("ADDED", "c"),
        ("ADDED", "b"),
        ("DELETED", "b"),
        ("DELETED", "c"),
    ]


def test_a_deletion_shows_the_object_at_the_deletion_revision() -> None:
    made = cache()
    watcher = made.watch(Filter(PREFIX), 3, lambda: None)
    made.apply(Change(9, f"{PREFIX}ns/a", None, 1))
    [(kind, event)] = watcher.take()
    assert event.line(kind).startswith(
        b'{"type":"DELETED"'
    ) and b'"resourceVersion":"9"' in event.line(kind)


def test_a_watch_from_forgotten_history_is_refused() -> None:
    made = cache()
    made.forget(2)
    with pytest.raises(Expired):
        made.watch(Filter(PREFIX), 1, lambda: None)


def test_a_watch_from_an_objects_own_version_goes_on_while_nothing_of_its_kind_is_missing() -> None:
    made = cache()
    made.forget(100)
    assert not made.watch(Filter(PREFIX), 3, lambda: None).take()
    made.apply(Change(101, f"{PREFIX}ns/a", value(), 1))
    assert [kind for kind, _ in made.watch(Filter(PREFIX), 3, lambda: None).take()] == ["MODIFIED"]
    made.forget(101)
    with pytest.raises(Expired):
        made.watch(Filter(PREFIX), 3, lambda: None)
    with pytest.raises(Expired):
        made.at(Filter(PREFIX), 100)


def long_value(number: int) -> bytes:
    return b'{"metadata":{"name":"x%d"},"note":"%b"}' % (number, b"n" * 1000)


def changed_often(times: int) -> ResourceCache:
    """A cache with an object that was changed so many times since revision 3."""
    made = cache()
    for revision in range(4, 4 + times):
        made.apply(Change(revision, f"{PREFIX}ns/a", long_value(revision), revision - 1))
    return made


def pack_history(made: ResourceCache) -> int:
    """Compresses all there is; how many objects that were."""
    count = 0
    while entries := made.packable(10):
        for entry, packed in zip(entries, packed_alike([e.data for e in entries]), strict=True):
            entry.pack(packed)
        count += len(entries)
    return count


def test_history_that_was_compressed_can_be_listed_and_watched() -> None:
    made = changed_often(600)
    assert pack_history(made) > 300
    assert b'"name":"x50"' in made.at(Filter(f"{PREFIX}ns/a"), 50)[0].data
    events = [event for _, event in made.watch(Filter(PREFIX), 3, lambda: None).take()]
    assert [event.revision for event in events] == list(range(4, 604))
    previous = events[100].previous
    assert previous is not None and b'"resourceVersion":"103"' in previous.data


def test_history_is_compressed_once_and_what_is_recent_is_left_alone() -> None:
    made = changed_often(600)
    before = pack_history(made)
    assert pack_history(made) == 0
    assert type(made.events[-1].previous) is Entry
    made.apply(Change(604, f"{PREFIX}ns/a", long_value(604), 603))
    assert pack_history(made) == 1
    made.forget(300)
    assert pack_history(made) == 0
    assert before + 1 > 300


def test_the_size_of_history_is_the_same_when_it_was_compressed() -> None:
    made = changed_often(600)
    pack_history(made)
    made.forget(1 << 40)
    assert made._bytes == 0
