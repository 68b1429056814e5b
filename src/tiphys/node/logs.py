"""Container logs in CRI's format: ``TIME STREAM F|P TEXT``, read from the end, cut, followed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tiphys.machinery import timestamps

_CHUNK = 65536


@dataclass(frozen=True)
class LogOptions:
    """As kubectl asks. `since` is seconds since the epoch."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float = 0.0
    limit: int | None = None


def tail_offset(path: str, lines: int) -> int:
    """Where the last `lines` lines of a file begin."""
    if lines <= 0:
        return os.path.getsize(path)
    with open(path, "rb") as file:
        at = file.seek(0, os.SEEK_END)
        seen = 0
        while at > 0:
            step = min(_CHUNK, at)
            at -= step
            file.seek(at)
            block = file.read(step)
            end = len(block)
            while (found := block.rfind(b"\n", 0, end)) >= 0:
                if at + found != os.path.getsize(path) - 1:
                    seen += 1
                    if seen == lines:
                        return at + found + 1
                end = found
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


def tail(path: str, lines: int) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(tail_offset(path, lines))
            return b"".join(shown(line, LogOptions()) for line in file).decode(errors="replace")
    except OSError:
        return ""


async def read(path: str, options: LogOptions, running: object) -> AsyncIterator[bytes]:
    """The log as it is, then as it grows, until `running()` says the container has ended."""
    left = options.limit
    with open(path, "rb") as file:  # noqa: ASYNC230 (a local file, read in small steps)
        if options.tail is not None:
            file.seek(tail_offset(path, options.tail))
        rest, idle = b"", 0.02
        while True:
            ended = not running()  # type: ignore[operator]
            block = file.read(_CHUNK * 4)
            if block:
                idle = 0.02
                *lines, rest = (rest + block).split(b"\n")
                out = b"".join(shown(line + b"\n", options) for line in lines)
                if left is not None:
                    out, left = out[:left], left - len(out)
                if out:
                    yield out
                if left is not None and left <= 0:
                    return
            elif not options.follow or ended:
                return
            else:
                await asyncio.sleep(idle)
                idle = min(idle * 1.5, 0.25)
