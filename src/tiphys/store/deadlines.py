"""Deadlines that are all equally far away: of every request to a server, of every write.

`asyncio.timeout` sets a timer and takes it back for each, 3 µs of a read of 100. Here one timer
checks the oldest that is still open.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """``with deadlines.begin():`` raises TimeoutError when the time is over before the block is.

    As with `asyncio.timeout`, the task is cancelled at that moment, and a cancellation that came
    from elsewhere stays one.
    """

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task", "ends")

    def __init__(self, deadlines: Deadlines, task: asyncio.Task[Any], ends: float) -> None:
        self._deadlines = deadlines
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        self.ends = ends

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._expired:
            self._deadlines.open.pop(self, None)
            return
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()


class Deadlines:
    """Those of one event loop that are `seconds` away when they start."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.open: dict[Deadline, None] = {}
        """In the order in which they end."""

    def begin(self) -> Deadline:
        """A deadline of the task that runs."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "a deadline is of a task"
        deadline = Deadline(self, task, loop.time() + self._seconds)
        self.open[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.ends, self._expire_overdue)
        return deadline

    def _expire_overdue(self) -> None:
        """Ends what is overdue, and sets the timer for the oldest of the others."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self.open:
            oldest = next(iter(self.open))
            if oldest.ends > loop.time():
                self._timer = loop.call_at(oldest.ends, self._expire_overdue)
                return
            del self.open[oldest]
            oldest.expire()
