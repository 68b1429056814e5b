"""What clients of an xDS server may use of it: anything that reaches its port is one, and none is
known.

What a stream asks for is weighed, and what is on its way to slow readers is counted over all
streams. A client that asks for too much is refused; when too much is on its way, the slowest reader
is disconnected, so that the others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

LONGEST_REQUEST = 1 << 20  # bytes; every request of the state of the world names all that is wanted
STREAMS = 2000  # at a time
MOST_WAITING = 4  # requests of one stream that are read before the answer to the first is taken
MOST_TYPES = 32  # that one stream asks for
MOST_NAMES = 20_000  # in one request: more would hold the loop
_HELD_EACH = 8 << 20  # bytes that are kept for what one stream wants
_HELD = 256 << 20  # and for all of them
_NAME = 64  # bytes that a name takes beside its text
VERSION = 100  # bytes that it takes to know which version of a resource a client has
_ON_THE_WAY = 128 << 20  # bytes of answers that clients have not taken yet
_SLOW = 1.0  # seconds after which an answer that is not taken may be given up for others
_PAUSE = 0.05


class TooMuch(Exception):
    """A client asks for more than one may; the text is for it."""


def weight(names: Iterable[str]) -> int:
    """Bytes that names take while they are kept."""
    return sum(len(name) + _NAME for name in names)


@dataclass(eq=False)
class Share:
    """What one stream has of what all streams may take."""

    held: int = 0


class Held:
    """What is kept for all streams: `share` is made for each, and given back with `release`."""

    def __init__(self) -> None:
        self._all = 0

    def keep(self, share: Share, held: int) -> None:
        """The stream has `held` bytes now. Raises TooMuch."""
        if held > _HELD_EACH:
            raise TooMuch(f"a stream may subscribe to names of {_HELD_EACH} bytes")
        if held > share.held and self._all + held - share.held > _HELD:
            raise TooMuch("the clients of this server subscribe to too much")
        self._all += held - share.held
        share.held = held

    def release(self, share: Share) -> None:
        self._all -= share.held
        share.held = 0


@dataclass(eq=False)
class _Answer:
    size: int
    since: float
    writer: asyncio.Task[object]


class OnTheWay:
    """The answers that are being sent, the oldest first."""

    def __init__(self) -> None:
        self._answers: dict[_Answer, None] = {}
        self._size = 0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One answer is made in each round of the loop: a thousand clients that are notified of one
        change do not block others."""
        async with self._turn:
            yield
            await asyncio.sleep(0)

    @asynccontextmanager
    async def sending(self, size: int) -> AsyncIterator[None]:
        """Waits until there is room for an answer. When there is none, the task that has sent
        longest is cancelled."""
        while self._answers and self._size + size > _ON_THE_WAY:
            self._let_go()
            await asyncio.sleep(_PAUSE)
        writer = asyncio.current_task()
        assert writer is not None
        answer = _Answer(size, time.monotonic(), writer)
        self._answers[answer] = None
        self._size += size
        try:
            yield
        finally:
            del self._answers[answer]
            self._size -= size

    def _let_go(self) -> None:
        oldest = next(iter(self._answers))
        if time.monotonic() - oldest.since > _SLOW:
            oldest.writer.cancel()
