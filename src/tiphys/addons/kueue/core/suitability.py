"""Whether pods may be on a flavor's nodes. Pure."""

from __future__ import annotations

from tiphys.addons.kueue.core.state import (
    Flavor,
)
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.nodes import matches_node, tolerated


def obstacle_to(name: str, flavor: Flavor | None, spec: core_v1.PodSpec) -> str:
    if flavor is None:
        return f"flavor {name} not found"
    tolerations = [*spec.tolerations, *flavor.tolerations]
    for taint in flavor.taints:
        if taint.effect != "PreferNoSchedule" and not tolerated(taint, tolerations):
            written = f"{taint.key}={taint.value}" if taint.value else taint.key
            return f"untolerated taint {{{written}:{taint.effect}}} in flavor {name}"
    try:
        is_selected = _is_selected(flavor, spec)
    except (KeyError, ValueError):  # templates within custom resources are not validated
        is_selected = False
    return "" if is_selected else f"flavor {name} doesn't match node affinity"


def _is_selected(flavor: Flavor, spec: core_v1.PodSpec) -> bool:
    """By the pod's terms on labels that the flavor has; terms on others are ignored here."""
    relevant = core_v1.PodSpec(
        node_selector={k: v for k, v in spec.node_selector.items() if k in flavor.labels}
    )
    terms = _relevant_terms(flavor, spec)
    if terms:
        required = core_v1.NodeSelector(node_selector_terms=terms)
        relevant.affinity = core_v1.Affinity(
            node_affinity=core_v1.NodeAffinity(
                required_during_scheduling_ignored_during_execution=required
            )
        )
    node = core_v1.Node(metadata=ObjectMeta(labels=dict(flavor.labels)))
    return matches_node(relevant, node)


def _relevant_terms(flavor: Flavor, spec: core_v1.PodSpec) -> list[core_v1.NodeSelectorTerm]:
    """None, too, where one of several terms does not concern the flavor: that one holds."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    terms = []
    for term in required.node_selector_terms if required is not None else ():
        kept = [one for one in term.match_expressions if one.key in flavor.labels]
        if not kept:
            return []
        terms.append(core_v1.NodeSelectorTerm(match_expressions=kept))
    return terms
