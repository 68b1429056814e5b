"""The conditions of a job. Pure.

The types are those of the published operator that its command reads: `hyp list` shows the last one
that is true, so they stand in the order in which a job passes through them.
"""

from __future__ import annotations

from enum import StrEnum

from tiphys.addons.training.types import JobCondition, JobStatus
from tiphys.machinery import conditions, timestamps


class Phase(StrEnum):
    CREATED = "Created"
    SUSPENDED = "Suspended"
    PODS_RUNNING = "PodsRunning"
    RUNNING = "Running"
    FAULTED = "Faulted"
    COMPLETED = "Completed"
    FAILED = "Failed"


_ORDER = {phase.value: place for place, phase in enumerate(Phase)}
_LONGEST_MESSAGE = 2048  # characters: agents write what they like


def is_in(status: JobStatus, phase: Phase) -> bool:
    return conditions.is_true(status.conditions, phase)


def is_finished(status: JobStatus) -> bool:
    return is_in(status, Phase.COMPLETED) or is_in(status, Phase.FAILED)


def since(status: JobStatus, phase: Phase) -> float:
    """When the condition changed last, in seconds since the epoch; 0 where it never did."""
    condition = conditions.find(status.conditions, phase)
    return timestamps.parse(condition.last_transition_time) if condition is not None else 0.0


def set_to(
    status: JobStatus, phase: Phase, ok: bool, now: float, reason: str = "", message: str = ""
) -> None:
    """One condition of a status. One that never was true is not written as false."""
    standing = conditions.find(status.conditions, phase)
    if standing is None and not ok:
        return
    wanted = JobCondition(
        type=phase,
        status=conditions.status_of(ok),
        reason=reason or phase.value,
        message=message[:_LONGEST_MESSAGE],
        last_probe_time=timestamps.rfc3339(now),
        last_transition_time=timestamps.rfc3339(now),
    )
    if standing is not None and not conditions.differs(standing, wanted):
        return
    if standing is not None and standing.status == wanted.status:
        wanted.last_transition_time = standing.last_transition_time
    kept = [condition for condition in status.conditions if condition.type != phase]
    status.conditions = sorted([*kept, wanted], key=lambda one: _ORDER.get(one.type, -1))


def leave(status: JobStatus, now: float, reason: str, *phases: Phase) -> None:
    for phase in phases:
        set_to(status, phase, False, now, reason)
