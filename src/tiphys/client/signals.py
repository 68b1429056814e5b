"""What ends a process: SIGTERM, as a supervisor sends it, and SIGINT, as Ctrl-C does."""

from __future__ import annotations

import asyncio
import signal

ENDING = (signal.SIGTERM, signal.SIGINT)


class Stop(asyncio.Event):
    """Set by the first signal that ends the process; `signal` is which it was, 0 before."""

    signal = 0

    def note(self, number: int) -> None:
        self.signal = self.signal or number
        self.set()


def stop_event() -> Stop:
    """An event that the first SIGTERM or SIGINT sets. Must be called on the running loop's thread,
    which is the main one: only that one may handle signals."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, stop.note, number)
    return stop
