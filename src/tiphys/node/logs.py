"""Container logs in CRI's format: ``TIME STREAM F|P TEXT``, read from the end, cut, followed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tiphys.machinery import timestamps

_CHUNK = 65536
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
    """Where the last `lines` lines of an open file begin."""
    size = at = os.fstat(file).st_size
    if lines <= 0:
        return size
    left = lines + 1  # the last line's own ending does not count
    if size and os.pread(file, 1, size - 1) != b"\n":
        left = lines
    while at > 0:
        step = min(_CHUNK, at)
        at -= step
        block = os.pread(file, step, at)
        count = block.count(b"\n")
        if count < left:
            left -= count
            continue
        end = len(block)
        for _ in range(left):
            end = block.rfind(b"\n", 0, end)
        return at + end + 1
    return 0


def shown(line: bytes, options: LogOptions) -> bytes:
    """What a client sees of one raw line; nothing for a line before `since`."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return b""
    stamp, text = parts[0], parts[3] if len(parts) == 4 else b""
    if options.since and timestamps.parse(_microseconds(stamp.decode())) < options.since:
        return b""
    ending = b"" if parts[2] == b"P" else b"\n"
    return (stamp + b" " if options.timestamps else b"") + text + ending


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
    renewed: Callable[[int], int | None] = lambda file: None,
) -> AsyncIterator[bytes]:
    """An open log as it is, then as it grows, until `running()` says the container has ended. `renewed` opens the log that
    was begun in place of an open one, if there is one. Of a line longer than any that the runtime writes only the beginning
    is shown."""
    opened = file
    left = options.limit
    at = 0
    if options.tail is not None:
        at = await asyncio.to_thread(
            tail_offset, file, options.tail
        )  # it may read all of a large file
    lines, idle = _Lines(), 0.02
    try:
        while left is None or left > 0:
            ended = not running()
            newer = (
                renewed(file) if options.follow and idle > 0.02 else None
            )  # before the last look at the old one
            block = os.pread(file, _CHUNK, at)
            if newer is not None:
                if block:
                    os.close(newer)
                else:
                    if file != opened:
                        os.close(file)
                    file, at = newer, 0
                    continue
            if block:
                idle = 0.02
                at += len(block)
                out = b"".join(shown(line, options) for line in lines.add(block))
                if left is not None:
                    out = out[:left]
                    left -= len(out)
                if out:
                    yield out
                await asyncio.sleep(0)  # a large file is not all there is to do
            elif not options.follow or (ended and idle > 0.02):
                return
            else:
                await asyncio.sleep(idle)
                idle = min(idle * 1.5, 0.25)
    finally:
        if file != opened:
            os.close(file)


class _Lines:
    """Cuts blocks into lines and keeps the rest for the next block, but no more of it than a line may have."""

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
