"""On which machines a model is served: an ordered list of instance types as node affinity.

All of them are required as a set, so that nothing else is taken; the order is in preferred weights,
the first 100 and the rest spread evenly below it, so that other scores of the scheduler do not turn
the order round.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from tiphys.addons.inference.types.v1 import InferenceEndpointConfigSpec
from tiphys.api import core_v1

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_HEAVIEST = 100  # what upstream allows a preferred term to weigh


def weights(count: int) -> list[int]:
    """Falling from 100; above 100 terms the last ones weigh 1 each, which is the least."""
    return [max(1, round(_HEAVIEST * (count - place) / count)) for place in range(count)]


def affinity_of(spec: InferenceEndpointConfigSpec) -> core_v1.NodeAffinity | None:
    """The user's own as it is, or that of the instance types."""
    if spec.node_affinity is not None:
        return copy.deepcopy(spec.node_affinity)
    listed = list(dict.fromkeys(spec.instance_types)) or [spec.instance_type or ""]
    return of_types(listed) if listed[0] else None


def of_types(listed: Sequence[str]) -> core_v1.NodeAffinity:
    """Of instance types in the order in which they are liked."""
    affinity = core_v1.NodeAffinity(
        required_during_scheduling_ignored_during_execution=core_v1.NodeSelector(
            node_selector_terms=[_one_of(listed)]
        )
    )
    if len(listed) > 1:
        affinity.preferred_during_scheduling_ignored_during_execution = [
            core_v1.PreferredSchedulingTerm(weight=weight, preference=_one_of([name]))
            for name, weight in zip(listed, weights(len(listed)), strict=True)
        ]
    return affinity


def _one_of(values: Sequence[str]) -> core_v1.NodeSelectorTerm:
    requirement = core_v1.NodeSelectorRequirement(
        key=INSTANCE_TYPE, operator="In", values=list(values)
    )
    return core_v1.NodeSelectorTerm(match_expressions=[requirement])
