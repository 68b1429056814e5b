"""What may change of a pod once it is there, as in upstream's ValidatePodUpdate."""

from __future__ import annotations

import copy
import difflib
from typing import Any

import msgspec

from tiphys.api import core_v1 as v1
from tiphys.api.base import Struct, to_builtins
from tiphys.apiserver.resources.podspec.placement import validate_tolerations
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.schema import fields_of

_ELSE = (
    "pod updates may not change fields other than"
    " `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
_MOST_LINES = 1000  # of what differs: comparing more would take longer than a request may


def update_errors(new: v1.PodSpec, old: v1.PodSpec) -> list[FieldError]:
    """Every change that is not allowed."""
    for name in ("containers", "init_containers"):
        if len(getattr(new, name)) != len(getattr(old, name)):
            path = "spec.containers" if name == "containers" else "spec.initContainers"
            return [errors.forbidden_field(path, "pod updates may not add or remove containers")]
    deadline = _deadline_errors(new.active_deadline_seconds, old.active_deadline_seconds)
    if deadline and new.active_deadline_seconds is not None:
        return deadline
    violations = deadline + _toleration_errors(new.tolerations, old.tolerations)
    violations += _gate_errors(new.scheduling_gates, old.scheduling_gates)
    if new == old:
        return violations
    spec = _mutable_parts_as(new, old)
    if old.scheduling_gates:
        violations += _placement_errors(spec, old)
    if spec != old:
        violations.append(errors.forbidden_field("spec", _ELSE + difference(old, spec)))
    return violations


def _deadline_errors(new: int | None, old: int | None) -> list[FieldError]:
    """A deadline may come, and come nearer."""
    path = "spec.activeDeadlineSeconds"
    if old is not None and new is None:
        return [
            errors.invalid_value(path, new, "must not update from a positive integer to nil value")
        ]
    if old is not None and new is not None and new > old:
        return [errors.invalid_value(path, new, "must be less than or equal to previous value")]
    return []


def _toleration_errors(new: list[v1.Toleration], old: list[v1.Toleration]) -> list[FieldError]:
    """Tolerations may come, and may last shorter or longer."""

    def timeless(toleration: v1.Toleration) -> tuple[str, ...]:
        return (toleration.key, toleration.operator, toleration.value, toleration.effect)

    remaining = {timeless(toleration) for toleration in new}
    if all(timeless(toleration) in remaining for toleration in old):
        return validate_tolerations(new, "spec.tolerations")
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [errors.forbidden_field("spec.tolerations", detail)]


def _gate_errors(
    new: list[v1.PodSchedulingGate], old: list[v1.PodSchedulingGate]
) -> list[FieldError]:
    before = {gate.name for gate in old}
    return [
        errors.forbidden_field(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.name}'",
        )
        for index, gate in enumerate(new)
        if gate.name not in before
    ]


def _mutable_parts_as(new: v1.PodSpec, old: v1.PodSpec) -> v1.PodSpec:
    """`new` with the parts that may change, or have been checked, put back as they were."""
    spec = copy.deepcopy(new)
    for containers, before in (
        (spec.containers, old.containers),
        (spec.init_containers, old.init_containers),
    ):
        for container, was in zip(containers, before, strict=False):
            container.image = was.image
    spec.active_deadline_seconds = old.active_deadline_seconds
    spec.scheduling_gates = old.scheduling_gates
    spec.tolerations = old.tolerations
    if (
        old.termination_grace_period_seconds or 0
    ) < 0 and spec.termination_grace_period_seconds == 1:
        spec.termination_grace_period_seconds = old.termination_grace_period_seconds
    return spec


def _placement_errors(spec: v1.PodSpec, old: v1.PodSpec) -> list[FieldError]:
    """While a pod is gated, where it may go can become narrower. What is checked here is put back
    as it was."""
    violations = []
    if any(spec.node_selector.get(key) != value for key, value in old.node_selector.items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        violations.append(
            errors.invalid_value("spec.nodeSelector", dict(spec.node_selector), detail)
        )
    spec.node_selector = old.node_selector
    now, before = (each.affinity.node_affinity if each.affinity else None for each in (spec, old))
    if now != before:
        violations += _affinity_errors(now, before)
        if spec.affinity is None:
            spec.affinity = v1.Affinity(node_affinity=before)
        else:
            spec.affinity.node_affinity = before
        if old.affinity is None and spec.affinity == v1.Affinity():
            spec.affinity = None
    return violations


def _affinity_errors(new: v1.NodeAffinity | None, old: v1.NodeAffinity | None) -> list[FieldError]:
    terms = _terms(new)
    before = _terms(old)
    path = (
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        ".nodeSelectorTerms"
    )
    if before and len(before) != len(terms):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [errors.invalid_value(path, to_builtins(terms), detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    return [
        errors.invalid_value(f"{path}[{index}]", to_builtins(term), detail)
        for index, (term, was) in enumerate(zip(terms, before, strict=False))
        if not _extends(term, was)
    ]


def _terms(affinity: v1.NodeAffinity | None) -> list[v1.NodeSelectorTerm]:
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required.node_selector_terms if required else []


def _extends(new: v1.NodeSelectorTerm, old: v1.NodeSelectorTerm) -> bool:
    expressions = old.match_expressions
    fields = old.match_fields
    if not expressions and not fields:
        return not new.match_expressions and not new.match_fields
    return (
        new.match_expressions[: len(expressions)] == expressions
        and new.match_fields[: len(fields)] == fields
    )


def difference(old: Struct, new: Struct) -> str:
    """A unified diff of both as indented JSON with Go's names of fields, absent ones null."""
    before, after = (_lines(_spelled(each)) for each in (old, new))
    lines = list(difflib.unified_diff(*_near(before, after), lineterm=""))
    return "\n".join(lines[2:]) + "\n"  # upstream names no files


def _near(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    """Both lists of lines, cut to what differs when they are too long to be compared."""
    if max(len(before), len(after)) <= _MOST_LINES:
        return before, after
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    start = max(start - 3, 0)
    return before[start : start + _MOST_LINES], after[start : start + _MOST_LINES]


def _lines(value: Any) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode().splitlines()


def _spelled(value: Any) -> Any:
    if isinstance(value, Struct):
        fields = {}
        for name, field in fields_of(type(value)).items():
            inner = getattr(value, field.attribute)
            empty = inner is None or (isinstance(inner, list | dict) and not inner)
            fields[name[0].upper() + name[1:]] = None if empty else _spelled(inner)
        return fields
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, dict):
        return {name: _spelled(item) for name, item in value.items()}
    return str(value) if isinstance(value, str) else value
