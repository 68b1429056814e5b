"""What ends a process: SIGTERM, as a supervisor sends it, and SIGINT, as Ctrl-C does."""

from __future__ import annotations

import asyncio
import signal

ENDING = (signal.SIGTERM, signal.SIGINT)


def stop_event() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets. Must be called on the running loop's thread,
    which is the main one: only that one may handle signals."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, stop.set)
    return stop
