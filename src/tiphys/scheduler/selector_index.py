"""An index of the pods that selectors match: counted once for each selector, then kept. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from tiphys.machinery.selectors import Selector
from tiphys.scheduler.counting import PodCounts
from tiphys.scheduler.podinfo import PlacedPod, PodInfo

# Numbers that all SelectorCounts together may hold (16 MB); those that were not asked for longest
# are dropped.
_MAX_CELLS = 2_000_000
_MIN_COUNTERS = 100

Label = tuple[str, str]
_NO_COUNTERS: dict[int, SelectorCounts] = {}


class SelectorCounts(PodCounts):
    """The pods that a selector matches within namespaces (empty: all). `anchor` is a label that
    each of them has."""

    def __init__(self, namespaces: frozenset[str], selector: Selector, size: int) -> None:
        super().__init__(size)
        self.namespaces = namespaces
        self.selector = selector
        self.anchor = anchor_of(selector)

    def matches(self, pod: PodInfo) -> bool:
        if self.namespaces and pod.namespace not in self.namespaces:
            return False
        return self.selector.matches(pod.labels)


def anchor_of(selector: Selector) -> Label | None:
    """A label that every object has that the selector matches, if there is one. Pods without it
    need not be checked."""
    for requirement in selector.requirements:
        if requirement.operator in ("=", "in") and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None


class SelectorIndex:
    """`pods` are the placed pods by uid: the same dictionary as the snapshot's."""

    def __init__(self, pods: Mapping[str, PlacedPod]) -> None:
        self._pods = pods
        self._uids_by_label: dict[Label, set[str]] = {}
        self._counters: OrderedDict[tuple[frozenset[str], Selector], SelectorCounts] = OrderedDict()
        self._counters_by_anchor: dict[Label | None, dict[int, SelectorCounts]] = {}

    def add_pod(self, pod: PodInfo, row: int) -> None:
        self._count(pod, row, 1)
        for label in pod.labels.items():
            self._uids_by_label.setdefault(label, set()).add(pod.uid)

    def remove_pod(self, pod: PodInfo, row: int) -> None:
        self._count(pod, row, -1)
        for label in pod.labels.items():
            uids = self._uids_by_label[label]
            uids.discard(pod.uid)
            if not uids:
                del self._uids_by_label[label]

    def _count(self, pod: PodInfo, row: int, sign: int) -> None:
        for anchor in (None, *pod.labels.items()):
            for counter in self._counters_by_anchor.get(anchor, _NO_COUNTERS).values():
                if counter.matches(pod):
                    counter.add(row, sign)

    def counts_of(
        self, namespaces: frozenset[str], selector: Selector, size: int
    ) -> SelectorCounts:
        """The pods that a selector matches within namespaces (empty: all), by `size` rows."""
        key = (namespaces, selector)
        counter = self._counters.get(key)
        if counter is not None:
            self._counters.move_to_end(key)
            return counter
        counter = SelectorCounts(namespaces, selector, size)
        self._counters[key] = counter
        self._counters_by_anchor.setdefault(counter.anchor, {})[id(counter)] = counter
        uids = self._uids_by_label.get(counter.anchor, ()) if counter.anchor else self._pods
        for uid in uids:
            row, pod = self._pods[uid]
            if counter.matches(pod):
                counter.by_row[row] += 1
        if len(self._counters) > max(_MAX_CELLS // max(size, 1), _MIN_COUNTERS):
            self._drop_oldest()
        return counter

    def _drop_oldest(self) -> None:
        _, counter = self._counters.popitem(last=False)
        same_anchor = self._counters_by_anchor[counter.anchor]
        del same_anchor[id(counter)]
        if not same_anchor:
            del self._counters_by_anchor[counter.anchor]

    def grow(self, rows: int) -> None:
        for counter in self._counters.values():
            counter.grow(rows)
