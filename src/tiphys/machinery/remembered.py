"""Results of functions of one text, remembered: as `functools.lru_cache`, but not for long texts.

Whoever sends requests chooses the texts. A cache of 1,000 selectors of 1 MB each would be a
gigabyte.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST = 2048  # characters of what is remembered


def remembered(
    size: int, longest: int = LONGEST
) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remembers the results for `size` texts of up to `longest` characters."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        known = functools.lru_cache(size)(function)

        @functools.wraps(function)
        def result(text: str) -> T:
            return known(text) if len(text) <= longest else function(text)

        return result

    return decorate
