"""How near each other the pods of a part of a job are to be, as their template requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import mapping
from tiphys.addons.kueue.rules.gowords import WordError, boolean, integer
from tiphys.addons.kueue.rules.topologies import layers_of
from tiphys.addons.kueue.types.workloads import PodSetTopologyRequest, SliceConstraint


def topology_request(
    template: Any, index_label: str = "", group_label: str = "", groups: int | None = None
) -> PodSetTopologyRequest | None:
    """Of a pod template as plain data. Its pods have their index in a label, and where the part is
    several jobs, that of the job in another one. None: none is requested. What the rules refuse is
    not read."""
    annotations = {
        name: text
        for name, text in mapping(template, "metadata", "annotations").items()
        if isinstance(text, str)
    }
    request = PodSetTopologyRequest()
    try:
        _read_mode(request, annotations)
        _read_groups(request, annotations)
    except (WordError, ValueError):
        return None
    request.pod_index_label = index_label or None
    request.sub_group_index_label = group_label or None
    request.sub_group_count = groups if group_label else None
    return request if request != PodSetTopologyRequest() else None


def _read_mode(request: PodSetTopologyRequest, annotations: Mapping[str, str]) -> None:
    if names.REQUIRED_TOPOLOGY in annotations:
        request.required = annotations[names.REQUIRED_TOPOLOGY]
    elif names.PREFERRED_TOPOLOGY in annotations:
        request.preferred = annotations[names.PREFERRED_TOPOLOGY]
    elif names.UNCONSTRAINED_TOPOLOGY in annotations:
        request.unconstrained = boolean(annotations[names.UNCONSTRAINED_TOPOLOGY])


def _read_groups(request: PodSetTopologyRequest, annotations: Mapping[str, str]) -> None:
    layers = annotations.get(names.SLICE_LAYERS)
    size = annotations.get(names.SLICE_SIZE)
    topology = annotations.get(names.SLICE_TOPOLOGY)
    if layers is not None:
        request.podset_slice_required_topology_constraints = [
            SliceConstraint(topology=one.topology, size=one.size) for one in layers_of(layers)
        ]
    elif topology is not None and size is not None:
        request.pod_set_slice_required_topology = topology
        request.pod_set_slice_size = integer(size, 32)
    if request.required or request.preferred:
        request.pod_set_group_name = annotations.get(names.POD_SET_GROUP)
