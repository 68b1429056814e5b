"""How a job ends, is suspended, and is tidied up after. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.addons.training.actions import DeleteJob, DeletePod, Event, Plan, ShutDownAgent
from tiphys.addons.training.observation import AgentState, Observation
from tiphys.addons.training.phases import Phase, is_in, leave, set_to, since
from tiphys.addons.training.types import JobStatus, RunPolicy
from tiphys.machinery import timestamps


@dataclass(frozen=True)
class Overdue:
    """A deadline that has passed."""

    reason: str
    message: str


def deadline_of(seen: Observation, status: JobStatus) -> Overdue | None:
    run = seen.job.spec.run_policy or RunPolicy()
    began = timestamps.parse(status.start_time)
    active = run.active_deadline_seconds
    if active is not None and seen.now - began >= active:
        return Overdue("DeadlineExceeded", f"It was active for {active}s (activeDeadlineSeconds)")
    if is_in(status, Phase.RUNNING):
        return None
    if is_in(status, Phase.FAULTED):
        fault = run.fault_deadline_seconds
        if fault is not None and seen.now - since(status, Phase.FAULTED) >= fault:
            message = f"It did not run again within {fault}s (faultDeadlineSeconds)"
            return Overdue("FaultDeadlineExceeded", f"{message}; {_who_is_missing(seen)}")
        return None
    startup = run.startup_deadline_seconds
    if startup is not None and not status.master_addr and seen.now - began >= startup:
        message = f"It did not run within {startup}s (startupDeadlineSeconds)"
        return Overdue("StartupDeadlineExceeded", f"{message}; {_who_is_missing(seen)}")
    return None


def _who_is_missing(seen: Observation) -> str:
    pending = [member.name for member in seen.members if not member.runs]
    silent = [member.name for member in seen.members if member.runs and member.agent is None]
    missing = []
    if pending:
        missing.append(f"pods that do not run: {', '.join(pending[:8])}")
    if silent:
        missing.append(f"agents that do not answer: {', '.join(silent[:8])}")
    return "; ".join(missing) or "all agents answer"


def end(seen: Observation, plan: Plan, phase: Phase, reason: str, message: str) -> None:
    """The job is over. Agents are notified; `cleanPodPolicy` decides what happens to its pods."""
    status = plan.status
    set_to(status, phase, True, seen.now, reason, message)
    leave(status, seen.now, reason, Phase.RUNNING, Phase.PODS_RUNNING, Phase.FAULTED)
    status.completion_time = timestamps.rfc3339(seen.now)
    plan.events.append(Event(reason, message, is_warning=phase is Phase.FAILED))
    plan.actions.clear()
    tidy(seen, plan)


def tidy(seen: Observation, plan: Plan) -> None:
    """What is left to do for a job that is over."""
    run = seen.job.spec.run_policy or RunPolicy()
    for member in seen.members:
        if member.is_going:
            continue
        if run.clean_pod_policy == "All" or (run.clean_pod_policy == "Running" and not member.lost):
            plan.actions.append(DeletePod(member, at_once=member.node_is_lost))
        elif member.agent is not None and member.state is not AgentState.SHUTDOWN:
            plan.actions.append(ShutDownAgent(member))
            plan.again = 1.0
    if run.ttl_seconds_after_finished <= 0:
        return
    ends = timestamps.parse(plan.status.completion_time) + run.ttl_seconds_after_finished
    if seen.now >= ends:
        plan.actions.append(DeleteJob())
    else:
        plan.again = min(plan.again or ends - seen.now, ends - seen.now)


def suspend(seen: Observation, plan: Plan) -> None:
    """It has no pods. When it is resumed it restarts: its deadlines, and the windows of its
    restarts."""
    status = plan.status
    set_to(status, Phase.SUSPENDED, True, seen.now, "JobSuspended", "It is suspended")
    leave(status, seen.now, "JobSuspended", Phase.RUNNING, Phase.PODS_RUNNING, Phase.FAULTED)
    status.start_time = None
    status.restart_status = None
    status.master_addr = status.master_port = ""
    plan.actions.extend(
        DeletePod(member, at_once=member.node_is_lost)
        for member in seen.members
        if not member.is_going
    )
