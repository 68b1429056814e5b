"""What a job's policies say of its pods: which failures count, which indexes have failed, when enough has succeeded. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job, PodFailurePolicyRule

FAILURES = "batch.kubernetes.io/job-index-failure-count"


@dataclass(frozen=True, slots=True)
class Judgement:
    """action: FailJob, FailIndex, Ignore or Count; `message` says which rule decided."""

    action: str
    message: str = ""


COUNT = Judgement("Count")


def judge(job: Job, pod: core_v1.Pod) -> Judgement:
    """What the failure policy says of a failed pod: the first rule that matches decides."""
    policy = job.spec.pod_failure_policy
    for index, rule in enumerate(policy.rules if policy is not None else ()):
        why = _matches(rule, pod)
        if why:
            return Judgement(rule.action, f"{why} matching {rule.action} rule at index {index}")
    return COUNT


def _matches(rule: PodFailurePolicyRule, pod: core_v1.Pod) -> str:
    """Why a rule is about a pod, the empty string when it is not."""
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        wanted = rule.on_exit_codes
        for status in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
            ended = status.state.terminated if status.state is not None else None
            if (
                ended is None
                or ended.exit_code == 0
                or wanted.container_name not in (None, status.name)
            ):
                continue
            if (ended.exit_code in wanted.values) == (wanted.operator == "In"):
                return f"Container {status.name} for pod {where} failed with exit code {ended.exit_code}"
        return ""
    for pattern in rule.on_pod_conditions:
        for condition in pod.status.conditions:
            if condition.type == pattern.type and condition.status == (pattern.status or "True"):
                return f"Pod {where} has condition {condition.type}"
    return ""


def failure_count(pod: core_v1.Pod) -> int:
    """How often the pod's index had failed before it."""
    text = pod.metadata.annotations.get(FAILURES, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def index_has_failed(job: Job, pod: core_v1.Pod, judgement: Judgement) -> bool:
    """Whether a failed pod is the end of its index."""
    limit = job.spec.backoff_limit_per_index
    return judgement.action == "FailIndex" or (
        limit is not None and judgement.action == "Count" and failure_count(pod) >= limit
    )


def succeeded_rule(job: Job, completed: set[int]) -> int | None:
    """The index of the first success rule that holds, None when none does."""
    from tiphys.controllers.job import parse_indexes

    policy = job.spec.success_policy
    for index, rule in enumerate(policy.rules if policy is not None else ()):
        chosen = completed
        if rule.succeeded_indexes is not None:
            wanted = parse_indexes(rule.succeeded_indexes)
            chosen = completed & wanted
            if rule.succeeded_count is None and chosen != wanted:
                continue
        if rule.succeeded_count is None or len(chosen) >= rule.succeeded_count:
            return index
    return None
