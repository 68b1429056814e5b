"""The loop that runs one probe of one container, and the thresholds it counts against."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.node.probes.handlers import run_handler
from tiphys.node.probes.httpprobe import Answer
from tiphys.node.runtime import Runtime

_EAGER_TRIES = 10  # in the first second of a container's life
_EAGER_PERIOD = 0.1  # seconds between them


class Observe(Protocol):
    """Is told of every result: `kind` is startup, readiness or liveness, `seconds` how long it
    took."""

    def __call__(self, container: str, kind: str, success: bool, seconds: float) -> None: ...


def ignore_result(container: str, kind: str, success: bool, seconds: float) -> None:
    """Observes nothing."""


class Target(NamedTuple):
    """What a probe or hook is run against. `address` gives the pod's address."""

    container: Any
    id: str
    address: Callable[[], str]
    runtime: Runtime

    async def run(self, handler: Any, timeout: float) -> Answer:
        """Runs a handler for at most `timeout` seconds."""
        address = self.address()
        return await run_handler(handler, self.container, self.id, address, self.runtime, timeout)


class Verdict:
    """Counts a probe's results against its thresholds. Pure."""

    def __init__(self, probe: core_v1.Probe, initial: bool) -> None:
        self._probe = probe
        self.successful = initial
        self.run_length = 0  # how many results in a row were like the last one
        self._last: bool | None = None

    def add(self, success: bool) -> bool:
        """True when the verdict changed, or when a probe failed at or past its threshold."""
        self.run_length = self.run_length + 1 if success == self._last else 1
        self._last = success
        probe = self._probe
        threshold = probe.success_threshold if success else probe.failure_threshold
        if self.run_length < max(1, threshold):
            return False
        changed = self.successful != success
        self.successful = success
        return changed or not success


class Prober:
    """One probe of one container, run for as long as the container runs.

    kind: startup, readiness or liveness
    started_at: when the container started, seconds since the epoch
    was_successful: whether an agent before this one had it succeed
    """

    def __init__(
        self,
        kind: str,
        probe: core_v1.Probe,
        target: Target,
        started_at: float = 0.0,
        was_successful: bool = False,
    ) -> None:
        self.kind = kind
        self.probe = probe
        self.target = target
        self._started_at = started_at
        self._tries = 0
        self.verdict = Verdict(probe, initial=was_successful or kind == "liveness")

    @property
    def has_failed(self) -> bool:
        """Whether it failed as often in a row as its threshold allows."""
        is_past_threshold = self.verdict.run_length >= self.probe.failure_threshold
        return not self.verdict.successful and is_past_threshold

    async def run(
        self,
        report: Callable[[Prober, Answer], None],
        observe: Observe = ignore_result,
    ) -> None:
        """Calls `report` when the verdict matters, or when the answer carries a warning, and
        `observe` with every result. A startup probe ends with its first success."""
        if delay := self.probe.initial_delay_seconds:
            age = max(0.0, time.time() - self._started_at)
            await asyncio.sleep(max(0.0, delay - age))
        while True:
            began = time.monotonic()
            answer = await self.target.run(self.probe, self.probe.timeout_seconds or 1)
            took = time.monotonic() - began
            observe(self.target.container.name, self.kind, answer.well, took)
            matters, pause = self.count(answer.well)
            if matters or answer.warning:
                report(self, answer)
            if self.kind == "startup" and self.verdict.successful:
                return
            await asyncio.sleep(pause)

    def count(self, success: bool) -> tuple[bool, float]:
        """Counts one result: (whether the verdict matters, seconds until the next try).

        Until its first success a probe is run more often in the first second, because users
        wait for the pod. Failures of that second are not counted: a threshold is meant in periods.
        """
        is_awaited = (
            self.kind != "liveness"
            and not self.verdict.successful
            and not self.probe.initial_delay_seconds
        )
        self._tries += 1
        if is_awaited and not success and self._tries <= _EAGER_TRIES:
            return False, _EAGER_PERIOD
        matters = self.verdict.add(success)
        if not success and self._tries > _EAGER_TRIES:
            matters = True
        return matters, self.probe.period_seconds
