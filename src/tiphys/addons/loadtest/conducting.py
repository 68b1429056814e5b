"""What a test does when (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiphys.addons.loadtest.control import Measurement
from tiphys.addons.loadtest.types import LoadTestSpec, LoadTestStatus

_MOST_SAMPLES = 300
_UNMEASURED = 5  # periods without a number after which a test fails
KEPT_FOR_CONTROL = 6


def target_at(spec: LoadTestSpec, elapsed: float) -> float:
    """Orders a minute that are wanted so many seconds after the load started."""
    ramp = spec.ramp_up_minutes * 60
    if elapsed >= ramp:
        return float(spec.target_orders_per_minute)
    return spec.target_orders_per_minute * elapsed / ramp


def length(spec: LoadTestSpec) -> float:
    """Seconds of load."""
    return (spec.ramp_up_minutes + spec.plateau_minutes) * 60


@dataclass(frozen=True, slots=True)
class Tick:
    """What is due: the counter is read at half of a period, when new users are there, and at its
    end, when the number of users is thought over. `after` is how many seconds later to look
    again."""

    reads: bool = False
    controls: bool = False
    ends: bool = False
    after: float = 0.0


def tick(spec: LoadTestSpec, status: LoadTestStatus, now: float) -> Tick:
    """In the phase Loading. The last reading shows where in the period it is: one of before the
    last sample (or of before the load) is not of this period."""
    period = spec.period_seconds
    begun = last_change(status)
    if now - status.phase_started_at >= length(spec):
        return Tick(ends=True)
    reading = status.reading
    is_read = reading is not None and reading.seconds > begun
    if not is_read:
        due = begun + period / 2
        return Tick(reads=True) if now >= due else Tick(after=due - now)
    assert reading is not None
    due = max(begun + period, reading.seconds + period / 4)
    return Tick(controls=True) if now >= due else Tick(after=due - now)


def last_change(status: LoadTestStatus) -> float:
    """When the number of users was last thought over, in seconds since the epoch."""
    return max(status.phase_started_at, status.changed_at)


def gives_up(
    spec: LoadTestSpec, status: LoadTestStatus, watched_since: float, now: float, is_starting: bool
) -> bool:
    """Whether a test that cannot be measured fails. While no controller conducted it, none could
    have measured. Locust that is started again has as long for that as it had in the beginning.
    """
    patience = _UNMEASURED * spec.period_seconds
    if is_starting:
        patience = max(patience, spec.ready_timeout_minutes * 60)
    return now - max(last_change(status), watched_since) > patience


def rate(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> float:
    """Orders a minute between two readings, each by page. A counter that has become smaller has
    restarted, as has one that is new; what went since the first has counted what it did until
    then."""
    grown = sum(
        count - before.get(page, 0.0) if count >= before.get(page, 0.0) else count
        for page, count in after.items()
    )
    return grown * 60 / seconds if seconds > 0 else 0.0


def measurements(status: LoadTestStatus) -> list[Measurement]:
    """The newest, as the control reads them."""
    return [
        Measurement(one.users, one.orders_per_minute)
        for one in status.samples[-KEPT_FOR_CONTROL:]
        if one.users > 0
    ]


def shortened(status: LoadTestStatus) -> None:
    """An object holds so many samples: of a longer test the oldest go."""
    del status.samples[:-_MOST_SAMPLES]
