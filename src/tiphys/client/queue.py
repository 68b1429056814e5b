"""A work queue with client-go's promises: each key is worked on by one worker at a time, again if
it was added meanwhile, and later if it failed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from tiphys.client.metrics import ComponentMetrics

K = TypeVar("K", bound=Hashable)

BASE = 0.005  # seconds of back-off, doubled before the first retry; client-go's base delay
LIMIT = 30.0  # seconds of back-off at the most
_MOST_DOUBLINGS = 20  # far beyond the limit; larger powers would only grow large


class _Appointment(NamedTuple):
    """A key that is added later: when (loop time), and the timer that does it."""

    when: float
    timer: asyncio.TimerHandle


class WorkQueue(Generic[K]):
    """Keys that wait to be worked on.

    call_later: of the event loop, or of a virtual clock in tests
    name:       under which `metrics` count what happens to it; without, nothing is counted
    """

    def __init__(
        self,
        call_later: Callable[..., asyncio.TimerHandle] | None = None,
        name: str = "",
        metrics: ComponentMetrics | None = None,
    ) -> None:
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()  # what is in `_ready`
        self._active: set[K] = set()  # what is worked on
        self._added_meanwhile: set[K] = set()  # of what is worked on
        self._failures: dict[K, int] = {}
        self._appointments: dict[K, _Appointment] = {}
        self._wake = asyncio.Event()
        self._call_later = call_later
        self._closed = False
        self._metrics = metrics.queue(name, self.__len__) if metrics is not None else None

    def __len__(self) -> int:
        """How many keys could be worked on now."""
        return len(self._ready)

    def add(self, key: K) -> None:
        if key in self._active:
            if key in self._added_meanwhile:
                return
            self._added_meanwhile.add(key)
        elif key not in self._queued:
            self._make_ready(key)
        else:
            return
        if self._metrics is not None:
            self._metrics.added(key)

    def _make_ready(self, key: K) -> None:
        self._queued.add(key)
        self._ready.append(key)
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Adds the key in some seconds. Of several appointments of one key the earliest counts."""
        if self._metrics is not None:
            self._metrics.retried()
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        earlier = self._appointments.get(key)
        if earlier is not None:
            if earlier.when <= when:
                return
            earlier.timer.cancel()
        call_later = self._call_later or loop.call_later
        self._appointments[key] = _Appointment(when, call_later(seconds, self._add_now, key))

    def _add_now(self, key: K) -> None:
        self._appointments.pop(key, None)
        self.add(key)

    def retry(self, key: K) -> None:
        """Adds the key after a back-off that doubles with each failure: 10 ms, 20 ms, 40 ms, up to
        `LIMIT`."""
        count = self._failures.get(key, 0) + 1
        self._failures[key] = count
        self.add_after(key, min(BASE * 2 ** min(count, _MOST_DOUBLINGS), LIMIT))

    def failures(self, key: K) -> int:
        """How often the key has failed since it last succeeded."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key was worked on with success: its next failure is a first one."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key. It stays taken until `done` is called with it.

        Its delayed add is cancelled: the worker that has it now decides when it is due again.
        Raises asyncio.CancelledError once the queue is closed.
        """
        while not self._ready:
            if self._closed:
                raise asyncio.CancelledError
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._queued.discard(key)
        self._active.add(key)
        if self._metrics is not None:
            self._metrics.taken(key)
        appointment = self._appointments.pop(key, None)
        if appointment is not None:
            appointment.timer.cancel()
        return key

    def done(self, key: K) -> None:
        """The key is no longer worked on. If it was added meanwhile, it is next."""
        self._active.discard(key)
        if self._metrics is not None:
            self._metrics.done(key)
        if key in self._added_meanwhile:
            self._added_meanwhile.discard(key)
            self._make_ready(key)

    def close(self) -> None:
        """Ends every `get` that waits, and all appointments."""
        self._closed = True
        for appointment in self._appointments.values():
            appointment.timer.cancel()
        self._appointments.clear()
        self._wake.set()
