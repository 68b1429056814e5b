"""Prefill and decode on pods of their own: an endpoint with `pdSpec` is two, of which clients reach
the one that answers (pure).

A pod of that one has a long prompt read by the other one's servers, which report where the cache
is that they made (`prefilling`). How servers hand caches on is theirs: users write it into `args`.
"""

from __future__ import annotations

import copy
import dataclasses

from tiphys.addons.inference.endpoint import Endpoint, Unsupported, prefill_name
from tiphys.addons.inference.types import v1
from tiphys.addons.inference.types.scaling import AutoScalingV1

_ZONE = "topology.kubernetes.io/zone"


def answering(endpoint: Endpoint) -> Endpoint:
    """The half that clients reach; an endpoint without halves as it is. Raises Unsupported."""
    halves = endpoint.spec.pd_spec
    if halves is None:
        return endpoint
    if endpoint.spec.auto_scaling_spec is not None:
        raise Unsupported("with pdSpec, autoScalingSpec stands there for each half")
    scaling = halves.auto_scaling_spec.decoding_auto_scaling if halves.auto_scaling_spec else None
    return _half(endpoint, halves, halves.decoding_spec, scaling)


def prefilling(endpoint: Endpoint) -> Endpoint | None:
    """The half that reads prompts. Nothing stands before its servers."""
    halves = endpoint.spec.pd_spec
    if halves is None:
        return None
    scaling = halves.auto_scaling_spec.prefill_auto_scaling if halves.auto_scaling_spec else None
    prefill = _half(endpoint, halves, halves.prefill_spec, scaling)
    prefill.spec.pd_spec = None
    prefill.spec.data_capture = None
    prefill.spec.worker.request_limits = None
    return dataclasses.replace(prefill, name=prefill_name(endpoint.name))


def _half(
    endpoint: Endpoint, halves: v1.Disaggregation, role: v1.Role, scaling: AutoScalingV1 | None
) -> Endpoint:
    """The role's settings override those for both."""
    spec = copy.deepcopy(endpoint.spec)
    spec.worker.args = [*spec.worker.args, *role.args]
    spec.worker.resources = copy.deepcopy(role.resources) or spec.worker.resources
    spec.replicas = role.replicas
    spec.auto_scaling_spec = copy.deepcopy(scaling)
    topology = halves.topology_spec
    selector = dict(role.node_selector)
    if topology is not None and topology.availability_zone:
        selector[_ZONE] = topology.availability_zone
    return dataclasses.replace(
        endpoint,
        spec=spec,
        family=endpoint.name,
        node_selector=selector,
        is_together=topology is not None and topology.same_az,
        is_scaled=scaling is not None,
    )
