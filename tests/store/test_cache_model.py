"""The watch cache against a model that keeps everything, over random histories.

The model remembers every state and every event there ever was, so what the cache must answer is a
plain look-up: lists by selector now and at any revision, watches that resume anywhere and take in
pieces, and what is expired.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.store.builders import PREFIX, cache, delete, key, names, put
from tiphys.machinery.selectors import parse_fields, parse_labels
from tiphys.store.cache import Expired, Filter, Limits, Version, Watcher
from tiphys.store.corruption import Corrupt

KEPT = 6  # events of the cache's history
NAMES = st.sampled_from("abcd")
LABELS = st.sampled_from(["x", "y"])
NODES = st.sampled_from(["n1", "n2", ""])

Object = tuple[str, str]  # label, node
VIEWS: dict[str, Filter] = {
    "all": Filter(PREFIX),
    "l=x": Filter(PREFIX, labels=parse_labels("l=x")),
    "l!=x": Filter(PREFIX, labels=parse_labels("l!=x")),
    "l in (x,y)": Filter(PREFIX, labels=parse_labels("l in (x,y)")),
    "node=n1": Filter(PREFIX, fields=parse_fields("spec.nodeName=n1")),
}
VIEW = st.sampled_from(sorted(VIEWS))


def in_view(view: str, obj: Object | None) -> bool:
    if obj is None:
        return False
    label, node = obj
    return {
        "all": True,
        "l=x": label == "x",
        "l!=x": label != "x",
        "l in (x,y)": True,
        "node=n1": node == "n1",
    }[view]


@dataclass
class Happened:
    """An event of the model: `before` and `after` are None where the object does not exist."""

    revision: int
    name: str
    before: Object | None
    after: Object | None

    def kind(self, view: str) -> str | None:
        before = in_view(view, self.before)
        after = in_view(view, self.after)
        return {
            (False, True): "ADDED",
            (True, True): "MODIFIED",
            (True, False): "DELETED",
            (False, False): None,
        }[before, after]


@dataclass
class Watching:
    """A watcher of the cache, and where it stands in the model's events."""

    view: str
    position: int
    watcher: Watcher = field(init=False)
    woken: int = 0
    idle: bool = False
    overflowed: bool = False

    def wake(self) -> None:
        self.woken += 1


class WatchCache(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.cache = cache(limits=Limits(events=KEPT, fewest=1, recent=2))
        self.revision = 0
        self.states: dict[int, dict[str, Object]] = {0: {}}
        self.events: list[Happened] = []
        self.first_kept = 0  # place in the events
        self.floor = 0  # of lists
        self.resumable = 0  # the oldest revision that a watch may resume from
        self.watching: list[Watching] = []
        self.version = Version(-1, 0, 0)
        self.mirror: dict[
            str, Object
        ] = {}  # what somebody derives from the cache, kept by changed keys

    @property
    def state(self) -> dict[str, Object]:
        return self.states[self.revision]

    # --- what happens ---

    def _next(self, state: dict[str, Object]) -> int:
        self.revision += 1
        self.states[self.revision] = state
        return self.revision

    def _happened(self, name: str, before: Object | None, after: Object | None) -> None:
        self.events.append(Happened(self.revision, name, before, after))
        self._drop(len(self.events) - KEPT)
        for watching in self.watching:
            if watching.idle:
                watching.idle = False
                watching.woken -= 1  # `check_wakes` expects the cache to have added it again

    def _drop(self, first_kept: int) -> None:
        if first_kept > self.first_kept:
            self.first_kept = first_kept
            self.resumable = self.events[first_kept - 1].revision
            self.floor = max(self.floor, self.resumable)

    @rule(name=NAMES, label=LABELS, node=NODES)
    def write(self, name: str, label: str, node: str) -> None:
        before = self.state.get(name)
        self._next(self.state | {name: (label, node)})
        self.cache.apply(put(self.revision, name, label, node))
        self._happened(name, before, (label, node))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        before = self.state.get(name)
        self._next({key: obj for key, obj in self.state.items() if key != name})
        self.cache.apply(delete(self.revision, name))
        if before is not None:
            self._happened(name, before, None)

    @rule()
    def something_of_another_resource(self) -> None:
        self._next(self.state)

    @rule(back=st.integers(0, 8))
    def compact(self, back: int) -> None:
        revision = max(self.revision - back, 0)
        self.cache.forget(revision)
        self._drop(sum(event.revision <= revision for event in self.events))
        self.floor = max(self.floor, revision)

    @rule(name=NAMES)
    def corrupt(self, name: str) -> None:
        self._next({key: obj for key, obj in self.state.items() if key != name})
        self.cache.set_corrupt(Corrupt(key(name), self.revision, "broken"))
        self._drop(len(self.events))
        self.floor = self.resumable = self.revision
        for watching in self.watching:
            watching.overflowed = True
            if watching.idle:
                watching.idle = False
                watching.woken -= 1

    # --- what is asked ---

    @rule(view=VIEW, back=st.integers(0, 10))
    def list_the_past(self, view: str, back: int) -> None:
        revision = max(self.revision - back, 0)
        if revision < self.floor:
            with pytest.raises(Expired):
                self.cache.candidates_at(PREFIX, revision)
            return
        state = self.states[revision]
        expected = sorted(name for name, obj in state.items() if in_view(view, obj))
        entries = self.cache.candidates_at(PREFIX, revision)
        assert names([entry for entry in entries if VIEWS[view].matches(entry)]) == expected

    @rule(back=st.integers(0, 10), limit=st.integers(1, 4))
    def page_through_the_past(self, back: int, limit: int) -> None:
        revision = max(self.revision - back, 0)
        if revision < self.floor:
            with pytest.raises(Expired):
                self.cache.page_at(PREFIX, revision, "", limit)
            return
        state = self.states[revision]
        expected = sorted(name for name, obj in state.items() if obj is not None)
        start = ""
        for index in range(0, len(expected) + 1, limit):
            page, left = self.cache.page_at(PREFIX, revision, start, limit)
            assert names(page) == expected[index : index + limit]
            assert left == max(len(expected) - index - limit, 0)
            start = page[-1].key if page else start

    @rule(view=VIEW, back=st.integers(0, 10))
    def watch(self, view: str, back: int) -> None:
        since = max(self.revision - back, 0)
        position = sum(event.revision <= since for event in self.events)
        watching = Watching(view, position)
        if since < self.resumable:
            with pytest.raises(Expired):
                self.cache.watch(VIEWS[view], since, watching.wake)
            return
        watching.watcher = self.cache.watch(VIEWS[view], since, watching.wake)
        watching.idle = position == len(self.events)
        self.watching.append(watching)

    @rule(data=st.data(), most=st.integers(1, 5))
    def take(self, data: st.DataObject, most: int) -> None:
        if not self.watching:
            return
        watching = data.draw(st.sampled_from(self.watching))
        if watching.overflowed or watching.position < self.first_kept:
            watching.overflowed = True
            assert watching.watcher.take(most) == [] and watching.watcher.overflowed
            return
        looked_at = self.events[watching.position : watching.position + most]
        expected = [
            (event.kind(watching.view), event.revision)
            for event in looked_at
            if event.kind(watching.view) is not None
        ]
        taken = watching.watcher.take(most)
        assert [(kind, event.revision) for kind, event in taken] == expected
        watching.position += len(looked_at)
        watching.idle = watching.position == len(self.events)

    @rule()
    def refresh_mirror(self) -> None:
        changed = self.cache.keys_changed_since(self.version)
        stale = set("abcd") if changed is None else {key[-1] for key in changed}
        for name in stale:
            self.mirror.pop(name, None)
            if name in self.state:
                self.mirror[name] = self.state[name]
        self.version = self.cache.version
        assert self.mirror == self.state

    # --- what holds after each step ---

    @invariant()
    def check_lists(self) -> None:
        for view, selector in VIEWS.items():
            expected = sorted(name for name, obj in self.state.items() if in_view(view, obj))
            assert names(self.cache.select(selector)) == expected
        assert self.cache.count(PREFIX) == len(self.cache) == len(self.state)

    @invariant()
    def check_history(self) -> None:
        kept = [event.revision for event in self.cache.events]
        assert kept == [event.revision for event in self.events[self.first_kept :]]
        assert (self.cache.floor, self.cache.written) == (self.floor, len(self.events))

    @invariant()
    def check_wakes(self) -> None:
        assert all(watching.woken == 0 for watching in self.watching)
        for watching in self.watching:
            assert watching.watcher.behind == (watching.position < len(self.events))


TestWatchCache = WatchCache.TestCase
TestWatchCache.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
