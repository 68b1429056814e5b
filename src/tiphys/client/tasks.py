"""The one place where tasks are created: a group that ends together and reports what failed.

A task that nobody holds can be collected while it runs, and one whose failure nobody awaits fails
in silence; a group does both for its tasks. Lint forbids `asyncio.create_task` elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class TaskGroup:
    """Long-running tasks of one component.

    name:   of the component, in the names of its tasks and in log lines
    failed: set once a vital task has failed; the component should end then
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = asyncio.Event()

    def start(
        self, work: Coroutine[Any, Any, T], name: str, vital: bool = False
    ) -> asyncio.Task[T]:
        """Starts a task. An exception of it is logged; if it is `vital`, `failed` is set, too."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._on_done, vital=vital))
        return task

    def _on_done(self, task: asyncio.Task[Any], vital: bool) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        log.error("Task %s failed", task.get_name(), exc_info=error)
        if vital:
            self.failed.set()

    async def stop(self) -> None:
        """Cancels what still runs and waits for it.

        A task can lose its cancellation (a timeout that expires in the same moment takes it for its
        own), so it is cancelled every second until it ends.
        """
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            _, pending = await asyncio.wait(self._tasks, timeout=1)
            for task in pending:
                log.info("Task %s has not ended yet", task.get_name())
