"""The watch cache, case by case. `test_cache_model` compares it to a model over random
histories."""

from __future__ import annotations

import pytest

from tests.store.builders import PREFIX, SELECTABLE, cache, delete, key, names, put, value
from tiphys.machinery.selectors import parse_fields, parse_labels
from tiphys.store.cache import Event, Expired, Filter, Limits, ResourceCache, Selectable, Watcher
from tiphys.store.corruption import Corrupt
from tiphys.store.engine import Change

ALL = Filter(PREFIX)
ODD = Filter(PREFIX, labels=parse_labels("l=odd"))


def three(limits: Limits | None = None) -> ResourceCache:
    """Objects a, b and c of revisions 1 to 3."""
    return cache(
        put(1, "a", "odd", "n1"), put(2, "b", "even", "n2"), put(3, "c", "odd", "n3"), limits=limits
    )


def never() -> None:
    pytest.fail("woken although nothing happened")


def taken(watcher: Watcher) -> list[tuple[str, str]]:
    return [(kind, event.key[-1]) for kind, event in watcher.take()]


# --- lists ---


def test_objects_carry_their_revision() -> None:
    entry = three().get(key("b"))
    assert entry is not None and b'"resourceVersion":"2"' in entry.data


def test_selectors_by_label_and_field_before_and_after_a_change() -> None:
    made = three()
    on_n3 = Filter(PREFIX, fields=parse_fields("spec.nodeName=n3"))
    assert (names(made.select(ODD)), names(made.select(on_n3))) == (["a", "c"], ["c"])
    made.apply(put(4, "a", "even", "n3"))
    assert (names(made.select(ODD)), names(made.select(on_n3))) == (["c"], ["a", "c"])


def test_a_field_that_an_object_lacks_has_the_value_that_stands_for_it() -> None:
    schedulable = Filter(PREFIX, fields=parse_fields("spec.unschedulable=false"))
    assert names(three().select(schedulable)) == ["a", "b", "c"]


def test_a_prefix_ends_where_the_next_namespace_begins() -> None:
    made = cache(
        Change(1, "/core/pods/ns/z", value(), 0),
        Change(2, "/core/pods/ns2/a", value(), 0),
        Change(3, "/core/pods/ms/a", value(), 0),
    )
    assert [entry.key for entry in made.select(Filter("/core/pods/ns/"))] == ["/core/pods/ns/z"]
    assert (made.count("/core/pods/ns/"), made.count(PREFIX), len(made)) == (1, 3, 3)


@pytest.mark.parametrize(
    ("start", "limit", "page", "left"),
    [
        ("", 2, ["a", "b"], 1),
        ("", 3, ["a", "b", "c"], 0),
        ("a", 1, ["b"], 1),
        ("b", 5, ["c"], 0),
        ("bb", 1, ["c"], 0),  # the key it ended at is gone
        ("c", 1, [], 0),
    ],
)
def test_a_page_begins_after_the_last_key_of_the_one_before(
    start: str, limit: int, page: list[str], left: int
) -> None:
    entries, rest = three().page(ALL, key(start) if start else "", limit)
    assert (names(entries), rest) == (page, left)


def test_the_past_is_listed_as_it_was() -> None:
    made = three()
    made.apply(delete(4, "b"))
    made.apply(put(5, "a", "even"))
    assert [names(made.candidates_at(ALL.prefix, revision)) for revision in range(6)] == [
        [],
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
        ["a", "c"],
        ["a", "c"],
    ]
    odd = [[e for e in made.candidates_at(ALL.prefix, at) if ODD.matches(e)] for at in (4, 5)]
    assert [names(entries) for entries in odd] == [["a", "c"], ["c"]]


def test_a_list_of_the_past_keeps_to_its_namespace() -> None:
    made = cache(put(1, "a"), Change(2, "/core/pods/other/x", value(), 0))
    made.apply(Change(3, "/core/pods/other/x", None, 2))
    assert names(made.candidates_at("/core/pods/ns/", 2)) == ["a"]


@pytest.mark.parametrize(
    ("revision", "start", "limit", "page", "left"),
    [
        (3, "", 2, ["a", "b"], 1),  # b is gone since
        (3, "b", 2, ["c"], 0),
        (2, "", 5, ["a", "b"], 0),  # c is new
        (4, "a", 1, ["c"], 0),
        (5, "", 1, ["a"], 1),
        (3, "", 1 << 62, ["a", "b", "c"], 0),
    ],
)
def test_a_page_of_the_past(
    revision: int, start: str, limit: int, page: list[str], left: int
) -> None:
    made = three()
    made.apply(delete(4, "b"))
    made.apply(put(5, "a", "even"))
    made.apply(Change(6, "/core/pods/other/x", value(), 0))
    after = key(start) if start else ""
    entries, rest = made.page_at("/core/pods/ns/", revision, after, limit)
    assert (names(entries), rest) == (page, left)


def test_the_floor_itself_can_be_listed_and_nothing_before_it() -> None:
    made = three()
    made.forget(2)
    assert made.floor == 2 and names(made.candidates_at(ALL.prefix, 2)) == ["a", "b"]
    with pytest.raises(Expired) as expired:
        made.candidates_at(ALL.prefix, 1)
    assert expired.value.floor == 2


def test_compaction_never_lowers_the_floor() -> None:
    made = three()
    made.forget(3)
    made.forget(1)
    assert made.floor == 3


def test_what_is_older_than_the_floor_makes_objects_and_no_events() -> None:
    made = ResourceCache(PREFIX, (), 5)
    made.apply(put(5, "a"))
    assert (len(made), made.written, made.revision) == (1, 0, 5)
    made.apply(put(6, "b"))
    assert made.written == 1


def test_a_deletion_of_what_is_not_there_is_no_event() -> None:
    made = three()
    made.apply(delete(9, "x"))
    assert (made.written, made.revision) == (3, 9)


def test_fields_that_a_new_definition_names_can_be_selected_by() -> None:
    made = ResourceCache(PREFIX, (), 0)
    made.apply(put(1, "a", node="n1"))
    on_n1 = Filter(PREFIX, fields=parse_fields("spec.nodeName=n1"))
    assert names(made.select(on_n1)) == []
    made.select_by((Selectable("spec.nodeName"),))
    assert names(made.select(on_n1)) == ["a"]


# --- watches ---


def test_a_watch_resumes_without_a_gap_and_sees_objects_enter_and_leave() -> None:
    made = three()
    watcher = made.watch(ODD, 1, never)
    made.apply(put(4, "b", "odd"))
    made.apply(put(5, "b", "even"))
    made.apply(delete(6, "c"))
    assert taken(watcher) == [("ADDED", "c"), ("ADDED", "b"), ("DELETED", "b"), ("DELETED", "c")]


def test_a_watcher_is_woken_once_until_it_has_taken_everything() -> None:
    woken: list[int] = []
    made = three()
    watcher = made.watch(ALL, 3, lambda: woken.append(made.revision))
    for revision in (4, 5):
        made.apply(put(revision, "a"))
    assert woken == [4]
    assert len(watcher.take(most=1)) == 1 and watcher.behind
    made.apply(put(6, "a"))
    assert woken == [4] and len(watcher.take()) == 2 and not watcher.behind
    made.apply(put(7, "a"))
    assert woken == [4, 7]


def test_a_watcher_that_left_is_not_woken() -> None:
    made = three()
    watcher = made.watch(ALL, 3, never)
    made.unwatch(watcher)
    made.apply(put(4, "a"))  # `never` fails when it is called
    assert made.get(key("a")).revision == 4


def test_a_take_ends_with_the_event_that_exceeds_its_size() -> None:
    made = cache(put(1, "a"), put(2, "b"), put(3, "c"))
    size = made.events[0].size
    watcher = made.watch(ALL, 0, never)
    assert len(watcher.take(size=0)) == 1
    assert len(watcher.take(size=size)) == 2


def test_a_watcher_overflows_when_history_went_on_without_it() -> None:
    made = three(limits=Limits(events=3, fewest=1))
    slow = made.watch(ALL, 0, never)
    quick = made.watch(ALL, 0, never)
    assert len(quick.take(most=1)) == 1
    made.apply(put(4, "a"))
    assert taken(slow) == [] and slow.overflowed
    assert len(taken(quick)) == 3 and not quick.overflowed


def test_a_watch_from_forgotten_history_is_refused() -> None:
    made = three()
    made.forget(2)
    with pytest.raises(Expired):
        made.watch(ALL, 1, never)
    assert taken(made.watch(ALL, 2, never)) == [("ADDED", "c")]


def test_a_watch_from_an_objects_own_version_goes_on_while_nothing_of_its_kind_is_missing() -> None:
    made = three()
    made.forget(100)
    assert not made.watch(ALL, 3, lambda: None).take()
    made.apply(put(101, "a"))
    assert taken(made.watch(ALL, 3, never)) == [("MODIFIED", "a")]
    made.forget(101)
    with pytest.raises(Expired):
        made.watch(ALL, 3, never)
    with pytest.raises(Expired):
        made.candidates_at(ALL.prefix, 100)


# --- values that are not objects ---


def corrupt(revision: int, name: str) -> Corrupt:
    return Corrupt(key(name), revision, "broken")


def test_a_corrupt_value_takes_its_object_out_of_lists_and_indexes() -> None:
    made = three()
    made.select(ODD)
    made.set_corrupt(corrupt(4, "a"))
    assert (names(made.select(ALL)), names(made.select(ODD))) == (["b", "c"], ["c"])
    assert [row.key for row in made.corrupt_below("/core/pods/ns/")] == [key("a")]
    assert made.corrupt_below("/core/pods/other/") == []
    made.apply(put(5, "a", "odd"))
    assert names(made.select(ODD)) == ["a", "c"] and made.corrupt_below(PREFIX) == []


def test_a_corrupt_value_ends_watches_and_none_resumes_over_it() -> None:
    woken: list[bool] = []
    made = three()
    watcher = made.watch(ALL, 3, lambda: woken.append(True))
    made.set_corrupt(corrupt(4, "a"))
    assert woken == [True] and taken(watcher) == [] and watcher.overflowed
    with pytest.raises(Expired):
        made.watch(ALL, 3, never)
    assert not made.watch(ALL, 4, never).take()


# --- what was derived from it ---


def test_a_version_tells_which_keys_have_changed_since() -> None:
    made = three()
    version = made.version
    assert made.keys_changed_since(version) == []
    made.apply(put(4, "a"))
    made.apply(delete(5, "b"))
    assert made.keys_changed_since(version) == [key("b"), key("a")]


def test_everything_may_have_changed_when_history_cannot_tell() -> None:
    made = three()
    version = made.version
    made.apply(put(4, "a"))
    made.forget(4)
    assert made.keys_changed_since(version) is None
    version = made.version
    made.set_corrupt(corrupt(5, "a"))
    made.apply(put(6, "a"))
    assert made.keys_changed_since(version) is None


def test_changes_of_the_past_cannot_be_told_one_by_one() -> None:
    made = ResourceCache(PREFIX, (), 5)
    version = made.version
    made.apply(put(5, "a"))
    assert made.keys_changed_since(version) is None


def test_a_deletion_shows_the_object_at_the_deletion_revision() -> None:
    made = three()
    watcher = made.watch(ALL, 3, lambda: None)
    made.apply(delete(9, "a"))
    [(kind, event)] = watcher.take()
    line = event.line(kind)
    assert line.startswith(b'{"type":"DELETED","object":{"metadata":{"resourceVersion":"9","name"')
    assert line.count(b"resourceVersion") == 1 and event.chunk(kind).endswith(line + b"\r\n")


def test_a_line_is_built_once_for_all_watchers() -> None:
    event: Event = three().events[0]
    assert event.line("ADDED") is event.line("ADDED")
    assert event.chunk("ADDED") is event.chunk("ADDED")


def test_the_same_version_is_the_same_value_until_something_changes() -> None:
    made = three()
    first = made.version
    assert made.version is first
    made.apply(delete(9, "x"))  # no event, but the cache is further
    assert made.version == (9, 3, 0)
    made.set_corrupt(corrupt(9, "x"))
    assert made.version == (9, 3, 1)


def test_a_cache_is_told_of_whatever_came_out_of_order_of_names() -> None:
    made = cache(put(1, "b"), put(2, "a"), put(3, "c"), put(4, "aa"))
    assert names(list(made)) == ["a", "aa", "b", "c"]
    made.apply(delete(5, "aa"))
    made.apply(put(6, "b"))
    assert names(list(made)) == ["a", "b", "c"] and len(made) == 3


def test_a_take_looks_at_so_many_events_and_goes_on_there() -> None:
    made = three()
    watcher = made.watch(ODD, 0, never)
    assert [taken_names(watcher.take(most)) for most in (1, 1, 5)] == [["a"], [], ["c"]]
    assert watcher.position == 3


def taken_names(events: list[tuple[str, Event]]) -> list[str]:
    return [event.key[-1] for _, event in events]


def test_fields_that_are_named_again_leave_what_was_read() -> None:
    made = three()
    made.select_by(SELECTABLE)
    on_n1 = Filter(PREFIX, fields=parse_fields("spec.nodeName=n1"))
    assert names(made.select(on_n1)) == ["a"] and bool(made._indexes)
    made.select_by(SELECTABLE)
    assert bool(made._indexes), "nothing changed, so the index stays"
    made.select_by(())
    assert not made._indexes and names(made.select(on_n1)) == []


def test_what_is_corrupt_is_no_longer_when_it_is_written_or_deleted() -> None:
    made = three()
    made.set_corrupt(corrupt(4, "a"))
    made.set_corrupt(corrupt(5, "b"))
    assert [row.key[-1] for row in made.corrupt_below(PREFIX)] == ["a", "b"]
    made.apply(delete(6, "a"))
    assert [row.key[-1] for row in made.corrupt_below(PREFIX)] == ["b"]
    assert made.corruptions == 2 and names(list(made)) == ["c"]


def test_contents_are_of_one_moment() -> None:
    made = three()
    made.forget(1)
    before = made.contents()
    made.apply(put(4, "d"))
    assert (before.prefix, before.dropped, before.corrupt) == (PREFIX, 1, [])
    assert names(before.entries) == ["a", "b", "c"]
    assert [event.revision for event in before.events] == [2, 3]


def test_a_page_of_a_namespace_begins_and_ends_in_it() -> None:
    made = cache(
        Change(1, "/core/pods/a/x", value(), 0),
        Change(2, "/core/pods/b/x", value(), 0),
        Change(3, "/core/pods/b/y", value(), 0),
        Change(4, "/core/pods/c/x", value(), 0),
    )
    below = Filter("/core/pods/b/")
    entries, rest = made.page(below, "", 1)
    assert ([entry.key for entry in entries], rest) == (["/core/pods/b/x"], 1)
    entries, rest = made.page(below, "/core/pods/b/x", 5)
    assert ([entry.key for entry in entries], rest) == (["/core/pods/b/y"], 0)
