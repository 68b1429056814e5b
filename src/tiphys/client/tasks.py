"""The one place where tasks are made: a group that ends together and reports what failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class TaskGroup:
    """Long-running tasks of one component. A task that fails is logged and, when `vital`, ends the component."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = asyncio.Event()

    def start(
        self, work: Coroutine[Any, Any, Any], name: str, vital: bool = False
    ) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, vital))
        return task

    def _ended(self, task: asyncio.Task[Any], vital: bool) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            if vital:
                self.failed.set()

    async def stop(self) -> None:
        """Cancels what still runs and waits for it. A task that loses its cancellation (a time-out that ends in the
        same moment can take it for its own) is told again."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            _, late = await asyncio.wait(self._tasks, timeout=1)
            for task in late:
                log.info("%s is still running", task.get_name())
