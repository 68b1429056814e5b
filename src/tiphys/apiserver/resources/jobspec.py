"""The rules and defaults of a job's spec, shared by jobs and cron jobs."""

from __future__ import annotations

import re

from tiphys.api.batch_v1 import (
    JobSpec,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicyRule,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_MODES = ("Indexed", "NonIndexed")
_REPLACEMENT_POLICIES = ("Failed", "TerminatingOrFailed")
_FAILURE_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_CONDITION_STATES = ("False", "True", "Unknown")
_LONGEST_MANAGER = 63
_MOST_RULES = 20  # of a policy
_MOST_EXIT_CODES = 255
_MOST_INDEXES = 100_000  # above it a job's indexes would not fit its status
_FEW_INDEXES = 10_000  # that may fail, or run at a time, of a job that has more than that
_UNLIMITED = 2147483647


def default_job_spec(spec: JobSpec) -> None:
    default_pod_spec(spec.template.spec, template=True)
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        spec.backoff_limit = _UNLIMITED if spec.backoff_limit_per_index is not None else 6
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    if spec.pod_failure_policy is not None:
        for rule in spec.pod_failure_policy.rules:
            for pattern in rule.on_pod_conditions:
                pattern.status = pattern.status or "True"
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "Failed" if spec.pod_failure_policy else "TerminatingOrFailed"


def job_errors(spec: JobSpec, path: str) -> list[FieldError]:
    """What is wrong with a job's numbers and policies."""
    violations = []
    numbers = {
        "parallelism": spec.parallelism,
        "completions": spec.completions,
        "backoffLimit": spec.backoff_limit,
        "activeDeadlineSeconds": spec.active_deadline_seconds,
        "maxFailedIndexes": spec.max_failed_indexes,
        "ttlSecondsAfterFinished": spec.ttl_seconds_after_finished,
        "backoffLimitPerIndex": spec.backoff_limit_per_index,
    }
    for name, value in numbers.items():
        violations += checks.natural(value, f"{path}.{name}")
    violations += checks.one_of(spec.completion_mode, _MODES, f"{path}.completionMode")
    policy = spec.pod_replacement_policy
    violations += checks.one_of(policy, _REPLACEMENT_POLICIES, f"{path}.podReplacementPolicy")
    violations += _manager(spec.managed_by, f"{path}.managedBy")
    violations += _indexed(spec, path) if spec.completion_mode == "Indexed" else _plain(spec, path)
    if spec.pod_failure_policy is not None and policy not in (None, "Failed"):
        field = f"{path}.podReplacementPolicy"
        violations.append(errors.not_supported(field, policy, ("Failed",)))
    violations += _success_policy(spec, f"{path}.successPolicy")
    return violations + _failure_policy(spec, path)


def _manager(manager: str | None, path: str) -> list[FieldError]:
    if manager is None:
        return []
    violations = []
    if not re.fullmatch(r"[a-z0-9.-]+/.+", manager):
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        violations.append(errors.invalid_value(path, manager, detail))
    if len(manager) > _LONGEST_MANAGER:
        violations.append(errors.too_long(path, _LONGEST_MANAGER))
    return violations


# --- indexes ---


def _plain(spec: JobSpec, path: str) -> list[FieldError]:
    """A job whose pods are all alike."""
    violations = []
    of_indexed_jobs = {
        "backoffLimitPerIndex": spec.backoff_limit_per_index,
        "maxFailedIndexes": spec.max_failed_indexes,
        "successPolicy": spec.success_policy,
    }
    for name, value in of_indexed_jobs.items():
        if value is not None:
            detail = "requires indexed completion mode"
            violations.append(errors.invalid_value(f"{path}.{name}", value, detail))
    return violations


def _indexed(spec: JobSpec, path: str) -> list[FieldError]:
    """A job each of whose pods has a number."""
    completions = spec.completions
    if completions is None:
        return [errors.required(f"{path}.completions", "when completion mode is Indexed")]
    violations = []
    most = spec.max_failed_indexes
    if most is not None and most > completions:
        detail = "must be less than or equal to completions when specified"
        violations.append(errors.invalid_value(f"{path}.maxFailedIndexes", most, detail))
    parallelism = spec.parallelism
    field = f"{path}.parallelism"
    if parallelism is not None and parallelism > _MOST_INDEXES:
        detail = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        violations.append(errors.invalid_value(field, parallelism, detail))
    if spec.backoff_limit_per_index is None or completions <= _MOST_INDEXES:
        return violations
    detail = (
        f"must be less than or equal to {_FEW_INDEXES} when completions are above"
        f" {_MOST_INDEXES} and used with backoff limit per index"
    )
    if most is None:
        missing = f"must be specified when completions is above {_MOST_INDEXES}"
        violations.append(errors.required(f"{path}.maxFailedIndexes", missing))
    elif most > _FEW_INDEXES:
        violations.append(errors.invalid_value(f"{path}.maxFailedIndexes", most, detail))
    if parallelism is not None and parallelism > _FEW_INDEXES:
        violations.append(errors.invalid_value(field, parallelism, detail))
    return violations


def parse_indexes(text: str, completions: int) -> int | str:
    """How many indexes ``1,3-5`` names, or what is wrong with it."""
    total = 0
    last = -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2:
            return (
                f'the fragment "{part}" violates the requirement that an index interval can have'
                ' at most two parts separated by "-"'
            )
        for end in ends:
            if not (end.isascii() and end.isdigit()):
                return f'cannot convert string to integer for index: "{end}"'
        low = int(ends[0])
        high = int(ends[-1])
        if max(low, high) >= completions:
            return f'too large index: "{ends[0] if low >= completions else ends[-1]}"'
        if len(ends) == 2 and low >= high:
            return f"non-increasing order, previous: {low}, current: {high}"
        if low <= last:
            return f"non-increasing order, previous: {last}, current: {low}"
        total += high - low + 1
        last = high
    return total


# --- when a job has succeeded ---


def _success_policy(spec: JobSpec, path: str) -> list[FieldError]:
    if spec.success_policy is None:
        return []
    rules = spec.success_policy.rules
    detail = "at least one rules must be specified when the successPolicy is specified"
    violations = checks.required(rules, f"{path}.rules", detail)
    if len(rules) > _MOST_RULES:
        violations.append(errors.too_many(f"{path}.rules", len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        violations += _success_rule(rule, spec.completions, f"{path}.rules[{index}]")
    return violations


def _success_rule(rule: SuccessPolicyRule, completions: int | None, path: str) -> list[FieldError]:
    violations = []
    indexes = rule.succeeded_indexes
    count = rule.succeeded_count
    if count is None and indexes is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        violations.append(errors.required(path, detail))
    named = 0
    if indexes is not None:
        parsed = parse_indexes(indexes, completions or 0)
        if isinstance(parsed, str):
            detail = f"error parsing succeededIndexes: {parsed}"
            violations.append(errors.invalid_value(f"{path}.succeededIndexes", indexes, detail))
        else:
            named = parsed
    if count is None:
        return violations
    field = f"{path}.succeededCount"
    violations += checks.natural(count, field)
    if completions is not None and count > completions:
        detail = (
            f"must be less than or equal to {completions} (the number of specified completions)"
        )
        violations.append(errors.invalid_value(field, count, detail))
    if named and count > named:
        detail = (
            f"must be less than or equal to {named}"
            " (the number of indexes in the specified succeededIndexes field)"
        )
        violations.append(errors.invalid_value(field, count, detail))
    return violations


# --- which failures of pods count ---


def _failure_policy(spec: JobSpec, path: str) -> list[FieldError]:
    policy = spec.pod_failure_policy
    if policy is None:
        return []
    violations = []
    pod = spec.template.spec
    if pod.restart_policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        field = f"{path}.template.spec.restartPolicy"
        violations.append(errors.invalid_value(field, pod.restart_policy, detail))
    path = f"{path}.podFailurePolicy.rules"
    if len(policy.rules) > _MOST_RULES:
        violations.append(errors.too_many(path, len(policy.rules), _MOST_RULES))
    containers = {container.name for container in [*pod.containers, *pod.init_containers]}
    for index, rule in enumerate(policy.rules):
        field = f"{path}[{index}]"
        violations += _failure_action(rule, spec, f"{field}.action")
        violations += _failure_rule(rule, containers, field)
    return violations


def _failure_action(rule: PodFailurePolicyRule, spec: JobSpec, path: str) -> list[FieldError]:
    violations = checks.required(rule.action, path)
    violations += checks.one_of(rule.action, _FAILURE_ACTIONS, path)
    if rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
        detail = "requires the backoffLimitPerIndex to be set"
        violations.append(errors.invalid_value(path, rule.action, detail))
    return violations


def _failure_rule(rule: PodFailurePolicyRule, containers: set[str], path: str) -> list[FieldError]:
    violations = []
    codes = rule.on_exit_codes
    patterns = rule.on_pod_conditions
    if codes is not None and patterns:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        violations.append(errors.invalid_value(path, rule, detail))
    elif codes is None and not patterns:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        violations.append(errors.invalid_value(path, rule, detail))
    if codes is not None:
        violations += _exit_codes(codes, containers, f"{path}.onExitCodes")
    field = f"{path}.onPodConditions"
    if len(patterns) > _MOST_RULES:
        violations.append(errors.too_many(field, len(patterns), _MOST_RULES))
    for index, pattern in enumerate(patterns):
        violations += _condition_pattern(pattern, f"{field}[{index}]")
    return violations


def _exit_codes(
    codes: PodFailurePolicyOnExitCodesRequirement, containers: set[str], path: str
) -> list[FieldError]:
    violations = checks.required(codes.operator, f"{path}.operator")
    violations += checks.one_of(codes.operator, ("In", "NotIn"), f"{path}.operator")
    name = codes.container_name
    if name is not None and name not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        violations.append(errors.invalid_value(f"{path}.containerName", name, detail))
    values = codes.values
    field = f"{path}.values"
    if not values:
        detail = "at least one value is required"
        violations.append(errors.invalid_value(field, values, detail))
    elif len(values) > _MOST_EXIT_CODES:
        violations.append(errors.too_many(field, len(values), _MOST_EXIT_CODES))
    if values != sorted(values):
        violations.append(errors.invalid_value(field, values, "must be ordered"))
    for index, code in enumerate(values):
        if code in values[:index]:
            violations.append(errors.duplicate(f"{field}[{index}]", code))
        if code == 0 and codes.operator == "In":
            detail = "must not be 0 for the In operator"
            violations.append(errors.invalid_value(f"{field}[{index}]", code, detail))
    return violations


def _condition_pattern(
    pattern: PodFailurePolicyOnPodConditionsPattern, path: str
) -> list[FieldError]:
    violations = checks.qualified_name(pattern.type, f"{path}.type")
    violations += checks.required(pattern.status, f"{path}.status")
    return violations + checks.one_of(pattern.status, _CONDITION_STATES, f"{path}.status")
