"""The rules of where pods may run: tolerations, affinity, spread, selectors of nodes."""

from __future__ import annotations

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.checks import one_of
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, label_key_errors
from tiphys.machinery.nodes import whole_number

_TOLERATIONS = ("Equal", "Exists", "Gt", "Lt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_WHOLE = "must be a valid decimal integer in canonical form"
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def validate_placement(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found = validate_tolerations(spec.tolerations, f"{path}.tolerations")
    _affinity(spec.affinity, f"{path}.affinity", found)
    _spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints", found)
    return found


def validate_tolerations(tolerations: list[v1.Toleration], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        if toleration.key:
            found += [
                errors.invalid_value(f"{at}.key", toleration.key, problem)
                for problem in label_key_errors(toleration.key)
            ]
        elif toleration.operator != "Exists":
            found.append(
                errors.invalid_value(
                    f"{at}.operator",
                    toleration.operator,
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if toleration.operator and toleration.operator not in _TOLERATIONS:
            found.append(errors.not_supported(f"{at}.operator", toleration.operator, _TOLERATIONS))
        if toleration.operator == "Exists" and toleration.value:
            found.append(
                errors.invalid_value(
                    f"{at}.operator",
                    toleration.value,
                    "value must be empty when `operator` is 'Exists'",
                )
            )
        if toleration.operator in ("Gt", "Lt") and whole_number(toleration.value) is None:
            found.append(errors.invalid_value(f"{at}.value", toleration.value, _WHOLE))
        if toleration.effect and toleration.effect not in _EFFECTS:
            found.append(errors.not_supported(f"{at}.effect", toleration.effect, _EFFECTS))
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            found.append(
                errors.invalid_value(
                    f"{at}.effect",
                    toleration.effect,
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
    return found


def _affinity(affinity: v1.Affinity | None, path: str, found: list[FieldError]) -> None:
    if affinity is None:
        return
    if affinity.node_affinity is not None:
        required = affinity.node_affinity.required_during_scheduling_ignored_during_execution
        at = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        if required is not None:
            found += validate_node_selector(required, at, strict=True)
        for index, wish in enumerate(
            affinity.node_affinity.preferred_during_scheduling_ignored_during_execution
        ):
            at = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            found += _weight(wish.weight, at)
            found += _node_term(wish.preference, f"{at}.preference", strict=False)
    for kind, name in (
        (affinity.pod_affinity, "podAffinity"),
        (affinity.pod_anti_affinity, "podAntiAffinity"),
    ):
        if kind is None:
            continue
        for index, neighbour in enumerate(kind.required_during_scheduling_ignored_during_execution):
            found += _neighbour(
                neighbour, f"{path}.{name}.requiredDuringSchedulingIgnoredDuringExecution[{index}]"
            )
        for index, weighted in enumerate(kind.preferred_during_scheduling_ignored_during_execution):
            at = f"{path}.{name}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            found += _weight(weighted.weight, at)
            found += _neighbour(weighted.pod_affinity_term, f"{at}.podAffinityTerm")


def validate_node_selector(
    selector: v1.NodeSelector, at: str, strict: bool = False
) -> list[FieldError]:
    """`strict`: values must be such as labels have."""
    if not selector.node_selector_terms:
        return [
            errors.required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
        ]
    terms = enumerate(selector.node_selector_terms)
    return [
        error
        for index, term in terms
        for error in _node_term(term, f"{at}.nodeSelectorTerms[{index}]", strict)
    ]


def _node_term(term: v1.NodeSelectorTerm, at: str, strict: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for index, e in enumerate(term.match_expressions):
        checks.requirement(e, f"{at}.matchExpressions[{index}]", found, _NODE_OPERATORS, strict)
    for index, e in enumerate(term.match_fields):
        where = f"{at}.matchFields[{index}]"
        if e.operator not in ("In", "NotIn"):
            found.append(
                errors.invalid_value(
                    f"{where}.operator", e.operator, "not a valid selector operator"
                )
            )
        elif len(e.values) != 1:
            why = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            found.append(errors.required(f"{where}.values", why))
        if e.key != "metadata.name":
            found.append(
                errors.invalid_value(f"{where}.key", e.key, "not a valid field selector key")
            )
    return found


def _weight(weight: int, at: str) -> list[FieldError]:
    why = "must be in the range 1-100"
    return [] if 1 <= weight <= 100 else [errors.invalid_value(f"{at}.weight", weight, why)]


def _neighbour(term: v1.PodAffinityTerm, at: str) -> list[FieldError]:
    found = checks.given(term.topology_key, f"{at}.topologyKey", "can not be empty")
    found += checks.qualified_name(term.topology_key, f"{at}.topologyKey")
    for name in term.namespaces:
        found += checks.named(name, dns_label_errors, f"{at}.namespace")
    for key, selector in (
        ("labelSelector", term.label_selector),
        ("namespaceSelector", term.namespace_selector),
    ):
        if selector is not None:
            found += checks.label_selector(selector, f"{at}.{key}")
    return found


def _spread(
    constraints: list[v1.TopologySpreadConstraint], path: str, found: list[FieldError]
) -> None:
    pairs: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        if constraint.max_skew <= 0:
            found.append(
                errors.invalid_value(
                    f"{at}.maxSkew", constraint.max_skew, "must be greater than zero"
                )
            )
        found += checks.given(constraint.topology_key, f"{at}.topologyKey", "can not be empty")
        found += checks.qualified(constraint.topology_key, f"{at}.topologyKey")
        found += checks.label_selector(constraint.label_selector, f"{at}.labelSelector")
        allowed = ("DoNotSchedule", "ScheduleAnyway")
        if constraint.when_unsatisfiable not in allowed:
            found.append(
                errors.not_supported(
                    f"{at}.whenUnsatisfiable", constraint.when_unsatisfiable, allowed
                )
            )
        least, when = constraint.min_domains, constraint.when_unsatisfiable
        if least is not None and least <= 0:
            found.append(
                errors.invalid_value(f"{at}.minDomains", least, "must be greater than zero")
            )
        elif least is not None and when != "DoNotSchedule":
            why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
            found.append(errors.invalid_value(f"{at}.minDomains", least, why))
        for name, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            found += one_of(policy, ("Honor", "Ignore"), f"{at}.{name}")
        if (constraint.topology_key, when) in pairs:
            where = f"{at}.{{topologyKey, whenUnsatisfiable}}"
            found.append(errors.duplicate(where, f"{{{constraint.topology_key}, {when}}}"))
        pairs.add((constraint.topology_key, when))
