"""Arithmetic beyond + on numbers: division as CEL rounds it, sums of texts, lists, times and
spans."""

from __future__ import annotations

import datetime
from typing import Any

from tiphys.machinery.cel.values import (
    CelError,
)


def divide(a: int, b: int) -> int:
    if b == 0:
        raise CelError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def modulo(a: int, b: int) -> int:
    if b == 0:
        raise CelError("modulus by zero")
    return a - b * divide(a, b)


def plus(operator: str, a: Any, b: Any) -> Any:
    """+ and - on what is not a number."""
    time = datetime.datetime
    span = datetime.timedelta
    try:
        if operator == "+":
            for kind in (str, bytes, list):
                if isinstance(a, kind) and isinstance(b, kind):
                    return a + b  # type: ignore[operator]
            if (
                isinstance(a, time | span)
                and isinstance(b, time | span)
                and not (isinstance(a, time) and isinstance(b, time))
            ):
                return a + b  # type: ignore[operator]
        if operator == "-" and isinstance(a, time | span) and isinstance(b, time | span):
            if isinstance(a, time) or isinstance(b, span):
                return a - b  # type: ignore[operator]
    except OverflowError:
        raise CelError("timestamp overflow") from None
    raise CelError("no such overload")
