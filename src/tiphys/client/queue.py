"""A queue of keys: each is worked on by one worker at a time, again if it was added meanwhile, later if it failed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BASE, LIMIT = 0.005, 30.0  # seconds of back-off after the first failure, and at the most


class WorkQueue(Generic[K]):
    """`call_later` is the loop's, or a virtual clock's in tests."""

    def __init__(self, call_later: Callable[..., asyncio.TimerHandle] | None = None) -> None:
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._wake = asyncio.Event()
        self._call_later = call_later
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Adds the key in a while; an earlier appointment of the same key stands."""
        if seconds <= 0:
            return self.add(key)
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        standing = self._timers.get(key)
        if standing is not None:
            if standing[0] <= when:
                return
            standing[1].cancel()
        later = self._call_later or loop.call_later
        self._timers[key] = (when, later(seconds, self._due, key))

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def retry(self, key: K) -> None:
        """Adds the key after a back-off that doubles with each failure."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, min(BASE * 2 ** min(count, 20), LIMIT))

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key was worked on well: its next failure is a first one."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; it stays taken until `done`. An appointment of it is cancelled: whoever works on it now says when
        it is due again. Raises asyncio.CancelledError when the queue is closed."""
        while not self._ready:
            if self._closed:
                raise asyncio.CancelledError
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._queued.discard(key)
        self._active.add(key)
        if (standing := self._timers.pop(key, None)) is not None:
            standing[1].cancel()
        return key

    def done(self, key: K) -> None:
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake.set()
