"""Growing delays: between restarts of a container that ends, and between attempts to start one.

Both grow as upstream's kubelet's do: they double up to five minutes. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 300.0  # seconds: the longest delay
RESTART_FIRST = 10.0  # seconds before the second restart
RESTART_RESET = 600.0  # seconds of running after which the delay is forgotten
PULL_FIRST = 10.0  # seconds after the first image pull that failed
START_FIRST = 2.0  # seconds after the first other failure to start


@dataclass(slots=True)
class RestartBackoff:
    """Delays between the restarts of one container, which show as CrashLoopBackOff."""

    delay: float = 0.0
    started_at: float = 0.0

    def remaining(self, finished_at: float, now: float) -> float:
        """Seconds until a container that ended at `finished_at` may be started again."""
        if not self.delay or finished_at - self.started_at > RESTART_RESET:
            return 0.0
        return max(0.0, finished_at + self.delay - now)

    def record_start(self, now: float) -> None:
        """The container was restarted: the next restart waits longer, unless it ran for long."""
        ran_long = now - self.started_at > RESTART_RESET + self.delay
        if not self.delay or ran_long:
            self.delay = RESTART_FIRST
        else:
            self.delay = min(self.delay * 2, LIMIT)
        self.started_at = now


@dataclass(slots=True)
class StartBackoff:
    """Delays between attempts to start one container that did not come to run."""

    delay: float = 0.0
    failed_at: float = 0.0

    def remaining(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        return max(0.0, self.failed_at + self.delay - now)

    def record_failure(self, now: float, first: float) -> None:
        """`first` is the shortest delay after a failure of this kind, in seconds."""
        self.delay = min(max(self.delay * 2, first), LIMIT)
        self.failed_at = now

    def reset(self) -> None:
        self.delay = 0.0
