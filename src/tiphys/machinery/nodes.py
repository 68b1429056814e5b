"""Which nodes a pod may be on: selectors, affinity, tolerations. Shared by the scheduler and the
controllers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tiphys.api import core_v1
from tiphys.machinery import conditions
from tiphys.machinery.selectors import node_requirement


def toleration_of(
    taint: core_v1.Taint, tolerations: Iterable[core_v1.Toleration]
) -> core_v1.Toleration | None:
    """The toleration that puts up with a taint, if any does."""
    for toleration in tolerations:
        if toleration.effect in ("", taint.effect) and toleration.key in ("", taint.key):
            if _tolerates_value(toleration, taint.value):
                return toleration
    return None


def _tolerates_value(toleration: core_v1.Toleration, value: str) -> bool:
    operator = toleration.operator
    if operator in ("", "Equal"):
        return bool(toleration.key) and toleration.value == value
    if operator in ("Gt", "Lt"):
        return _compares(value, operator, toleration.value)
    return operator == "Exists"


_WHOLE = re.compile(r"0|-?[1-9][0-9]*")


def whole_number(text: str) -> int | None:
    """An integer of 64 bits as it is written without ornament; None for anything else."""
    if len(text) > 20 or not _WHOLE.fullmatch(text):
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


def _compares(value: str, operator: str, bound: str) -> bool:
    number = whole_number(value)
    limit = whole_number(bound)
    if number is None or limit is None:
        return False
    return number > limit if operator == "Gt" else number < limit


def tolerated(taint: core_v1.Taint, tolerations: Iterable[core_v1.Toleration]) -> bool:
    return toleration_of(taint, tolerations) is not None


def matches_term(term: core_v1.NodeSelectorTerm, node: core_v1.Node) -> bool:
    """All requirements of a term hold; an empty term holds for nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    rows = [(e, node.metadata.labels) for e in term.match_expressions]
    rows += [(e, {"metadata.name": node.metadata.name}) for e in term.match_fields]
    return all(node_requirement(e.key, e.operator, e.values).matches(values) for e, values in rows)


def matches_node(spec: core_v1.PodSpec, node: core_v1.Node) -> bool:
    """The node selector and the required node affinity of a pod hold for a node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if required is None:
        return True
    return any(matches_term(term, node) for term in required.node_selector_terms)


OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def is_ready(node: core_v1.Node) -> bool:
    return conditions.is_true(node.status.conditions, "Ready")


def is_out_of_service(node: core_v1.Node) -> bool:
    """Whether a taint declares that an unreachable node will not come back: nothing on it
    need be waited for. The taint on a node that is ready means nothing."""
    return not is_ready(node) and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
