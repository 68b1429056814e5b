"""How a fault is answered: with new processes, new pods, or the end of the job. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tiphys.addons.training.types import HyperPodPyTorchJob, RestartPolicy, RestartStatus, RunPolicy
from tiphys.machinery import timestamps


class Answer(StrEnum):
    """As `latestFaultyPodInstanceList.restartType` has it: process level, job level."""

    PROCESSES = "PLR"
    PODS = "JLR"
    FAIL = ""


@dataclass(frozen=True)
class Verdict:
    """What is to be done, the counters after it, and why the job fails if it does."""

    answer: Answer
    counters: RestartStatus
    reason: str = ""
    message: str = ""


def judge(job: HyperPodPyTorchJob, now: float) -> Verdict:
    """The answer to one more fault.

    Within a window (`evalPeriodSeconds`, counted from the job's start) so many restarts of
    processes are free; the next one is of all pods, which makes processes free again; when those
    are used up, too, the job fails. Without a policy only processes are restarted.
    """
    run = job.spec.run_policy or RunPolicy()
    policy = run.restart_policy
    counters = _in_window(job, policy, now)
    if run.job_max_retry_count is not None and job.status.restart_count >= run.job_max_retry_count:
        message = f"it was restarted {job.status.restart_count} times (jobMaxRetryCount)"
        return Verdict(Answer.FAIL, counters, "MaxRetriesExceeded", message)
    most = policy.num_restart_before_full_job_restart if policy is not None else None
    if most is None or counters.restart_count < most:
        counters.restart_count += 1
        return Verdict(Answer.PROCESSES, counters)
    assert policy is not None
    fulls = policy.max_full_job_restarts
    if fulls is not None and counters.full_job_restart_count >= fulls:
        message = (
            f"within {policy.eval_period_seconds}s its pods were replaced "
            f"{counters.full_job_restart_count} times (maxFullJobRestarts) and its processes "
            f"restarted {counters.restart_count} times after that"
        )
        return Verdict(Answer.FAIL, counters, "RestartLimitExceeded", message)
    counters.full_job_restart_count += 1
    counters.restart_count = 0
    return Verdict(Answer.PODS, counters)


def _in_window(job: HyperPodPyTorchJob, policy: RestartPolicy | None, now: float) -> RestartStatus:
    """The counters, empty where a new window has started."""
    length = policy.eval_period_seconds if policy is not None else 0
    began = timestamps.parse(job.status.start_time) or now
    window = int((now - began) // length) if length else 0
    standing = job.status.restart_status
    if standing is None or standing.current_eval_period != window:
        return RestartStatus(current_eval_period=window)
    return RestartStatus(
        current_eval_period=window,
        full_job_restart_count=standing.full_job_restart_count,
        restart_count=standing.restart_count,
    )
