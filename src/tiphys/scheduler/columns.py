"""Columns that are worked out from the numbers of each row alone, for pods that ask for the same: only rows that were
touched since are worked out again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

Column = Any  # an array of numbers or truths; numpy's own types are too narrow for mixed arithmetic
Rows = Any  # a slice or an array of rows
_KEPT = 128  # columns
_CELLS = 1_000_000  # of all of them
_REMEMBERED = 512  # touches; a column that has missed more is worked out anew


class Columns:
    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Column, int]] = (
            OrderedDict()
        )  # (column, touches seen)
        self._touched: list[int] = []
        self._forgotten = 0  # touches that are no longer in the list

    def touch(self, row: int) -> None:
        """A number of a row has changed."""
        self._touched.append(row)
        if len(self._touched) > _REMEMBERED:
            self._forgotten += len(self._touched)
            self._touched.clear()

    def get(self, key: Hashable, size: int, compute: Callable[[Rows], Column]) -> Column:
        """The column of `size` rows that `compute` gives, row by row. Nobody may change it, and it changes later."""
        seen = self._forgotten + len(self._touched)
        kept = self._kept.get(key)
        if kept is None or kept[1] < self._forgotten or len(kept[0]) != size:
            column = compute(slice(None))
            while len(self._kept) >= min(_KEPT, max(_CELLS // max(size, 1), 8)):
                self._kept.popitem(last=False)
        else:
            column = kept[0]
            if missed := self._touched[kept[1] - self._forgotten :]:
                rows = np.array(list(set(missed)))
                column[rows] = compute(rows)
        self._kept[key] = column, seen
        self._kept.move_to_end(key)
        return column
