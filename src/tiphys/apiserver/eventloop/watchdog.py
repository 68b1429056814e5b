"""How long the event loop is held by one thing at a time, and by what.

While requests come in, a beat runs on the loop every 5 ms, and every 50 ms for a second after them:
with quick ones alone, a client that asked once a second kept 2.7 % of a core busy. A beat that
comes late was held up. What counts is the processor time of the loop's thread since the beat was
due: on a busy machine the clock goes on while others run, and its time is reported beside
(`lateness`). It is known since the beat before, so that a hold may be shown longer than it was, by
what the loop did since then. A thread beside the loop samples the stack once a beat is overdue, so
that the culprit can be named.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

from tiphys.client.exposition import Tally

log = logging.getLogger(__name__)

LIMIT = 0.05  # seconds that nothing may hold the loop
_BEAT = 0.005
_SLOW_BEAT = 0.05  # what goes on without a request, as work in the background
_LOOK = 0.02  # seconds between two looks of the thread beside the loop
_CALM = 10  # beats without a request, after which they are slow ones
_QUIET = 30  # beats without a request, after which they end: an idle server does nothing
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DEEP = 14  # frames that the log shows
# seconds between two warnings: a server that is slow all the time does not also write all the time
_AGAIN = 10.0


class Watchdog:
    """Of one event loop. `touch` for each request; `longest` in seconds, `during` says what ran."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.requests = 0
        self.during = ""
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0
        self.lateness = Tally(_BUCKETS)
        """By how much beats came late by the clock: by a hold, or for want of a processor."""
        self._quiet = _QUIET
        self._due = 0.0
        self._cpu = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._beating = threading.Event()
        self._stopped = False
        self._sample: tuple[float, str, str] | None = (
            None  # (beat that was due, what ran, the stack)
        )
        self._warned_at = -_AGAIN
        self._last: object = None

    def start(self) -> None:
        """Watches the running loop, from the first request on."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        threading.Thread(target=self._sample_stacks, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped = True
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()
        self._beating.set()  # the thread wakes and ends

    def touch(self, request: object) -> None:
        """A request came: beats go on, or start. `request` has `method` and `path`."""
        self._last = request
        self.requests += 1
        calm = self._quiet >= _CALM
        self._quiet = 0
        if not calm or self._loop is None:
            return
        if self._handle is not None:
            if time.monotonic() > self._due:
                return  # held up: this beat measures by how much, and the next one is a quick one
            self._handle.cancel()
        self._schedule()
        self._beating.set()

    def _schedule(self) -> None:
        assert self._loop is not None
        pause = _SLOW_BEAT if self._quiet >= _CALM else _BEAT
        self._due = time.monotonic() + pause
        self._cpu = time.thread_time()
        self._handle = self._loop.call_later(pause, self._beat)

    def _beat(self) -> None:
        late = time.monotonic() - self._due
        held = min(late, time.thread_time() - self._cpu)
        if late > 0:
            self.lateness.observe(late)
            self._note(max(held, 0.0))
        self._quiet += 1
        if self._quiet >= _QUIET or self._loop is None:
            self._beating.clear()
            self._handle = None
        else:
            self._schedule()

    def _note(self, held: float) -> None:
        bucket = next(
            (index for index, limit in enumerate(_BUCKETS) if held <= limit), len(_BUCKETS)
        )
        self.counts[bucket] += 1
        self.total += held
        sample = self._sample if self._sample is not None and self._sample[0] == self._due else None
        if held > self.longest:
            self.longest = held
            self.during = sample[1] if sample is not None else self._after()
        if held > LIMIT and time.monotonic() - self._warned_at > _AGAIN:
            self._warned_at = time.monotonic()
            work, stack = sample[1:] if sample is not None else (self._after(), "")
            log.warning("the event loop was held for %.0f ms by %s\n%s", held * 1000, work, stack)

    def _after(self) -> str:
        """What can be said of work that let no other thread run, as one long call of C: when it
        was.
        """
        last = self._last
        return f"something after {getattr(last, 'method', '')} {getattr(last, 'path', '')[:200]}"

    # --- the thread beside the loop ---

    def _sample_stacks(self) -> None:
        while not self._stopped:
            self._beating.wait()
            due = self._due
            time.sleep(_SLOW_BEAT if self._quiet >= _CALM else _LOOK)
            overdue = time.monotonic() - due
            if (
                overdue > LIMIT * 0.6
                and due == self._due
                and (self._sample is None or self._sample[0] != due)
            ):
                frame = sys._current_frames().get(self._loop_thread)
                if frame is not None:
                    self._sample = (
                        due,
                        _what_runs(frame),
                        "".join(traceback.format_stack(frame)[-_DEEP:]),
                    )

    # --- metrics ---

    def metrics(self) -> Iterator[Metric]:
        """Every hold, and the longest. May be called on any thread."""
        total = 0
        buckets = []
        for limit, count in zip((*_BUCKETS, "+Inf"), list(self.counts), strict=True):
            total += count
            buckets.append((str(limit), float(total)))
        holds = HistogramMetricFamily(
            "tiphys_event_loop_hold_seconds",
            "Processor time for which one thing held the event loop.",
        )
        holds.add_metric((), buckets, self.total)
        yield holds
        lateness = HistogramMetricFamily(
            "tiphys_event_loop_lateness_seconds",
            "Time by the clock for which the event loop did not come round, whoever ran meanwhile.",
        )
        lateness.add_metric((), self.lateness.buckets(), self.lateness.sum)
        yield lateness
        longest = GaugeMetricFamily(
            "tiphys_event_loop_longest_hold_seconds",
            "The longest time for which one thing held the event loop, and which it was.",
            labels=("during",),
        )
        longest.add_metric((self.during,), self.longest)
        yield longest
        yield GaugeMetricFamily(
            "tiphys_python_allocated_blocks",
            "Blocks of memory that Python's objects are in. The process may have far more than that"
            " takes: an arena of a megabyte goes back when none of its objects is left.",
            value=float(sys.getallocatedblocks()),
        )


def _what_runs(frame: FrameType) -> str:
    """The request whose handler is on the stack, else the outermost function of ours that is."""
    outermost = ""
    caller = frame
    while caller is not None:
        code = caller.f_code
        if "/tiphys/" in code.co_filename:
            if code.co_name == "handle" and code.co_filename.endswith("apiserver/server.py"):
                request = caller.f_locals.get("request")
                return f"{getattr(request, 'method', '')} {getattr(request, 'path', '')[:200]}"
            outermost = code.co_qualname
        if caller.f_back is None:
            break
        caller = caller.f_back
    return outermost or frame.f_code.co_qualname
