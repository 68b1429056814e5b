"""A cache of columns that are computed from each row's own numbers, for pods that ask for the same.
Pure.

Only rows that were touched since a column was last asked for are computed again: placing a pod
changes one row of thousands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

Column = Any  # an array of numbers or truths; numpy's own types are too narrow for mixed arithmetic
Rows = Any  # a slice or an array of row numbers

_MAX_COLUMNS = 128
_MIN_COLUMNS = 8
_MAX_CELLS = 1_000_000  # of all columns together
_MAX_TOUCHES = (
    512  # touches that are remembered; a column that has missed more is computed as a whole
)


@dataclass(slots=True)
class _CachedColumn:
    column: Column
    touches_seen: int


class Columns:
    def __init__(self) -> None:
        self._cached: OrderedDict[Hashable, _CachedColumn] = OrderedDict()
        self._touched: list[int] = []
        self._dropped_touches = 0  # touches that are no longer in the list

    def touch(self, row: int) -> None:
        """A number of the row has changed."""
        self._touched.append(row)
        if len(self._touched) > _MAX_TOUCHES:
            self._dropped_touches += len(self._touched)
            self._touched.clear()

    def get(self, key: Hashable, size: int, compute: Callable[[Rows], Column]) -> Column:
        """The column of `size` rows that `compute` gives for all of them, row by row.

        The caller must not change it, and must not keep it: later touches change it in place.
        """
        touches = self._dropped_touches + len(self._touched)
        cached = self._cached.get(key)
        if (
            cached is None
            or cached.touches_seen < self._dropped_touches
            or len(cached.column) != size
        ):
            self._make_room(size)
            cached = _CachedColumn(compute(slice(None)), touches)
            self._cached[key] = cached
        missed = self._touched[cached.touches_seen - self._dropped_touches :]
        if missed:
            rows = np.array(list(set(missed)))
            cached.column[rows] = compute(rows)
            cached.touches_seen = touches
        self._cached.move_to_end(key)
        return cached.column

    def _make_room(self, size: int) -> None:
        limit = min(_MAX_COLUMNS, max(_MAX_CELLS // max(size, 1), _MIN_COLUMNS))
        while len(self._cached) >= limit:
            self._cached.popitem(last=False)
