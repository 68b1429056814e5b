"""Whether something has finished: pods by their phase, jobs by their conditions.

What has finished never runs again, whatever else its status says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line asks about phases, and need not load every type for that
    from tiphys.api.batch_v1 import JobCondition, JobStatus
    from tiphys.api.core_v1 import Pod

_FINAL_PHASES = ("Succeeded", "Failed")
_FINAL_CONDITIONS = ("Complete", "Failed")


def is_final(phase: str) -> bool:
    """Whether a pod in that phase has ended for good (upstream's IsPodPhaseTerminal)."""
    return phase in _FINAL_PHASES


def pod_finished(pod: Pod) -> bool:
    """Whether all containers of a pod have ended and none is started again."""
    return pod.status.phase in _FINAL_PHASES


def finish_of(status: JobStatus) -> JobCondition | None:
    """The condition by which a job has finished: Complete or Failed. None while it has not."""
    for condition in status.conditions:
        if condition.type in _FINAL_CONDITIONS and condition.status == "True":
            return condition
    return None


def job_finished(status: JobStatus) -> bool:
    """Whether a job is complete or has failed (upstream's IsJobFinished). One that only announces
    its end, by SuccessCriteriaMet or FailureTarget, has not: its pods still run."""
    return finish_of(status) is not None
