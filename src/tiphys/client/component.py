"""The life cycle of a control plane component: it waits for the leader lease, works while it holds
it, and ends."""

from __future__ import annotations

import asyncio
import enum
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.leader import LeaderElection
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup

_CHECK_EVERY = 5.0  # seconds between two checks of how many objects are held

Start = Callable[[TaskGroup], Awaitable[Informers]]


class Ending(enum.Enum):
    """Why a component ended. The value is the reason as a log line gives it."""

    STOPPED = "a signal asked for it"
    LOST = "the lead was lost, or something vital failed"
    SHRUNK = "it holds far fewer objects than it once did"  # and should restart without that memory


class Shrinkage:
    """Decides when a process that has held far more objects than it does now should restart.

    Python hardly gives back the memory that it took for small objects: a few that live on hold each
    of its arenas. A restart takes half a second and is what any crash asks of the process anyway
    (docs/decisions/0011).
    """

    FEWER = 20_000  # objects fewer than at the most, and no more than half of that
    CALM = 60.0  # seconds without much change
    _MUCH_CHANGE = 1_000  # objects

    def __init__(self) -> None:
        self._most = 0
        self._level = 0
        self._level_since = float("-inf")

    def should_restart(self, held: int, now: float) -> bool:
        """Takes note that `held` objects are held `now` (seconds of any clock)."""
        self._most = max(self._most, held)
        if abs(held - self._level) > self._MUCH_CHANGE:
            self._level = held
            self._level_since = now
        has_shrunk = held <= self._most // 2 and self._most - held >= self.FEWER
        return has_shrunk and now - self._level_since >= self.CALM


async def lead_and_run(client: Client, name: str, elect: bool, start: Start) -> Ending:
    """Runs a component until a signal, the loss of the lead or a failure ends it; returns which it
    was.

    name:  of the component and of its Lease in kube-system
    elect: whether to wait for the lead; without, the component starts at once
    start: starts the component's tasks in the group that it is given, and returns the component's
           informers
    """
    stop = stop_event()
    waits = TaskGroup(f"{name}-lifecycle")
    stopping = waits.start(stop.wait(), "signal")
    election = LeaderElection(client, name, f"{socket.gethostname()}_{os.getpid()}")
    try:
        if elect:
            await _first(waits.start(election.acquire(), "acquire-lease"), stopping)
            if stop.is_set():
                return Ending.STOPPED
        tasks = TaskGroup(name)
        shrinking = waits.start(_start_and_watch(start, tasks), "start")
        ends = [stopping, shrinking, waits.start(tasks.failed.wait(), "failure")]
        if elect:
            ends.append(waits.start(election.hold(), "hold-lease"))
        await _first(*ends)
        has_shrunk = shrinking.done() and shrinking.exception() is None
        await waits.stop()
        await tasks.stop()
        if elect:
            await election.release()
    finally:
        await waits.stop()
    if stop.is_set():
        return Ending.STOPPED
    return Ending.SHRUNK if has_shrunk else Ending.LOST


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Waits until one of the tasks is done."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _start_and_watch(start: Start, tasks: TaskGroup) -> None:
    """Starts the component and returns once it should restart, see `Shrinkage`."""
    informers = await start(tasks)
    shrinkage = Shrinkage()
    while not shrinkage.should_restart(informers.held, time.monotonic()):  # noqa: ASYNC110
        await asyncio.sleep(_CHECK_EVERY)
