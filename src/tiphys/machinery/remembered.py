"""Results of functions of one text, remembered: as `functools.lru_cache`, but few for longer texts
and none for long ones.

Whoever sends requests chooses the texts, and what is made of a text is up to 250 times as large: an
expression of 2,000 characters takes 470 KiB once it is compiled. A cache of 4,000 of them would be
two gigabytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST = 2048  # characters of what is remembered,
_SHORT = 128  # of nearly all texts that come again and again,
_SHARE = 16  # and of how many of those there are as many as of one that is longer


def remembered(
    size: int, longest: int = LONGEST
) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remembers the results for `size` short texts, and for a sixteenth as many of up to `longest`
    characters."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        short = functools.lru_cache(size)(function)
        longer = functools.lru_cache(max(size // _SHARE, 1))(function)

        @functools.wraps(function)
        def result(text: str) -> T:
            length = len(text)
            if length > longest:
                return function(text)
            return short(text) if length <= _SHORT else longer(text)

        return result

    return decorate
