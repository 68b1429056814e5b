"""The primary's side: starts the workers and keeps them running, and chooses which of them serves a
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.apiserver.workers.handover import Giving, doors
from tiphys.client.tasks import TaskGroup
from tiphys.store.sharing import SharedEngine
from tiphys.store.store import Store

log = logging.getLogger(__name__)

_AGAIN = 0.5  # seconds before a worker that has ended starts again; doubled if it ends at once
_LONGEST = 10.0
_SETTLED = 10.0  # seconds after which a worker that ends has not ended at once
_GOING = 5.0  # seconds that a worker has for ending
_BURST = 10  # new connections of one address that are taken for ordinary ones
_REFILL = 1.0  # of them, per second
_MOST_ADDRESSES = 10_000


class Bursts:
    """Distinguishes clients that keep their connections from those that reconnect for each request.

    Each address may bring `_BURST` connections at once and some more each second; what is beyond
    that is a burst.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # address → (left, when)

    def is_one(self, address: str) -> bool:
        """Whether the new connection of an address belongs to a burst. It is counted."""
        now = self._now()
        left, when = self._left.pop(address, (float(_BURST), now))
        left = min(left + (now - when) * _REFILL, _BURST)
        burst = left < 1
        self._left[address] = (left if burst else left - 1, now)
        if len(self._left) > _MOST_ADDRESSES:
            del self._left[next(iter(self._left))]  # the client that was absent for longest
        return burst


@dataclass(eq=False)
class _Worker:
    number: int
    door: Giving | None = None  # while it serves
    process: asyncio.subprocess.Process | None = None


class Pool:
    """`options` gives what is sent to a worker by its number; `engine` and `store` are those that
    they replicate.
    """

    def __init__(
        self,
        count: int,
        options: Callable[[int], Any],
        log_format: str,
        engine: SharedEngine,
        store: Store,
    ) -> None:
        self._options = options
        self._log_format = log_format
        self._engine = engine
        self._store = store
        self._workers = [_Worker(number) for number in range(count)]
        self._bursts = Bursts()
        self._next = 0
        self._serving = asyncio.Event()
        self._tasks = TaskGroup("workers")
        self._stopping = False

    async def start(self) -> None:
        """Returns once every worker serves."""
        for worker in self._workers:
            self._tasks.start(self._keep(worker), f"worker-{worker.number}")
        while not all(worker.door is not None for worker in self._workers):
            self._serving.clear()
            await self._serving.wait()

    async def stop(self) -> None:
        """Stops the workers gracefully, and waits for their end."""
        self._stopping = True
        processes = [worker.process for worker in self._workers if worker.process is not None]
        for process in processes:
            if process.returncode is None:
                process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOING):
                for process in processes:
                    await process.wait()
        for process in processes:
            if process.returncode is None:
                process.kill()
        await self._tasks.stop()

    @property
    def processes(self) -> list[int]:
        """The ids of those that run."""
        return [w.process.pid for w in self._workers if w.process is not None]

    # --- connections ---

    def take(self, connection: socket.socket) -> None:
        """Hands a new connection to a worker.

        Those of bursts go to the last worker, so that they leave the others alone; all others go in
        turn to the rest. When there is one only, it gets all.
        """
        try:
            address = connection.getpeername()[0]
        except OSError:  # it has gone again
            connection.close()
            return
        serving = [worker for worker in self._workers if worker.door is not None]
        if not serving:
            connection.close()
            return
        if len(serving) > 1:
            burst = self._bursts.is_one(address)
            serving = serving[-1:] if burst else serving[:-1]
        self._next += 1
        door = serving[self._next % len(serving)].door
        assert door is not None
        door.give(connection)

    # --- processes ---

    async def _keep(self, worker: _Worker) -> None:
        pause = _AGAIN
        while not self._stopping:
            began = time.monotonic()
            status = await self._run(worker)
            if self._stopping:
                return
            log.error(
                "Worker %d ended with status %d; its connections are gone, and it starts again.",
                worker.number,
                status,
            )
            pause = _AGAIN if time.monotonic() - began > _SETTLED else min(pause * 2, _LONGEST)
            await asyncio.sleep(pause)

    async def _run(self, worker: _Worker) -> int:
        """Starts a worker and waits for its end; returns its status."""
        ours, theirs = socket.socketpair()
        door, their_door = doors()
        published = self._engine.published.file
        files = (theirs.fileno(), their_door.fileno(), published)
        # As tiphys.cli.main has it.
        command = [sys.executable, "-m", "tiphys.cli.main", "apiserver-worker"]
        command += ["--log-format", self._log_format, *map(str, files)]
        ours.setblocking(False)
        door.send(pickle.dumps(self._options(worker.number)))

        def serves() -> None:
            worker.door = giving
            self._serving.set()

        giving = Giving(door, serves)
        try:
            process = await asyncio.create_subprocess_exec(*command, pass_fds=files)
            worker.process = process
            theirs.close()
            their_door.close()
            await self._engine.attach(ours, self._store, lambda: None)
            return await process.wait()
        finally:
            worker.door = None
            giving.close()
            for end in (theirs, their_door):
                end.close()
            if worker.process is not None and worker.process.returncode is None:
                worker.process.kill()
