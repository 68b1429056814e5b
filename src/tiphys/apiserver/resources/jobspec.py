"""The rules and defaults of a job's spec, shared by jobs and cron jobs."""

from __future__ import annotations

import re

from tiphys.api import batch_v1
from tiphys.apiserver.resources.checks import given, natural, one_of
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors


def default_job_spec(spec: batch_v1.JobSpec) -> None:
    default_pod_spec(spec.template.spec, template=True)
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        spec.backoff_limit = 2147483647 if spec.backoff_limit_per_index is not None else 6
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    for rule in spec.pod_failure_policy.rules if spec.pod_failure_policy is not None else ():
        for pattern in rule.on_pod_conditions:
            pattern.status = pattern.status or "True"
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "Failed" if spec.pod_failure_policy else "TerminatingOrFailed"


def job_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    """What is wrong with a job's numbers and policies."""
    violations: list[FieldError] = []
    for name, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("maxFailedIndexes", spec.max_failed_indexes),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
    ):
        violations += natural(value, f"{path}.{name}")
    violations += one_of(spec.completion_mode, ("Indexed", "NonIndexed"), f"{path}.completionMode")
    violations += one_of(
        spec.pod_replacement_policy,
        ("Failed", "TerminatingOrFailed"),
        f"{path}.podReplacementPolicy",
    )
    if spec.managed_by is not None and not re.fullmatch(r"[a-z0-9.-]+/.+", spec.managed_by):
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        violations.append(errors.invalid_value(f"{path}.managedBy", spec.managed_by, detail))
    if spec.completion_mode == "Indexed":
        if spec.completions is None:
            violations.append(
                errors.required(f"{path}.completions", "when completion mode is Indexed")
            )
        elif spec.max_failed_indexes is not None and spec.max_failed_indexes > spec.completions:
            detail = "must be less than or equal to completions when specified"
            violations.append(
                errors.invalid_value(f"{path}.maxFailedIndexes", spec.max_failed_indexes, detail)
            )
    else:
        for name, policy in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
            ("successPolicy", spec.success_policy),
        ):
            if policy is not None:
                violations.append(
                    errors.invalid_value(
                        f"{path}.{name}", policy, "requires indexed completion mode"
                    )
                )
    if spec.managed_by is not None and len(spec.managed_by) > 63:
        violations.append(errors.too_long(f"{path}.managedBy", 63))
    if spec.pod_failure_policy is not None and spec.pod_replacement_policy not in (None, "Failed"):
        violations.append(
            errors.not_supported(
                f"{path}.podReplacementPolicy", spec.pod_replacement_policy, ("Failed",)
            )
        )
    violations += _index_limits(spec, path) + _success_policy_errors(spec, f"{path}.successPolicy")
    return violations + _failure_policy_errors(spec, f"{path}.podFailurePolicy")


_MOST_INDEXES = 100_000  # above it a job's indexes would not fit its status


def _index_limits(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    if spec.completion_mode != "Indexed" or spec.completions is None:
        return []
    violations: list[FieldError] = []
    if spec.parallelism is not None and spec.parallelism > _MOST_INDEXES:
        detail = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        violations.append(errors.invalid_value(f"{path}.parallelism", spec.parallelism, detail))
    if spec.backoff_limit_per_index is None or spec.completions <= _MOST_INDEXES:
        return violations
    most = spec.max_failed_indexes
    field = f"{path}.maxFailedIndexes"
    if most is None:
        violations.append(
            errors.required(field, f"must be specified when completions is above {_MOST_INDEXES}")
        )
    elif most > 10_000:
        detail = f"must be less than or equal to 10000 when completions are above {_MOST_INDEXES} and used with backoff limit per index"
        violations.append(errors.invalid_value(field, most, detail))
    if spec.parallelism is not None and spec.parallelism > 10_000:
        detail = f"must be less than or equal to 10000 when completions are above {_MOST_INDEXES} and used with backoff limit per index"
        violations.append(errors.invalid_value(f"{path}.parallelism", spec.parallelism, detail))
    return violations


def _success_policy_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    if spec.success_policy is None:
        return []
    violations: list[FieldError] = []
    rules = spec.success_policy.rules
    if not rules:
        violations.append(
            errors.required(
                f"{path}.rules",
                "at least one rules must be specified when the successPolicy is specified",
            )
        )
    if len(rules) > 20:
        violations.append(errors.too_many(f"{path}.rules", len(rules), 20))
    for index, rule in enumerate(rules):
        field = f"{path}.rules[{index}]"
        total = 0
        if rule.succeeded_count is None and rule.succeeded_indexes is None:
            detail = "at least one of succeededCount or succeededIndexes must be specified"
            violations.append(errors.required(field, detail))
        if rule.succeeded_indexes is not None:
            parsed = parse_indexes(rule.succeeded_indexes, spec.completions or 0)
            if isinstance(parsed, str):
                detail = f"error parsing succeededIndexes: {parsed}"
                violations.append(
                    errors.invalid_value(
                        f"{field}.succeededIndexes", rule.succeeded_indexes, detail
                    )
                )
            else:
                total = parsed
        if (count := rule.succeeded_count) is not None:
            violations += natural(count, f"{field}.succeededCount")
            if spec.completions is not None and count > spec.completions:
                detail = f"must be less than or equal to {spec.completions} (the number of specified completions)"
                violations.append(errors.invalid_value(f"{field}.succeededCount", count, detail))
            if total and count > total:
                detail = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                violations.append(errors.invalid_value(f"{field}.succeededCount", count, detail))
    return violations


def parse_indexes(text: str, completions: int) -> int | str:
    """How many indexes ``1,3-5`` names, or what is wrong with it."""
    total = 0
    last = -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            bad = next((end for end in ends if not (end.isascii() and end.isdigit())), part)
            return (
                f'cannot convert string to integer for index: "{bad}"'
                if len(ends) < 3
                else (
                    f'the fragment "{part}" violates the requirement that an index interval can have at most two parts separated by "-"'
                )
            )
        low = int(ends[0])
        high = int(ends[-1])
        if max(low, high) >= completions:
            return f'too large index: "{ends[0] if low >= completions else ends[-1]}"'
        if len(ends) == 2 and low >= high:
            return f"non-increasing order, previous: {low}, current: {high}"
        if low <= last:
            return f"non-increasing order, previous: {last}, current: {low}"
        total = total + high - low + 1
        last = high
    return total


def _failure_policy_errors(spec: batch_v1.JobSpec, path: str) -> list[FieldError]:
    violations: list[FieldError] = []
    if spec.pod_failure_policy is None:
        return violations
    if spec.template.spec.restart_policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        field = path.replace("podFailurePolicy", "template.spec.restartPolicy")
        violations.append(errors.invalid_value(field, spec.template.spec.restart_policy, detail))
    if len(spec.pod_failure_policy.rules) > 20:
        violations.append(errors.too_many(f"{path}.rules", len(spec.pod_failure_policy.rules), 20))
    names = {
        container.name
        for container in spec.template.spec.containers + spec.template.spec.init_containers
    }
    for index, rule in enumerate(spec.pod_failure_policy.rules):
        field = f"{path}.rules[{index}]"
        codes = rule.on_exit_codes
        violations += given(rule.action, f"{field}.action")
        violations += one_of(
            rule.action, ("Count", "FailIndex", "FailJob", "Ignore"), f"{field}.action"
        )
        if rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
            detail = "requires the backoffLimitPerIndex to be set"
            violations.append(errors.invalid_value(f"{field}.action", rule.action, detail))
        if codes is not None and rule.on_pod_conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            violations.append(errors.invalid_value(field, rule, detail))
        elif codes is None and not rule.on_pod_conditions:
            violations.append(
                errors.invalid_value(
                    field, rule, "specifying one of OnExitCodes and OnPodConditions is required"
                )
            )
        if codes is not None:
            violations += given(codes.operator, f"{field}.onExitCodes.operator")
            violations += one_of(codes.operator, ("In", "NotIn"), f"{field}.onExitCodes.operator")
            if codes.container_name is not None and codes.container_name not in names:
                detail = "must be one of the container or initContainer names in the pod template"
                violations.append(
                    errors.invalid_value(
                        f"{field}.onExitCodes.containerName", codes.container_name, detail
                    )
                )
            if not codes.values:
                detail = "at least one value is required"
                violations.append(
                    errors.invalid_value(f"{field}.onExitCodes.values", codes.values, detail)
                )
            elif len(codes.values) > 255:
                violations.append(
                    errors.too_many(f"{field}.onExitCodes.values", len(codes.values), 255)
                )
            if codes.values != sorted(codes.values):
                violations.append(
                    errors.invalid_value(
                        f"{field}.onExitCodes.values", codes.values, "must be ordered"
                    )
                )
            for number, code in enumerate(codes.values):
                if code in codes.values[:number]:
                    violations.append(
                        errors.duplicate(f"{field}.onExitCodes.values[{number}]", code)
                    )
                if code == 0 and codes.operator == "In":
                    detail = "must not be 0 for the In operator"
                    violations.append(
                        errors.invalid_value(f"{field}.onExitCodes.values[{number}]", code, detail)
                    )
        if len(rule.on_pod_conditions) > 20:
            violations.append(
                errors.too_many(f"{field}.onPodConditions", len(rule.on_pod_conditions), 20)
            )
        for number, pattern in enumerate(rule.on_pod_conditions):
            subpath = f"{field}.onPodConditions[{number}]"
            violations += [
                errors.invalid_value(f"{subpath}.type", pattern.type, detail)
                for detail in label_key_errors(pattern.type)
            ]
            violations += given(pattern.status, f"{subpath}.status")
            violations += one_of(pattern.status, ("False", "True", "Unknown"), f"{subpath}.status")
    return violations
