"""How a component of the control plane lives: it waits for the lead, works while it has it, and ends."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable

from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.leader import LeaderElection
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

_LOOK = 5.0  # seconds between two looks at how much is held


class Ending(enum.Enum):
    """Why a component ended."""

    STOPPED = "a signal asked for it"
    LOST = "the lead was lost, or something vital failed"
    EBBED = (
        "it holds far less than it once did"  # a process without the memory of then should go on
    )


class Ebb:
    """Tells when a process has held far more objects than it does now, and the rush is over.

    What Python has once taken for small objects it hardly gives back: a few that live on hold each of its arenas. So a
    copy that has shrunk begins anew, which takes half a second and is what any crash asks of it anyway (decision 0011).
    """

    FEWER, CALM = (
        20_000,
        60.0,
    )  # objects fewer than at most, and no more than half of it; seconds without much change
    _MUCH = 1_000  # objects

    def __init__(self) -> None:
        self._most = self._level = 0
        self._since = float("-inf")  # when that level was reached

    def out(self, held: int, now: float) -> bool:
        """Whether to begin anew, given how many objects are held `now` (seconds of any clock)."""
        self._most = max(self._most, held)
        if abs(held - self._level) > self._MUCH:
            self._level, self._since = held, now
        low = held <= self._most // 2 and self._most - held >= self.FEWER
        return low and now - self._since >= self.CALM


async def lead_and_run(
    client: Client, name: str, elect: bool, start: Callable[[TaskGroup], Awaitable[Informers]]
) -> Ending:
    """Awaits `start(tasks)` once we lead and lets its tasks run until something ends them. It returns the informers of
    the component."""
    stop = stop_event()
    loop = asyncio.get_running_loop()
    tasks = TaskGroup(name)
    stopping = loop.create_task(stop.wait())
    election = LeaderElection(client, name, f"{socket.gethostname()}_{os.getpid()}")
    if elect:
        acquiring = loop.create_task(election.acquire())
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            acquiring.cancel()
            return Ending.STOPPED
    holding = loop.create_task(election.hold() if elect else asyncio.Event().wait())
    failing = loop.create_task(tasks.failed.wait())
    ebbing = loop.create_task(_ebb(start, tasks))
    ending = {holding, stopping, failing, ebbing}
    await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
    ebbed = ebbing.done() and ebbing.exception() is None
    if ebbing.done() and not ebbed:
        log.error("%s did not start", name, exc_info=ebbing.exception())
    for task in ending:
        task.cancel()
    await tasks.stop()
    if elect:
        await election.release()
    if stop.is_set():
        return Ending.STOPPED
    return Ending.EBBED if ebbed else Ending.LOST


async def _ebb(start: Callable[[TaskGroup], Awaitable[Informers]], tasks: TaskGroup) -> None:
    """Starts the component and returns when it should begin anew."""
    informers, ebb = await start(tasks), Ebb()
    while not ebb.out(informers.held, time.monotonic()):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)
