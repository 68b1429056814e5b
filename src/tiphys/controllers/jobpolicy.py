"""What a job's policies say of its pods: which failures count, which indexes have failed, when
enough has succeeded. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from tiphys.controllers.jobindexes import parse_indexes

FAILURES = "batch.kubernetes.io/job-index-failure-count"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do about a failed pod: FailJob, FailIndex, Ignore or Count. `message` says which rule
    decided."""

    action: str
    message: str = ""


COUNT = Judgement("Count")


def judge(job: Job, pod: core_v1.Pod) -> Judgement:
    """What the failure policy says of a failed pod: the first rule that matches decides."""
    policy = job.spec.pod_failure_policy
    if policy is None:
        return COUNT
    for index, rule in enumerate(policy.rules):
        reason = _matches(rule, pod)
        if reason:
            message = f"{reason} matching {rule.action} rule at index {index}"
            return Judgement(rule.action, message)
    return COUNT


def _matches(rule: PodFailurePolicyRule, pod: core_v1.Pod) -> str:
    """Why a rule is about a pod, the empty string when it is not."""
    if rule.on_exit_codes is not None:
        return _exit_code_matches(rule.on_exit_codes, pod)
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for pattern in rule.on_pod_conditions:
        for condition in pod.status.conditions:
            if condition.type == pattern.type and condition.status == (pattern.status or "True"):
                return f"Pod {where} has condition {condition.type}"
    return ""


def _exit_code_matches(wanted: PodFailurePolicyOnExitCodesRequirement, pod: core_v1.Pod) -> str:
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for status in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        ended = status.state.terminated if status.state is not None else None
        if ended is None or ended.exit_code == 0:
            continue
        if wanted.container_name not in (None, status.name):
            continue
        if (ended.exit_code in wanted.values) == (wanted.operator == "In"):
            code = ended.exit_code
            return f"Container {status.name} for pod {where} failed with exit code {code}"
    return ""


def failure_count(pod: core_v1.Pod) -> int:
    """How often the pod's index had failed before it."""
    text = pod.metadata.annotations.get(FAILURES, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def index_has_failed(job: Job, pod: core_v1.Pod, judgement: Judgement) -> bool:
    """Whether a failed pod is the end of its index."""
    if judgement.action == "FailIndex":
        return True
    limit = job.spec.backoff_limit_per_index
    return limit is not None and judgement.action == "Count" and failure_count(pod) >= limit


def succeeded_rule(job: Job, completed: Set[int]) -> int | None:
    """The index of the first success rule that holds, None when none does."""
    policy = job.spec.success_policy
    if policy is None:
        return None
    for index, rule in enumerate(policy.rules):
        chosen = completed
        if rule.succeeded_indexes is not None:
            wanted = parse_indexes(rule.succeeded_indexes)
            chosen = completed & wanted
            if rule.succeeded_count is None and chosen != wanted:
                continue
        if rule.succeeded_count is None or len(chosen) >= rule.succeeded_count:
            return index
    return None
