"""What is wrong with a running job, and where. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.addons.training.observation import AgentState, Member, Observation
from tiphys.addons.training.sizes import Group


@dataclass(frozen=True)
class Fault:
    """Of one rank. `member` is None where its pod is gone."""

    rank: int
    reason: str
    message: str
    member: Member | None = None
    faulted_at: str = ""


def faults_of(seen: Observation, groups: tuple[Group, ...], epoch: str) -> list[Fault]:
    """The faults since the start that is called `epoch`, the one that came first before those that
    followed from it."""
    faults: list[Fault] = []
    for group in groups:
        members = list(seen.of(group.name))
        by_rank = {member.rank: member for member in members}
        usable = {member.rank: member for member in members if member.is_usable}
        unknown = sum(_may_have_a_rank(member, seen.agent_timeout) for member in members)
        for rank in range(group.first_rank, group.first_rank + group.target):
            if rank not in by_rank and unknown:
                unknown -= 1
                continue
            member = usable.get(rank) or by_rank.get(rank)
            fault = _fault_of(rank, member, epoch, seen.agent_timeout)
            if fault is not None:
                faults.append(fault)
    return sorted(faults, key=_order)


def failures_before_the_start(seen: Observation, epoch: str) -> list[Fault]:
    """Faults of a job that does not run yet: pods that ended by themselves, and processes that
    failed before those of all ranks had started."""
    faults = []
    for member in seen.members:
        if member.lost and not member.node_is_lost and not member.is_going:
            message = f"Pod {member.name}: {member.lost}"
            faults.append(Fault(member.rank, "PodFailed", message, member))
        elif member.is_in(AgentState.FAULTED, epoch):
            fault = _fault_of(member.rank, member, epoch, seen.agent_timeout)
            faults.extend([fault] if fault is not None else [])
    return sorted(faults, key=_order)


def _may_have_a_rank(member: Member, timeout: float) -> bool:
    """After a restart of the operator: it has no report of the agent yet."""
    never_heard = member.agent is None and member.last_rank < 0
    return never_heard and member.is_usable and member.runs and member.silent <= timeout


def _fault_of(rank: int, member: Member | None, epoch: str, timeout: float) -> Fault | None:
    if member is None:
        return Fault(rank, "PodLost", f"The pod of rank {rank} is gone")
    if member.lost:
        reason = "NodeLost" if member.node_is_lost else "PodFailed"
        return Fault(rank, reason, f"Pod {member.name}: {member.lost}", member)
    if member.is_going:
        return Fault(rank, "PodDeleted", f"Pod {member.name} is being deleted", member)
    if member.silent > timeout:
        message = f"The agent of pod {member.name} has not answered for {member.silent:.0f}s"
        return Fault(rank, "AgentSilent", message, member)
    agent = member.agent
    if agent is None:
        return None  # silent, and not yet for long
    if agent.state is AgentState.FAULTED:
        message = agent.message or f"Pod {member.name}: its agent gave no message"
        return Fault(rank, agent.reason or "WorkerFault", message, member, agent.faulted_at)
    if agent.state in (AgentState.RUNNING, AgentState.COMPLETED) and agent.epoch == epoch:
        return None
    if agent.state in (AgentState.STOPPING, AgentState.OTHER):
        return None
    message = f"Pod {member.name}: its agent is {agent.state} and no longer runs the job"
    return Fault(rank, "AgentRestarted", message, member)


def _order(fault: Fault) -> tuple[bool, str, int]:
    """A crash makes the processes of other ranks crash, too, a moment later; pods that are lost
    explain both."""
    return bool(fault.faulted_at), fault.faulted_at, fault.rank
