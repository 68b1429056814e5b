"""What to do about a job: from what is seen of it to a plan. Pure; read `decide` first.

A job waits for its pods, starts all agents at once, and watches them. When one of them has a fault,
all processes are stopped, what is lost is replaced, and all are started again, each pod with the
rank that it had. `budget` decides when pods are replaced instead, and when the job fails.
"""

from __future__ import annotations

import copy
from typing import Any

from tiphys.addons.training import memory, scaling
from tiphys.addons.training.actions import (
    Action,
    CreatePod,
    DeletePod,
    Event,
    Plan,
    StartAgent,
    StopAgent,
)
from tiphys.addons.training.budget import Answer, judge
from tiphys.addons.training.ending import deadline_of, end, suspend, tidy
from tiphys.addons.training.faults import Fault, failures_before_the_start, faults_of
from tiphys.addons.training.observation import (
    BUSY,
    STOPPABLE,
    AgentState,
    Member,
    Observation,
)
from tiphys.addons.training.phases import Phase, is_finished, is_in, leave, set_to, since
from tiphys.addons.training.protocol import start_body
from tiphys.addons.training.ranks import Ranking, is_available, ranking_of
from tiphys.addons.training.sizes import Group, groups_of, world_of
from tiphys.addons.training.types import FaultyPodInstances, JobStatus, RunPolicy
from tiphys.addons.training.validation import errors_of
from tiphys.machinery import timestamps

MASTER_PORT = 29500  # torch's own default

# An agent stops its processes within two rounds of its own loop (--monitor-interval, 0.1 s).
# Polling once a second would make all ranks wait for one more.
_SOON = 0.2  # seconds
_STOPPING = 10.0  # seconds after which it is none of those that stop at once
_ASKED_IN_A_SECOND = 320  # agents


def decide(seen: Observation) -> Plan:
    status = copy.deepcopy(seen.job.status)
    plan = Plan(status)
    if is_finished(status):
        tidy(seen, plan)
        return plan
    wrong = errors_of(seen.job)
    if wrong:
        end(seen, plan, Phase.FAILED, "InvalidSpec", "; ".join(map(str, wrong[:5])))
        return plan
    set_to(status, Phase.CREATED, True, seen.now, "JobCreated", "The job was accepted")
    run = seen.job.spec.run_policy or RunPolicy()
    if run.suspend:
        suspend(seen, plan)
        return plan
    leave(status, seen.now, "JobResumed", Phase.SUSPENDED)
    if not status.start_time:
        status.start_time = timestamps.rfc3339(seen.now)
    overdue = deadline_of(seen, status)
    if overdue is not None:
        end(seen, plan, Phase.FAILED, overdue.reason, overdue.message)
        return plan
    _run(seen, plan)
    return plan


def _run(seen: Observation, plan: Plan) -> None:
    groups = groups_of(seen.job)
    epoch = epoch_of(plan.status, groups)
    _remember(plan, memory.CHECKPOINTS, seen, memory.checkpoints_after(seen, groups))
    _keep_pods(seen, plan, groups)
    if is_in(plan.status, Phase.RUNNING):
        _watch(seen, plan, groups, epoch)
    else:
        _gather(seen, plan, groups, epoch)


def _remember(plan: Plan, annotation: str, seen: Observation, value: dict[str, Any]) -> None:
    """Where it is something new."""
    text = memory.written(value)
    if text != seen.job.metadata.annotations.get(annotation, memory.written({})):
        plan.annotations[annotation] = text


def epoch_of(status: JobStatus, groups: tuple[Group, ...]) -> str:
    """What the current start is called. An agent repeats it, so that an old answer is known as
    one."""
    return f"{status.restart_count}-{world_of(groups)}"


# --- pods ---


def _keep_pods(seen: Observation, plan: Plan, groups: tuple[Group, ...]) -> None:
    """Every index of every group has a pod. What is lost goes first: a pod's name is its place."""
    wanted: set[tuple[str, int]] = set()
    for group in groups:
        wanted.update((group.name, index) for index in range(group.pods))
    for member in seen.members:
        if (member.group, member.index) not in wanted:
            if not member.is_going and not _has_rank(member, groups):
                plan.actions.append(DeletePod(member))
        elif member.lost and (not member.is_going or member.node_is_lost):
            plan.actions.append(DeletePod(member, at_once=member.node_is_lost))
        elif _is_mute(seen, member) and not member.is_going:
            plan.actions.append(DeletePod(member))
    existing = {(member.group, member.index) for member in seen.members}
    avoided = _avoided(seen)
    plan.actions.extend(
        CreatePod(group, index, avoided) for group, index in sorted(wanted - existing)
    )


def _is_mute(seen: Observation, member: Member) -> bool:
    """An agent that reported and is silent for twice as long as it may: processes were stopped
    for it after the first half, and it will not start any. One that never reported may still start.
    """
    return member.last_rank >= 0 and member.silent > 2 * seen.agent_timeout


def _has_rank(member: Member, groups: tuple[Group, ...]) -> bool:
    """A surplus pod that trains is left alone until the job is started again."""
    return member.is_usable and any(
        group.name == member.group
        and group.first_rank <= member.rank < group.first_rank + group.target
        for group in groups
    )


def _avoided(seen: Observation) -> tuple[str, ...]:
    """The nodes that were at fault most often, after a restart with new pods."""
    policy = (seen.job.spec.run_policy or RunPolicy()).restart_policy
    latest = seen.job.status.latest_faulty_pod_instance_list
    most = policy.max_num_repeat_offenders_to_avoid if policy is not None else None
    if not most or latest is None or latest.restart_type != Answer.PODS:
        return ()
    return memory.repeat_offenders(seen.job, most)


# --- a job that waits to be started ---


def _gather(seen: Observation, plan: Plan, groups: tuple[Group, ...], epoch: str) -> None:
    """Stops what runs from before, and starts all when all are ready."""
    faults = failures_before_the_start(seen, epoch)
    if faults:
        _answer(seen, plan, faults)
        return
    grace = scaling.grace_of(seen.job, plan.status)
    for member in seen.members:
        if member.is_usable and member.state in BUSY and not is_available(member, epoch):
            plan.actions.append(StopAgent(member, grace))
    ranking = ranking_of(seen, groups, epoch)
    if not ranking.is_complete:
        _wait(seen, plan, groups, ranking)
        return
    set_to(plan.status, Phase.PODS_RUNNING, True, seen.now, "PodsRunning", "All pods are ready")
    checkpoints = memory.checkpoints_after(seen, groups)
    common = _common_body(seen, plan.status, ranking, epoch, checkpoints)
    starts = [
        StartAgent(member, rank, {"rank": rank, **common})
        for rank, member in sorted(ranking.members.items())
        if member.is_in(AgentState.READY)
    ]
    if starts:
        plan.actions.extend(starts)
        plan.again = 0.0
        return
    _started(seen, plan, groups, ranking)


def _wait(seen: Observation, plan: Plan, groups: tuple[Group, ...], ranking: Ranking) -> None:
    ready = all(member.runs for member in ranking.members.values()) and not ranking.missing
    set_to(plan.status, Phase.PODS_RUNNING, ready, seen.now, "PodsRunning" if ready else "Waiting")
    scaling.shrink(seen, plan, groups)
    if plan.again is None and _is_between_two_starts(seen, plan.status, ranking):
        plan.again = max(_SOON, len(seen.members) / _ASKED_IN_A_SECOND)


def _is_between_two_starts(seen: Observation, status: JobStatus, ranking: Ranking) -> bool:
    """Whether all that is missing is processes that are just stopping."""
    if ranking.missing or seen.now - since(status, Phase.RUNNING) > _STOPPING:
        return False
    return all(member.state in STOPPABLE for member in ranking.waiting)


def _common_body(
    seen: Observation, status: JobStatus, ranking: Ranking, epoch: str, checkpoints: dict[str, Any]
) -> dict[str, object]:
    addresses = [ranking.members[one].address for one in sorted(ranking.members)]
    rules = (seen.job.spec.run_policy or RunPolicy()).log_monitoring_configuration
    restarts = status.restart_count
    return start_body(addresses, MASTER_PORT, restarts, epoch, rules, checkpoints)


def _started(seen: Observation, plan: Plan, groups: tuple[Group, ...], ranking: Ranking) -> None:
    """All agents reported that they run."""
    status = plan.status
    status.master_addr = ranking.members[0].address
    status.master_port = str(MASTER_PORT)
    message = f"{len(ranking.members)} pods train"
    restarted = status.restart_count > 0
    set_to(status, Phase.RUNNING, True, seen.now, "JobRunning", message)
    leave(status, seen.now, "Restarted", Phase.FAULTED)
    scaling.settled(seen, status, groups)
    plan.events.append(Event("Restarted" if restarted else "Started", message))


# --- a job that runs ---


def _watch(seen: Observation, plan: Plan, groups: tuple[Group, ...], epoch: str) -> None:
    faults = faults_of(seen, groups, epoch)
    if faults:
        _answer(seen, plan, faults)
        return
    ranking = ranking_of(seen, groups, epoch)
    if ranking.is_complete and all(
        member.is_in(AgentState.COMPLETED, epoch) for member in ranking.members.values()
    ):
        end(seen, plan, Phase.COMPLETED, "JobCompleted", "All processes ended well")
        return
    scaling.grow(seen, plan, groups, since(plan.status, Phase.RUNNING))


def _answer(seen: Observation, plan: Plan, faults: list[Fault]) -> None:
    """New processes, new pods, or the end; what is lost is replaced by the next look."""
    first = faults[0]
    verdict = judge(seen.job, seen.now)
    status = plan.status
    status.restart_status = verdict.counters
    places = _places(faults, verdict.answer)
    status.latest_faulty_pod_instance_list = places
    nodes = memory.faulty_nodes_after(seen.job, places.faulty_instance_id_list)
    _remember(plan, memory.FAULTY_NODES, seen, nodes)
    if verdict.answer is Answer.FAIL:
        of_rank = f" of rank {first.rank}" if first.rank >= 0 else ""
        message = f"{first.reason}{of_rank} was the last fault: {verdict.message}"
        end(seen, plan, Phase.FAILED, verdict.reason, message)
        return
    status.restart_count += 1
    ranks = ", ".join(str(fault.rank) for fault in faults[:16])
    message = f"{first.message} (ranks {ranks})" if first.rank >= 0 else first.message
    set_to(status, Phase.FAULTED, True, seen.now, first.reason, message)
    leave(status, seen.now, first.reason, Phase.RUNNING, Phase.PODS_RUNNING)
    plan.events.append(Event(first.reason, message, is_warning=True))
    if verdict.answer is Answer.PODS:
        plan.actions = [
            DeletePod(member, at_once=member.node_is_lost)
            for member in seen.members
            if not member.is_going or member.node_is_lost
        ]
        plan.events.append(Event("FullRestart", "All pods are replaced", is_warning=True))
    else:
        plan.actions.extend(_stops(seen))
    plan.again = 0.0


def _stops(seen: Observation) -> list[Action]:
    return [
        StopAgent(member) for member in seen.members if member.is_usable and member.state in BUSY
    ]


def _places(faults: list[Fault], answer: Answer) -> FaultyPodInstances:
    """Where the fault was: the ranks that failed first, not those that followed from it."""
    lost = [fault for fault in faults if not fault.faulted_at]
    origin = lost or faults[:1]
    members = [fault.member for fault in origin if fault.member is not None]
    return FaultyPodInstances(
        restart_type=answer.value,
        faulty_instance_id_list=sorted({member.node for member in members if member.node}),
        faulty_pod_list=[member.name for member in members],
        faulty_rank_list=[str(fault.rank) for fault in origin if fault.rank >= 0],
    )
