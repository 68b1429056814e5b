"""How many pods match something: on each row, and in each domain of a topology. Kept as pods come
and go. Pure.

Counting anew for every pod that is scheduled would cost time proportional to the pods of the
cluster; keeping the counts costs a few additions for each pod that comes or goes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MAX_DOMAIN_COUNTS = 16  # of one PodCounts: topologies, times the ways in which rows count


@dataclass(frozen=True, eq=False)
class TopologyDomains:
    """The domains of a topology: the values that its label has on nodes.

    `rows` is the index of each row's value, -1 where the label is missing; `labelled` says where it
    is not.
    """

    topology_key: str
    values: list[str]
    rows: Ints
    labelled: Bools


class DomainCounts:
    """How many pods each domain has.

    `totals` has one number more than there are domains, always 0: it is that of rows without the
    label, whose domain is -1. Only pods on `counted_rows` count (None: all do); `present` are the
    domains of these rows.
    """

    def __init__(self, domains: TopologyDomains, counted_rows: Bools | None, pods: Ints) -> None:
        self.domains = domains
        self.counted_rows = counted_rows
        counted = domains.labelled
        if counted_rows is not None:
            counted = counted & counted_rows
        domain_of_row = domains.rows[counted]
        totals = np.bincount(
            domain_of_row, weights=pods[counted], minlength=len(domains.values) + 1
        )
        self.totals: Ints = totals.astype(np.int64)
        self.present = np.unique(domain_of_row)

    def add(self, row: int, sign: int) -> None:
        domain = self.domains.rows[row]
        if domain >= 0 and (self.counted_rows is None or self.counted_rows[row]):
            self.totals[domain] += sign

    def by_row(self) -> Ints:
        """How many pods the domain of each row has."""
        return self.totals[self.domains.rows]

    def empty_rows(self) -> Bools:
        """The rows whose domain has no pod. Rows without the label are among them."""
        empty: Bools = self.totals == 0
        return empty[self.domains.rows]

    def minimum(self) -> int:
        """The pods of the present domain that has fewest; 0 if none is present."""
        return int(self.totals[self.present].min()) if len(self.present) else 0


class PodCounts:
    """Pods that have something in common: how many each row has, and, once asked for, each domain
    of a topology."""

    def __init__(self, size: int) -> None:
        self.by_row: Ints = np.zeros(size, np.int64)
        self._by_domain: dict[Hashable, DomainCounts] = {}

    def add(self, row: int, sign: int) -> None:
        """One pod more (1) or less (-1)."""
        self.by_row[row] += sign
        for counts in self._by_domain.values():
            counts.add(row, sign)

    def by_domain(
        self, domains: TopologyDomains, counted_rows: Bools | None = None, key: Hashable = None
    ) -> DomainCounts:
        """The counts of each domain. `key` distinguishes the ways in which rows may be counted."""
        cache_key = (domains.topology_key, key)
        counts = self._by_domain.get(cache_key)
        if (
            counts is None
            or counts.domains is not domains
            or counts.counted_rows is not counted_rows
        ):
            self._by_domain.pop(cache_key, None)
            counts = DomainCounts(domains, counted_rows, self.by_row)
            self._by_domain[cache_key] = counts
            if len(self._by_domain) > _MAX_DOMAIN_COUNTS:
                oldest = next(iter(self._by_domain))
                del self._by_domain[oldest]
        return counts

    def grow(self, rows: int) -> None:
        self.by_row = np.pad(self.by_row, (0, rows))
        self._by_domain.clear()
