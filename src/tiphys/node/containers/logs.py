"""Container logs in CRI's format: ``TIME STREAM F|P TEXT``, read from the end, cut, followed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tiphys.machinery import timestamps

_CHUNK = 65536
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds between reads of a log that does not grow
_LONGEST = 4 * _CHUNK  # bytes kept of one line; the runtime cuts its lines at 16384


@dataclass(frozen=True)
class LogOptions:
    """As kubectl asks. `since` is seconds since the epoch."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float = 0.0
    limit: int | None = None


def tail_offset(file: int, lines: int) -> int:
    """Where the last `lines` lines of an open file start."""
    size = offset = os.fstat(file).st_size
    if lines <= 0:
        return size
    left = lines + 1  # the last line's own ending does not count
    if size and os.pread(file, 1, size - 1) != b"\n":
        left = lines
    while offset > 0:
        step = min(_CHUNK, offset)
        offset -= step
        block = os.pread(file, step, offset)
        count = block.count(b"\n")
        if count < left:
            left -= count
            continue
        end = len(block)
        for _ in range(left):
            end = block.rfind(b"\n", 0, end)
        return offset + end + 1
    return 0


def shown(line: bytes, options: LogOptions) -> bytes:
    """What a client sees of one raw line; nothing for a line before `since`."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return b""
    stamp = parts[0]
    text = parts[3] if len(parts) == 4 else b""
    if options.since and timestamps.parse(_microseconds(stamp.decode())) < options.since:
        return b""
    prefix = stamp + b" " if options.timestamps else b""
    ending = b"" if parts[2] == b"P" else b"\n"  # the runtime cut the line there
    return prefix + text + ending


def _microseconds(stamp: str) -> str:
    """Nine digits of a second are more than Python reads."""
    head, dot, rest = stamp.partition(".")
    if not dot:
        return stamp
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[: min(6, digits)]}{rest[digits:]}"


def end_of_log(file: int, lines: int, limit: int) -> str:
    """The end of an open log, at most so many lines and bytes of it."""
    size = os.fstat(file).st_size
    start = max(0, size - _CHUNK)
    block = os.pread(file, size - start, start)
    if start and os.pread(file, 1, start - 1) != b"\n":
        block = block.partition(b"\n")[2]
    kept = block.splitlines(True)[-lines:]
    text = b"".join(shown(line, LogOptions()) for line in kept)
    return text[-limit:].decode(errors="replace")


async def read(
    file: int,
    options: LogOptions,
    running: Callable[[], bool],
    newer: Callable[[int], int | None] = lambda file: None,
) -> AsyncIterator[bytes]:
    """An open log as it is, then as it grows, until `running()` says the container has ended.

    newer: opens the log that was started in place of an open one, if there is one
    Of a line longer than any that the runtime writes only the start is shown.
    """
    follower = _Follower(file, options, running, newer)
    left = options.limit
    await follower.skip_to_tail()
    try:
        while left is None or left > 0:
            chunk = await follower.next_chunk()
            if chunk is None:
                return
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            if chunk:
                yield chunk
            await asyncio.sleep(0)  # others have a turn while a large file is read
    finally:
        follower.close()


class _Follower:
    """Reads the blocks of a log, and of those that are started in its place."""

    def __init__(
        self,
        file: int,
        options: LogOptions,
        running: Callable[[], bool],
        newer: Callable[[int], int | None],
    ) -> None:
        self._opened = self._file = file
        self._options = options
        self._running = running
        self._newer = newer
        self._offset = 0
        self._lines = _Lines()
        self._pause = _FIRST_PAUSE

    async def skip_to_tail(self) -> None:
        if self._options.tail is not None:  # finding it may take reading all of a large file
            self._offset = await asyncio.to_thread(tail_offset, self._file, self._options.tail)

    async def next_chunk(self) -> bytes | None:
        """What a client sees of the next block; None at the end."""
        while True:
            # Both are asked before the file is read: what is written until then is seen.
            has_ended = not self._running()
            is_idle = self._pause > _FIRST_PAUSE
            newer = self._newer(self._file) if self._options.follow and is_idle else None
            block = os.pread(self._file, _CHUNK, self._offset)
            if newer is not None:
                if not block:
                    self._switch_to(newer)
                    continue
                os.close(newer)
            if block:
                self._pause = _FIRST_PAUSE
                self._offset += len(block)
                return b"".join(shown(line, self._options) for line in self._lines.add(block))
            if not self._options.follow or (has_ended and is_idle):
                return None
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def _switch_to(self, newer: int) -> None:
        self.close()
        self._file = newer
        self._offset = 0

    def close(self) -> None:
        """Closes what was opened here: the first log is the caller's."""
        if self._file != self._opened:
            os.close(self._file)


class _Lines:
    """Cuts blocks into lines, and keeps the rest for the next block: no more of it than a line may
    have."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, block: bytes) -> list[bytes]:
        head, *others = block.split(b"\n")
        self._rest += head[: _LONGEST - len(self._rest)]
        if not others:
            return []
        complete = [self._rest + b"\n", *(line + b"\n" for line in others[:-1])]
        self._rest = others[-1]
        return complete
