"""How much work may be done at once where others wait, before it has to go on elsewhere.

What an expression costs is known only while it runs. The event loop lets it begin, with a small
allowance; when that is spent, `Unfinished` ends the attempt and whoever has asked starts again on a
thread, where nobody waits. So only pure work may be done under an allowance.
"""

from __future__ import annotations

import threading
from types import TracebackType

BRIEF = 4_000  # units of upstream's cost of expressions: the dearest ones take 5 µs for each here


class Unfinished(BaseException):
    """The allowance is spent. Nothing that handles errors of the work itself may stop this one."""


class _Allowance(threading.local):
    left: int | None = None  # None: no limit


allowance = _Allowance()


class Brief:
    """``with Brief():`` the work inside has a small allowance."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = allowance.left
        allowance.left = BRIEF

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        allowance.left = self._before


def allowed() -> int | None:
    """Units that are left, None when there is no limit."""
    return allowance.left


def take(units: int) -> None:
    """Takes units off what is left. Raises Unfinished when there are none."""
    if allowance.left is None:
        return
    allowance.left -= units
    if allowance.left < 0:
        raise Unfinished
