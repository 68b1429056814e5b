"""Errors of a job beyond its schema, each with the path of its field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiphys.addons.training.types import (
    OPERATORS,
    ElasticPolicy,
    HyperPodPyTorchJob,
    LogMonitoringRule,
    ReplicaSpec,
)
from tiphys.machinery.fielderrors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_one_of,
    required,
    too_long,
)

_LONGEST_PATTERN = 2048  # characters: what compiles it must not take long
_LONGEST_NAME = 63  # of a pod's host name, which is also a label's value
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_WORDS = ("auto", "cpu", "gpu")


def errors_of(job: HyperPodPyTorchJob) -> list[FieldError]:
    """All of them, in the order of the fields; empty: the job can run."""
    return [
        *_names(job),
        *_processes(job.spec.nproc_per_node),
        *_replicas(job),
        *_rules(job),
        *_elastic(job),
    ]


def _names(job: HyperPodPyTorchJob) -> Iterator[FieldError]:
    name = job.metadata.name
    if not _LABEL.match(name):
        explanation = "the pods' host names begin with it: lower case letters, digits and '-'"
        yield invalid_value("metadata.name", name, explanation)
    for spec in job.spec.replica_specs:
        longest = f"{name}-{spec.name}-{_largest(spec, job.spec.elastic_policy) - 1}"
        if len(longest) > _LONGEST_NAME:
            yield too_long("metadata.name", _LONGEST_NAME - len(longest) + len(name))


def _largest(spec: ReplicaSpec, elastic: ElasticPolicy | None) -> int:
    most = elastic.max_replicas if elastic and elastic.max_replicas else 0
    return max(spec.replicas, spec.max_replicas or 0, most) + spec.spares


def _processes(value: str) -> Iterator[FieldError]:
    if value not in _WORDS and not re.fullmatch(r"[1-9][0-9]{0,3}", value):
        yield invalid_value("spec.nprocPerNode", value, "must be auto, cpu, gpu or a number from 1")


# --- groups ---


def _replicas(job: HyperPodPyTorchJob) -> Iterator[FieldError]:
    specs = job.spec.replica_specs
    if not specs:
        yield required("spec.replicaSpecs", "a job has at least one group of pods")
    names: set[str] = set()
    for index, spec in enumerate(specs):
        path = f"spec.replicaSpecs[{index}]"
        if not _LABEL.match(spec.name):
            yield invalid_value(f"{path}.name", spec.name, "lower case letters, digits and '-'")
        if spec.name in names:
            yield duplicate(f"{path}.name", spec.name)
        names.add(spec.name)
        yield from _group(path, spec)


def _group(path: str, spec: ReplicaSpec) -> Iterator[FieldError]:
    if spec.replicas < 1:
        yield invalid_value(f"{path}.replicas", spec.replicas, "must be greater than or equal to 1")
    if spec.max_replicas is not None and spec.replicas > spec.max_replicas:
        explanation = f"must not be greater than maxReplicas ({spec.max_replicas})"
        yield invalid_value(f"{path}.replicas", spec.replicas, explanation)
    if spec.template is None or not spec.template.spec.containers:
        yield required(f"{path}.template.spec.containers")


# --- rules for logs ---


def _rules(job: HyperPodPyTorchJob) -> Iterator[FieldError]:
    policy = job.spec.run_policy
    if policy is None:
        return
    names: set[str] = set()
    for index, rule in enumerate(policy.log_monitoring_configuration):
        path = f"spec.runPolicy.logMonitoringConfiguration[{index}]"
        if not rule.name:
            yield required(f"{path}.name")
        if rule.name in names:
            yield duplicate(f"{path}.name", rule.name)
        names.add(rule.name)
        yield from _rule(path, rule)


def _rule(path: str, rule: LogMonitoringRule) -> Iterator[FieldError]:
    if not rule.log_pattern:
        yield required(f"{path}.logPattern")
    groups, problem = _compiled(rule.log_pattern)
    if problem:
        yield invalid_value(f"{path}.logPattern", rule.log_pattern, problem)
    elif groups_of_numbers(rule.log_pattern) > 1:
        yield invalid_value(
            f"{path}.logPattern", rule.log_pattern, "must have at most one capturing group"
        )
    _, stop_problem = _compiled(rule.stop_pattern)
    if stop_problem:
        yield invalid_value(f"{path}.stopPattern", rule.stop_pattern, stop_problem)
    if rule.operator and rule.operator not in OPERATORS:
        yield not_one_of(f"{path}.operator", rule.operator, OPERATORS)
    compares = (bool(rule.operator), rule.metric_threshold is not None)
    if compares == (True, False):
        yield required(f"{path}.metricThreshold", "must be set when operator is")
    if compares == (False, True):
        yield required(f"{path}.operator", "must be set when metricThreshold is")
    if all(compares) and not problem and groups == 0:
        yield invalid_value(
            f"{path}.logPattern", rule.log_pattern, "must have a group for metricThreshold"
        )


def groups_of_numbers(pattern: str) -> int:
    """Groups that stand beside each other. One within another is not counted: the published example
    writes a decimal as ``(\\d+(\\.\\d+)?)``, and the agent reads the outer one."""
    depth = 0
    count = 0
    for token in _tokens(pattern):
        if token == "(":
            count += depth == 0
            depth += 1
        elif token == ")":
            depth = max(0, depth - 1)
    return count


def _tokens(pattern: str) -> Iterator[str]:
    """The brackets of capturing groups. Those of other groups come as spaces."""
    opened: list[str] = []
    in_class = False
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            position += pattern[position + 1 : position + 2] == "]"
        elif character == "(":
            captures = pattern[position + 1 : position + 2] != "?" or (
                pattern[position + 1 : position + 4] == "?P<"
            )
            opened.append("(" if captures else " ")
            yield opened[-1]
        elif character == ")" and opened:
            yield ")" if opened.pop() == "(" else " "
        position += 1


def _compiled(pattern: str) -> tuple[int, str]:
    """The number of groups, and why the agent could not compile the expression."""
    if len(pattern) > _LONGEST_PATTERN:
        return 0, f"must be no more than {_LONGEST_PATTERN} characters"
    try:
        return re.compile(pattern).groups, ""
    except (re.error, RecursionError, OverflowError) as error:
        return 0, f"is no regular expression: {error or 'it is too deep'}"


# --- elastic jobs ---


def _elastic(job: HyperPodPyTorchJob) -> Iterator[FieldError]:
    policy = job.spec.elastic_policy
    if policy is None:
        return
    path = "spec.elasticPolicy"
    least = policy.min_replicas
    most = policy.max_replicas
    if least is not None and most is not None and least > most:
        explanation = f"must not be greater than maxReplicas ({most})"
        yield invalid_value(f"{path}.minReplicas", least, explanation)
    if policy.replica_increment_step is not None and policy.replica_discrete_values:
        yield forbidden_field(
            f"{path}.replicaDiscreteValues", "may not be set with replicaIncrementStep"
        )
    for index, value in enumerate(policy.replica_discrete_values):
        if most is not None and value > most:
            explanation = f"must not be greater than maxReplicas ({most})"
            yield invalid_value(f"{path}.replicaDiscreteValues[{index}]", value, explanation)
    for index, spec in enumerate(job.spec.replica_specs):
        if most is not None and spec.replicas > most:
            explanation = f"must not be greater than elasticPolicy.maxReplicas ({most})"
            yield invalid_value(f"spec.replicaSpecs[{index}].replicas", spec.replicas, explanation)
