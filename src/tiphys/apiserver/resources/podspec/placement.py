"""The rules of where pods may run: tolerations, affinity, spread, selectors of nodes."""

from __future__ import annotations

from tiphys.api.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec.labelkeys import label_key_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors
from tiphys.machinery.nodes import whole_number

_TOLERATION_OPERATORS = ("Equal", "Exists", "Gt", "Lt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_POSITIVE = "must be greater than zero"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_placement(spec: PodSpec, path: str) -> list[FieldError]:
    violations = validate_tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.affinity is not None:
        violations += _affinity(spec.affinity, f"{path}.affinity")
    constraints = spec.topology_spread_constraints
    return violations + _spread(constraints, f"{path}.topologySpreadConstraints")


def validate_tolerations(tolerations: list[Toleration], path: str) -> list[FieldError]:
    violations = []
    for index, toleration in enumerate(tolerations):
        violations += _toleration(toleration, f"{path}[{index}]")
    return violations


def _toleration(toleration: Toleration, path: str) -> list[FieldError]:
    operator = toleration.operator
    violations = checks.qualified(toleration.key, f"{path}.key")
    if not toleration.key and operator != "Exists":
        detail = (
            "operator must be Exists when `key` is empty,"
            ' which means "match all values and all keys"'
        )
        violations.append(errors.invalid_value(f"{path}.operator", operator, detail))
    violations += checks.one_of(operator, _TOLERATION_OPERATORS, f"{path}.operator")
    if operator == "Exists" and toleration.value:
        detail = "value must be empty when `operator` is 'Exists'"
        violations.append(errors.invalid_value(f"{path}.operator", toleration.value, detail))
    if operator in ("Gt", "Lt") and whole_number(toleration.value) is None:
        detail = "must be a valid decimal integer in canonical form"
        violations.append(errors.invalid_value(f"{path}.value", toleration.value, detail))
    effect = toleration.effect
    violations += checks.one_of(effect, _EFFECTS, f"{path}.effect")
    if toleration.toleration_seconds is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        violations.append(errors.invalid_value(f"{path}.effect", effect, detail))
    return violations


# --- affinity ---


def _affinity(affinity: Affinity, path: str) -> list[FieldError]:
    violations = []
    if affinity.node_affinity is not None:
        violations += _node_affinity(affinity.node_affinity, f"{path}.nodeAffinity")
    if affinity.pod_affinity is not None:
        violations += _pod_affinity(affinity.pod_affinity, f"{path}.podAffinity")
    if affinity.pod_anti_affinity is not None:
        violations += _pod_affinity(affinity.pod_anti_affinity, f"{path}.podAntiAffinity")
    return violations


def _node_affinity(affinity: NodeAffinity, path: str) -> list[FieldError]:
    violations = []
    required = affinity.required_during_scheduling_ignored_during_execution
    if required is not None:
        violations += validate_node_selector(required, f"{path}.{_REQUIRED}", strict=True)
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, wish in enumerate(preferred):
        field = f"{path}.{_PREFERRED}[{index}]"
        violations += _weight(wish.weight, f"{field}.weight")
        violations += _node_term(wish.preference, f"{field}.preference", strict=False)
    return violations


def _pod_affinity(affinity: PodAffinity | PodAntiAffinity, path: str) -> list[FieldError]:
    violations = []
    required = affinity.required_during_scheduling_ignored_during_execution
    for index, term in enumerate(required):
        violations += _pod_term(term, f"{path}.{_REQUIRED}[{index}]")
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, wish in enumerate(preferred):
        field = f"{path}.{_PREFERRED}[{index}]"
        violations += _weight(wish.weight, f"{field}.weight")
        violations += _pod_term(wish.pod_affinity_term, f"{field}.podAffinityTerm")
    return violations


def _weight(weight: int, path: str) -> list[FieldError]:
    if 1 <= weight <= 100:
        return []
    return [errors.invalid_value(path, weight, "must be in the range 1-100")]


def _pod_term(term: PodAffinityTerm, path: str) -> list[FieldError]:
    violations = checks.required(term.topology_key, f"{path}.topologyKey", "can not be empty")
    violations += checks.qualified_name(term.topology_key, f"{path}.topologyKey")
    for namespace in term.namespaces:
        violations += checks.named(namespace, dns_label_errors, f"{path}.namespace")
    violations += checks.label_selector(term.label_selector, f"{path}.labelSelector")
    violations += label_key_errors(
        path, term.match_label_keys, term.mismatch_label_keys, term.label_selector
    )
    return violations + checks.label_selector(term.namespace_selector, f"{path}.namespaceSelector")


# --- selectors of nodes ---


def validate_node_selector(
    selector: NodeSelector, path: str, strict: bool = False
) -> list[FieldError]:
    """`strict`: values must be such as labels have."""
    field = f"{path}.nodeSelectorTerms"
    if not selector.node_selector_terms:
        return [errors.required(field, "must have at least one node selector term")]
    violations = []
    for index, term in enumerate(selector.node_selector_terms):
        violations += _node_term(term, f"{field}[{index}]", strict)
    return violations


def _node_term(term: NodeSelectorTerm, path: str, strict: bool) -> list[FieldError]:
    violations = []
    for index, wanted in enumerate(term.match_expressions):
        field = f"{path}.matchExpressions[{index}]"
        violations += checks.requirement(wanted, _NODE_OPERATORS, field, strict)
    for index, wanted in enumerate(term.match_fields):
        violations += _field_requirement(wanted, f"{path}.matchFields[{index}]")
    return violations


def _field_requirement(wanted: NodeSelectorRequirement, path: str) -> list[FieldError]:
    """A node can be chosen by its name, too."""
    violations = []
    if wanted.operator not in ("In", "NotIn"):
        detail = "not a valid selector operator"
        violations.append(errors.invalid_value(f"{path}.operator", wanted.operator, detail))
    elif len(wanted.values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        violations.append(errors.required(f"{path}.values", detail))
    if wanted.key != "metadata.name":
        detail = "not a valid field selector key"
        violations.append(errors.invalid_value(f"{path}.key", wanted.key, detail))
    return violations


# --- spread ---


def _spread(constraints: list[TopologySpreadConstraint], path: str) -> list[FieldError]:
    violations = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        field = f"{path}[{index}]"
        violations += _constraint(constraint, field)
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in seen:
            field = f"{field}.{{topologyKey, whenUnsatisfiable}}"
            violations.append(errors.duplicate(field, f"{{{pair[0]}, {pair[1]}}}"))
        seen.add(pair)
    return violations


def _constraint(constraint: TopologySpreadConstraint, path: str) -> list[FieldError]:
    violations = []
    if constraint.max_skew <= 0:
        field = f"{path}.maxSkew"
        violations.append(errors.invalid_value(field, constraint.max_skew, _POSITIVE))
    violations += checks.required(
        constraint.topology_key, f"{path}.topologyKey", "can not be empty"
    )
    violations += checks.qualified(constraint.topology_key, f"{path}.topologyKey")
    violations += checks.label_selector(constraint.label_selector, f"{path}.labelSelector")
    when = constraint.when_unsatisfiable
    if when not in _UNSATISFIABLE:
        field = f"{path}.whenUnsatisfiable"
        violations.append(errors.not_supported(field, when, _UNSATISFIABLE))
    least = constraint.min_domains
    if least is not None and least <= 0:
        violations.append(errors.invalid_value(f"{path}.minDomains", least, _POSITIVE))
    elif least is not None and when != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
        violations.append(errors.invalid_value(f"{path}.minDomains", least, detail))
    policy = constraint.node_affinity_policy
    violations += checks.one_of(policy, ("Honor", "Ignore"), f"{path}.nodeAffinityPolicy")
    policy = constraint.node_taints_policy
    violations += checks.one_of(policy, ("Honor", "Ignore"), f"{path}.nodeTaintsPolicy")
    keys = constraint.match_label_keys
    return violations + label_key_errors(path, keys, (), constraint.label_selector)
