"""The two backends, and the ways they take events: at once, or from a buffer.

A buffer has a bound in events, as upstream's, and one in bytes: a server that is away costs this
one no more than that. What finds no room is counted and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tiphys.apiserver.audit.auditor import AuditMetrics
from tiphys.apiserver.audit.events import truncated, written
from tiphys.apiserver.audit.logfile import LogFile
from tiphys.apiserver.audit.records import LARGE, Line
from tiphys.client.posting import Poster, PostError
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

HandOn = Callable[[list[bytes]], Awaitable[None]]

MOST_BUFFERED = 64 << 20  # bytes of the events that wait in one buffer
_AT_ONCE = 8  # batches that are under way to a webhook
_TRIES, _FACTOR, _JITTER = 5, 1.5, 0.2  # of a batch: upstream's backoff
_LAST_WORDS = 5.0  # seconds that what waits may take when the server stops
_LIST_HEAD = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['


@dataclass(frozen=True)
class Truncation:
    """Events over `most` bytes lose their objects, or go lost when that is not enough. Batches
    have at most `most_batch` bytes."""

    most: int = 102_400
    most_batch: int = 10_485_760


@dataclass(frozen=True)
class Batches:
    """How a buffer hands on: upstream's options, with its defaults for webhooks."""

    buffer: int = 10_000  # events
    most: int = 400  # events of a batch
    wait: float = 30.0  # seconds until a batch goes that is not full
    throttled: bool = True
    rate: float = 10.0  # batches a second
    burst: int = 15


class _Taking:
    """What backends have in common: the mode, the truncation, and what is lost."""

    name = ""

    def __init__(self, mode: str, truncation: Truncation | None, metrics: AuditMetrics) -> None:
        self._mode = mode
        self._truncation = truncation
        self._lost = metrics.errors.labels(self.name)

    async def take(self, line: Line) -> bool:
        data = line.data
        if self._truncation is not None and len(data) > self._truncation.most:
            data = written(truncated(line.event))
            if len(data) > self._truncation.most:
                self.lose(1, "an event is too large even without its objects")
                return self._mode != "blocking-strict"
        taken = await self._put(data)
        return taken or self._mode != "blocking-strict"

    async def _put(self, data: bytes) -> bool:
        raise NotImplementedError

    def lose(self, count: int, reason: object) -> None:
        self._lost.inc(count)
        log.error("Audit backend %s lost %d events: %s", self.name, count, reason)


class Log(_Taking):
    """Lines in a file. Blocking, an event is in the file before its request goes on."""

    name = "log"

    def __init__(
        self,
        file: LogFile,
        mode: str,
        truncation: Truncation | None,
        batches: Batches,
        metrics: AuditMetrics,
    ) -> None:
        super().__init__(mode, truncation, metrics)
        self._file = file
        self._buffer = Buffer(self, batches, self._write_batch) if mode == "batch" else None

    def start(self) -> None:
        if self._buffer is not None:
            self._buffer.start()

    async def stop(self) -> None:
        if self._buffer is not None:
            await self._buffer.stop()
        self._file.close()

    async def _put(self, data: bytes) -> bool:
        if self._buffer is not None:
            return self._buffer.put(data)
        try:
            if len(data) > LARGE:
                await asyncio.to_thread(self._file.write, data + b"\n")
            else:
                self._file.write(data + b"\n")  # microseconds, into the system's memory
        except OSError as error:
            self.lose(1, error)
            return False
        return True

    async def _write_batch(self, lines: list[bytes]) -> None:
        try:
            await asyncio.to_thread(self._file.write, b"\n".join([*lines, b""]))
        except OSError as error:
            self.lose(len(lines), error)


class Webhook(_Taking):
    """Lists of events, posted to the server of a kubeconfig."""

    name = "webhook"

    def __init__(
        self,
        poster: Poster,
        mode: str,
        truncation: Truncation | None,
        batches: Batches,
        metrics: AuditMetrics,
        backoff: float = 10.0,
    ) -> None:
        super().__init__(mode, truncation, metrics)
        self._poster = poster
        self._backoff = backoff
        self._tasks = TaskGroup("audit-webhook")
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._most_batch = truncation.most_batch if truncation is not None else MOST_BUFFERED
        self._buffer = Buffer(self, batches, self._dispatch) if mode == "batch" else None

    def start(self) -> None:
        if self._buffer is not None:
            self._buffer.start()

    async def stop(self) -> None:
        if self._buffer is not None:
            await self._buffer.stop()
        with contextlib.suppress(TimeoutError):  # what is under way may still arrive
            async with asyncio.timeout(_LAST_WORDS):
                for _ in range(_AT_ONCE):
                    await self._room.acquire()
        await self._tasks.stop()
        await self._poster.close()

    async def _put(self, data: bytes) -> bool:
        if self._buffer is not None:
            return self._buffer.put(data)
        return await self._post([data])

    async def _dispatch(self, lines: list[bytes]) -> None:
        """Batches do not wait for each other, as long as there are few."""
        await self._room.acquire()
        self._tasks.start(self._post_batch(lines), "batch")

    async def _post_batch(self, lines: list[bytes]) -> None:
        try:
            some: list[bytes] = []
            size = 0
            for line in lines:
                if some and size + len(line) > self._most_batch:
                    await self._post(some)
                    some = []
                    size = 0
                some.append(line)
                size += len(line)
            await self._post(some)
        except asyncio.CancelledError:
            self.lose(len(lines), "the server stops")
            raise
        finally:
            self._room.release()

    async def _post(self, lines: list[bytes]) -> bool:
        body = b"".join([_LIST_HEAD, b",".join(lines), b"]}\n"])
        pause = self._backoff
        for attempt in range(1, _TRIES + 1):
            try:
                await self._poster.post(body)
                return True
            except PostError as error:
                if attempt == _TRIES:
                    self.lose(len(lines), error)
                    return False
                await asyncio.sleep(pause * (1 + random.random() * _JITTER))
                pause *= _FACTOR
        return False


class Buffer:
    """Events that wait for a batch to be full, or for its time."""

    def __init__(self, owner: _Taking, batches: Batches, hand_on: HandOn) -> None:
        self._owner = owner
        self._batches = batches
        self._hand_on = hand_on
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._tasks = TaskGroup(f"audit-{owner.name}")
        self._dropped = 0
        self._stopping = False
        self._done = asyncio.Event()

    def put(self, data: bytes) -> bool:
        full = len(self._lines) >= self._batches.buffer
        if full or self._size + len(data) > MOST_BUFFERED:
            self._dropped += 1
            return False
        self._lines.append(data)
        self._size += len(data)
        if len(self._lines) == 1 or len(self._lines) >= self._batches.most:
            self._wake.set()
        return True

    def start(self) -> None:
        self._tasks.start(self._run(), "buffer", vital=True)

    async def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self._done.wait()
        except TimeoutError:
            self._owner.lose(len(self._lines), "the server stops")
        await self._tasks.stop()

    async def _run(self) -> None:
        rate = _Rate(self._batches.rate, self._batches.burst)
        while self._lines or not self._stopping:
            await self._fill()
            if self._dropped:
                dropped = self._dropped
                self._dropped = 0
                self._owner.lose(dropped, "the buffer is full")
            batch = self._batch()
            if batch:
                if self._batches.throttled and not self._stopping:
                    await rate.turn()
                await self._hand_on(batch)
        self._done.set()

    async def _fill(self) -> None:
        """Waits for a full batch, or for the oldest event to have waited long enough."""
        deadline: float | None = None
        while len(self._lines) < self._batches.most and not self._stopping:
            if self._lines and deadline is None:
                deadline = time.monotonic() + self._batches.wait
            self._wake.clear()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _batch(self) -> list[bytes]:
        batch = [self._lines.popleft() for _ in range(min(self._batches.most, len(self._lines)))]
        self._size -= sum(map(len, batch))
        return batch


class _Rate:
    """A bucket of turns."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._seen = time.monotonic()

    async def turn(self) -> None:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(-self._left / self._rate)
