"""How many pods match something: of each row, and of each domain of a topology. Kept as pods come and go."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiphys.machinery.selectors import Selector
from tiphys.scheduler.podinfo import PodInfo, Term

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Label = tuple[str, str]
_TALLIES = 16  # of one counter: topologies, times the ways in which rows count


@dataclass(frozen=True, eq=False)
class Domains:
    """The values that a label has on the nodes. `rows` is the index of each row's value, -1 where the label is missing;
    `labelled` tells where it is not."""

    topology: str
    values: list[str]
    rows: Ints
    labelled: Bools


class Tally:
    """How many pods each domain has. `totals` has one number more than there are domains, always 0: rows without the
    label, whose domain is -1, have that. `present` are the domains of rows that count; `counting` None: all do."""

    def __init__(self, domains: Domains, counting: Bools | None, pods: Ints) -> None:
        self.domains, self.counting = domains, counting
        counted = domains.labelled if counting is None else domains.labelled & counting
        rows = domains.rows[counted]
        self.totals: Ints = np.bincount(
            rows, weights=pods[counted], minlength=len(domains.values) + 1
        ).astype(np.int64)
        self.present = np.unique(rows)

    def add(self, at: int, sign: int) -> None:
        domain = self.domains.rows[at]
        if domain >= 0 and (self.counting is None or self.counting[at]):
            self.totals[domain] += sign

    def by_row(self) -> Ints:
        """How many pods the domain of each row has."""
        return self.totals[self.domains.rows]

    def empty(self) -> Bools:
        """The rows whose domain has none."""
        none: Bools = self.totals == 0
        return none[self.domains.rows]

    def least(self) -> int:
        """The pods of the domain that has fewest."""
        return int(self.totals[self.present].min()) if len(self.present) else 0


class Tallied:
    """Pods that have something in common: how many each row has, and, once asked for, each domain."""

    def __init__(self, rows: int) -> None:
        self.rows: Ints = np.zeros(rows, np.int64)
        self._tallies: dict[Hashable, Tally] = {}

    def add(self, at: int, sign: int) -> None:
        self.rows[at] += sign
        for tally in self._tallies.values():
            tally.add(at, sign)

    def tally(self, domains: Domains, counting: Bools | None = None, key: Hashable = None) -> Tally:
        """By domain; only rows `counting` count, of which `key` tells apart the ways there are."""
        whole = domains.topology, key
        found = self._tallies.get(whole)
        if found is None or found.domains is not domains or found.counting is not counting:
            self._tallies.pop(whole, None)
            found = self._tallies[whole] = Tally(domains, counting, self.rows)
            if len(self._tallies) > _TALLIES:
                del self._tallies[next(iter(self._tallies))]
        return found

    def grow(self, more: int) -> None:
        self.rows = np.pad(self.rows, (0, more))
        self._tallies.clear()


class Counter(Tallied):
    """The pods that match a selector within namespaces. `anchor` is a label that every pod it counts has."""

    def __init__(self, namespaces: frozenset[str], selector: Selector, rows: int) -> None:
        super().__init__(rows)
        self.namespaces, self.selector = namespaces, selector
        self.anchor = anchor_of(selector)

    def matches(self, info: PodInfo) -> bool:
        return (not self.namespaces or info.namespace in self.namespaces) and self.selector.matches(
            info.labels
        )


def anchor_of(selector: Selector) -> Label | None:
    """A label that every object has that the selector matches."""
    wanted = (r for r in selector.requirements if r.operator in ("=", "in") and len(r.values) == 1)
    return next(((r.key, r.values[0]) for r in wanted), None)


class TermIndex:
    """Affinity terms that pods on nodes have, and how many pods of each row have them. What nobody has is dropped."""

    def __init__(self) -> None:
        self._holders: dict[Term, Tallied] = {}
        self._numbers: dict[Term, int] = {}
        # By the namespaces they are about ("": all), and a label that a pod must have to match.
        self._filed: dict[tuple[str, Label | None], dict[Term, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._holders)

    def add(self, term: Term, at: int, sign: int, rows: int) -> None:
        if term not in self._holders:
            self._holders[term], self._numbers[term] = Tallied(rows), 0
            for place in self._places(term):
                self._filed.setdefault(place, {})[term] = None
        self._holders[term].add(at, sign)
        self._numbers[term] += sign
        if self._numbers[term]:
            return
        del self._holders[term], self._numbers[term]
        for place in self._places(term):
            del self._filed[place][term]
            if not self._filed[place]:
                del self._filed[place]

    @staticmethod
    def _places(term: Term) -> Iterator[tuple[str, Label | None]]:
        anchor = anchor_of(term.selector)
        everywhere = term.within is not None or not term.namespaces
        for namespace in ("",) if everywhere else term.namespaces:
            yield namespace, anchor

    def about(self, info: PodInfo, labels: Mapping[str, str]) -> Iterator[tuple[Term, Tallied]]:
        """The terms that a pod matches, with the pods that have them. `labels` are those of the pod's namespace."""
        anchors = (None, *info.labels.items())
        for namespace in (info.namespace, ""):
            for anchor in anchors:
                for term in self._filed.get((namespace, anchor), ()):
                    chosen = (
                        term.within is None
                        or info.namespace in term.namespaces
                        or term.within.matches(labels)
                    )
                    if chosen and term.selector.matches(info.labels):
                        yield term, self._holders[term]

    def grow(self, more: int) -> None:
        for holders in self._holders.values():
            holders.grow(more)
