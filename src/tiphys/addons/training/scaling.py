"""Elastic jobs: when they grow and when they shrink. Pure.

A job grows when the pods that it tries to have beyond its size are ready, and shrinks when pods
that it lost do not come back. Either way its processes save what they have, and start again with
another number of ranks.
"""

from __future__ import annotations

from tiphys.addons.training.actions import Event, Plan, StopAgent
from tiphys.addons.training.observation import BUSY, AgentState, Observation
from tiphys.addons.training.phases import Phase, is_in, leave, since
from tiphys.addons.training.sizes import Group
from tiphys.addons.training.types import (
    ElasticPolicy,
    ElasticScalingStatus,
    HyperPodPyTorchJob,
    JobStatus,
    RunPolicy,
)
from tiphys.machinery import timestamps

# Seconds where the policy sets none: long enough for a pod to be replaced on a healthy node.
_SCALING_TIMEOUT = 60
_FAULTY_TIMEOUT = 60
SCALING = "Scaling"


def grow(seen: Observation, plan: Plan, groups: tuple[Group, ...], running_since: float) -> None:
    """Restarts the job with more pods, if enough are ready; or with fewer, if it has more than
    it may."""
    policy = (seen.job.spec.run_policy or RunPolicy()).restart_policy
    snooze = policy.scale_up_snooze_time_in_seconds if policy is not None else 0
    targets = {}
    for group in groups:
        ready = sum(
            member.is_in(AgentState.READY) and not _trains(member.rank, group)
            for member in seen.of(group.name)
        )
        size = group.largest_within(group.target + max(0, ready - group.spares))
        wanted = _status_of(plan.status).target_replicas.get(group.name, group.target)
        if size > group.target and seen.now - running_since >= snooze:
            targets[group.name] = size
        elif wanted > group.target:  # its bounds were changed
            targets[group.name] = group.target
    if targets:
        _rescale(seen, plan, groups, targets, is_fault=False)


def _trains(rank: int, group: Group) -> bool:
    return group.first_rank <= rank < group.first_rank + group.target


def shrink(seen: Observation, plan: Plan, groups: tuple[Group, ...]) -> None:
    """Continues with the pods that there are, if those that are missing have had their time."""
    policy = seen.job.spec.elastic_policy
    if policy is None or seen.now - _waiting_since(seen, plan.status) < _timeout(
        policy, plan.status
    ):
        return
    targets = {}
    for group in groups:
        ready = sum(member.is_in(AgentState.READY) for member in seen.of(group.name))
        size = group.largest_within(ready)
        if group.is_elastic and 0 < size < group.target:
            targets[group.name] = size
    if targets:
        _rescale(seen, plan, groups, targets, is_fault=is_in(plan.status, Phase.FAULTED))


def _waiting_since(seen: Observation, status: JobStatus) -> float:
    if is_in(status, Phase.FAULTED):
        return since(status, Phase.FAULTED)
    stopped = since(status, Phase.RUNNING)
    return max(stopped, timestamps.parse(status.start_time)) or seen.now


def _timeout(policy: ElasticPolicy, status: JobStatus) -> int:
    if is_in(status, Phase.FAULTED):
        return policy.faulty_scale_down_timeout_in_seconds or _FAULTY_TIMEOUT
    return policy.scaling_timeout_in_seconds or _SCALING_TIMEOUT


def _rescale(
    seen: Observation,
    plan: Plan,
    groups: tuple[Group, ...],
    targets: dict[str, int],
    *,
    is_fault: bool,
) -> None:
    status = plan.status
    sizes = {group.name: targets.get(group.name, group.target) for group in groups}
    before = {group.name: group.target for group in groups}
    scaling = _status_of(status)
    scaling.target_replicas = sizes
    scaling.last_updated = timestamps.rfc3339(seen.now)
    scaling.is_faulty_pod_scale_down = is_fault
    scaling.pods_scaled = False
    status.elastic_scaling_status = scaling
    leave(status, seen.now, SCALING, Phase.RUNNING)
    changes = ", ".join(f"{name} {before[name]} to {sizes[name]}" for name in sorted(targets))
    plan.events.append(Event(SCALING, f"The number of pods changes: {changes}"))
    grace = _grace(seen.job)
    plan.actions.extend(
        StopAgent(member, grace)
        for member in seen.members
        if member.is_usable and member.state in BUSY
    )
    plan.again = 0.0


def settled(seen: Observation, status: JobStatus, groups: tuple[Group, ...]) -> None:
    """The job runs with the sizes that it was to have."""
    if seen.job.spec.elastic_policy is None:
        return
    scaling = _status_of(status)
    now = timestamps.rfc3339(seen.now)
    scaling.target_replicas = {group.name: group.target for group in groups}
    scaling.last_restart_time = now
    if scaling.pods_scaled is False:
        scaling.last_scaling_time = now
    scaling.pods_scaled = True
    status.elastic_scaling_status = scaling


def _status_of(status: JobStatus) -> ElasticScalingStatus:
    return status.elastic_scaling_status or ElasticScalingStatus()


def grace_of(job: HyperPodPyTorchJob, status: JobStatus) -> int:
    """Seconds that processes have to save what they have, if the job changes its size."""
    return 0 if is_in(status, Phase.FAULTED) else _grace(job)


def _grace(job: HyperPodPyTorchJob) -> int:
    policy = job.spec.elastic_policy
    return (policy.graceful_shutdown_timeout_in_seconds or 0) if policy is not None else 0
