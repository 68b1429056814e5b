"""The cluster as columns: a row for each node, arrays for what is counted. Updated in place as events come.

Rows of nodes that are gone are used again. `alive` tells which rows count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from tiphys.api import core_v1
from tiphys.machinery.footprint import CPU, MEMORY, units
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.columns import Columns
from tiphys.scheduler.counting import (
    Bools,
    Counter,
    Domains,
    Ints,
    Label,
    Tallied,
    Tally,
    TermIndex,
)
from tiphys.scheduler.podinfo import PODS, STORAGE, PodInfo, Term

_CELLS = 2_000_000  # numbers that all counters together may hold (16 MB); those not asked for longest go first
_NOBODY = frozenset(("\0",))  # namespaces, when a selector chooses none


_NO_COUNTERS: dict[int, Counter] = {}


class Snapshot:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.nodes: list[core_v1.Node | None] = []
        self.row: dict[str, int] = {}
        self._free: list[int] = []
        self.resources: dict[str, int] = {CPU: 0, MEMORY: 1, STORAGE: 2, PODS: 3}
        self.allocatable: Ints = np.zeros((4, 0), np.int64)
        self.requested: Ints = np.zeros((4, 0), np.int64)
        self.scored: Ints = np.zeros((2, 0), np.int64)
        self.alive: Bools = np.zeros(0, np.bool_)
        self.schedulable: Bools = np.zeros(0, np.bool_)
        self.generation = 0  # changes when something of the nodes themselves does
        self.pods: dict[str, tuple[int, PodInfo]] = {}
        self._on: dict[int, dict[str, PodInfo]] = {}  # the same by row
        self._waiting: dict[str, dict[str, PodInfo]] = {}  # pods on nodes that are not known yet
        self.ports: dict[int, dict[str, tuple[tuple[str, str, int], ...]]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}  # the labels of each
        self._counters: OrderedDict[tuple[frozenset[str], Selector], Counter] = OrderedDict()
        self._anchored: dict[Label | None, dict[int, Counter]] = {}  # counters by their anchor
        self._labelled: dict[Label, set[str]] = {}  # uids of pods by each of their labels
        self.anti = TermIndex()  # required anti-affinity: it holds both ways
        self.wishes = (
            TermIndex()
        )  # preferred terms, and required affinity with a weight: so do these
        self._domains: dict[str, tuple[int, Domains]] = {}
        self.columns = Columns()
        self.images: dict[str, dict[int, int]] = {}  # by name: the rows that have it, and its size

    # --- nodes ---

    def _grow(self) -> None:
        more = max(64, len(self.names))
        pad = ((0, 0), (0, more))
        self.allocatable, self.requested = (
            np.pad(self.allocatable, pad),
            np.pad(self.requested, pad),
        )
        self.scored = np.pad(self.scored, pad)
        self.alive, self.schedulable = (
            np.pad(self.alive, (0, more)),
            np.pad(self.schedulable, (0, more)),
        )
        for counter in self._counters.values():
            counter.grow(more)
        self.anti.grow(more)
        self.wishes.grow(more)
        start = len(self.names)
        self.names += [""] * more
        self.nodes += [None] * more
        self._free = list(range(start + more - 1, start - 1, -1)) + self._free

    def _column(self, name: str) -> int:
        at = self.resources.get(name)
        if at is None:
            at = self.resources[name] = len(self.resources)
            self.allocatable = np.pad(self.allocatable, ((0, 1), (0, 0)))
            self.requested = np.pad(self.requested, ((0, 1), (0, 0)))
        return at

    def put_node(self, node: core_v1.Node) -> None:
        name = node.metadata.name
        at = self.row.get(name)
        if at is None:
            if not self._free:
                self._grow()
            at = self.row[name] = self._free.pop()
        before = self.nodes[at]
        self.names[at], self.nodes[at], self.alive[at] = name, node, True
        self.schedulable[at] = not node.spec.unschedulable
        self.allocatable[:, at] = 0
        for resource, value in node.status.allocatable.items():
            column = self._column(resource)  # may put another array in the place of this one
            self.allocatable[column, at] = units(resource, value)
        self.columns.touch(at)
        if before is None or before.status.images != node.status.images:
            self._put_images(before, node, at)
        if before is None or _looks(before) != _looks(node):
            self.generation += 1
        for info in self._waiting.pop(name, {}).values():
            self._place(info, at)

    def _put_images(self, before: core_v1.Node | None, node: core_v1.Node | None, at: int) -> None:
        for image in before.status.images if before is not None else ():
            for name in image.names:
                holders = self.images.get(name, {})
                holders.pop(at, None)
                if not holders:
                    self.images.pop(name, None)
        for image in node.status.images if node is not None else ():
            for name in image.names:
                self.images.setdefault(name, {})[at] = image.size_bytes

    def remove_node(self, name: str) -> None:
        at = self.row.pop(name, None)
        if at is None:
            return
        for info in self.pods_on(at):
            self.remove_pod(info.uid)
            self._waiting.setdefault(name, {})[info.uid] = info
        self.alive[at] = self.schedulable[at] = False
        self.allocatable[:, at] = self.requested[:, at] = self.scored[:, at] = 0
        self.columns.touch(at)
        self._put_images(self.nodes[at], None, at)
        self.names[at], self.nodes[at] = "", None
        self._free.append(at)
        self.generation += 1

    # --- pods ---

    def put_pod(self, info: PodInfo, node: str) -> None:
        """A pod that is bound, or about to be."""
        if info.uid in self.pods:
            row, known = self.pods[info.uid]
            if (
                known.labels == info.labels
                and self.names[row] == node
                and known.requests == info.requests
            ):
                known.pod = info.pod
                return
            self.remove_pod(info.uid)
        at = self.row.get(node)
        if at is None:
            self._waiting.setdefault(node, {})[info.uid] = info
        else:
            self._place(info, at)

    def _place(self, info: PodInfo, at: int) -> None:
        self.pods[info.uid] = (at, info)
        self._on.setdefault(at, {})[info.uid] = info
        self._count(info, at, 1)
        for label in info.labels.items():
            self._labelled.setdefault(label, set()).add(info.uid)
        if info.ports:
            self.ports.setdefault(at, {})[info.uid] = info.ports

    def remove_pod(self, uid: str) -> None:
        found = self.pods.pop(uid, None)
        if found is None:
            for waiting in self._waiting.values():
                waiting.pop(uid, None)
            return
        at, info = found
        del self._on[at][uid]
        self._count(info, at, -1)
        for label in info.labels.items():
            alike = self._labelled[label]
            alike.discard(uid)
            if not alike:
                del self._labelled[label]
        if info.ports:
            self.ports[at].pop(uid, None)

    def _count(self, info: PodInfo, at: int, sign: int) -> None:
        for name, value in info.requests.items():
            column = self._column(name)
            self.requested[column, at] += sign * value
        self.requested[3, at] += sign
        self.scored[0, at] += sign * info.scored[0]
        self.scored[1, at] += sign * info.scored[1]
        self.columns.touch(at)
        for anchor in (None, *info.labels.items()):
            for counter in self._anchored.get(anchor, _NO_COUNTERS).values():
                if counter.matches(info):
                    counter.add(at, sign)
        for term in info.required_anti_affinity:
            self.anti.add(term, at, sign, len(self.names))
        for term in info.wishes:
            self.wishes.add(term, at, sign, len(self.names))

    # --- questions ---

    def pods_on(self, row: int) -> list[PodInfo]:
        return list(self._on.get(row, {}).values())

    def matching(self, namespaces: frozenset[str], selector: Selector) -> Counter:
        """The pods that match; counted once, then kept."""
        key = (namespaces, selector)
        counter = self._counters.get(key)
        if counter is not None:
            self._counters.move_to_end(key)
            return counter
        counter = self._counters[key] = Counter(namespaces, selector, len(self.names))
        self._anchored.setdefault(counter.anchor, {})[id(counter)] = counter
        for uid in self._labelled.get(counter.anchor, ()) if counter.anchor else self.pods:
            at, info = self.pods[uid]
            if counter.matches(info):
                counter.rows[at] += 1
        if len(self._counters) > max(_CELLS // max(len(self.names), 1), 100):
            _, old = self._counters.popitem(last=False)
            alike = self._anchored[old.anchor]
            del alike[id(old)]
            if not alike:
                del self._anchored[old.anchor]
        return counter

    def matching_term(self, term: Term) -> Counter:
        """The pods that a term is about."""
        return self.matching(self.namespaces_of(term), term.selector)

    def namespaces_of(self, term: Term) -> frozenset[str]:
        """The namespaces of a term, empty for all."""
        if term.within is None:
            return term.namespaces
        chosen = {name for name, labels in self.namespaces.items() if term.within.matches(labels)}
        return term.namespaces | chosen or _NOBODY

    def is_about(self, term: Term, info: PodInfo) -> bool:
        namespaces = self.namespaces_of(term)
        return (not namespaces or info.namespace in namespaces) and term.selector.matches(
            info.labels
        )

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        return self.namespaces.get(namespace, {})

    def domains(self, topology: str) -> Domains:
        """The values that a label has on the nodes."""
        found = self._domains.get(topology)
        if found is None or found[0] != self.generation or len(found[1].rows) != len(self.names):
            values: dict[str, int] = {}
            rows = np.full(len(self.names), -1, np.int64)
            for at in self.row.values():
                labels = self.nodes[at].metadata.labels  # type: ignore[union-attr]
                value = labels.get(topology)
                if value is not None:
                    rows[at] = values.setdefault(value, len(values))
            found = self._domains[topology] = (
                self.generation,
                Domains(topology, list(values), rows, rows >= 0),
            )
        return found[1]

    def tally(self, term: Term, pods: Tallied | None = None) -> Tally:
        """How many pods the domains of a term's topology have: `pods`, or those that the term is about."""
        return (self.matching_term(term) if pods is None else pods).tally(
            self.domains(term.topology)
        )


def _looks(node: core_v1.Node) -> Any:
    """What filters see of a node besides its size."""
    return node.metadata.labels, node.spec.taints, node.spec.unschedulable
