"""Writes down what a claim was given, as its status says it. Pure but for the random ids of
shares."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import format_quantity, parse_quantity
from tiphys.scheduler.devices.inventory import Offer
from tiphys.scheduler.devices.requests import RequestData
from tiphys.scheduler.devices.sharing import Amounts

_MOST_ALTERNATIVES = 8  # of one request, as validation allows


@dataclass
class Grant:
    """A device that a request was given. `consumed` is what a share takes of a device that several
    claims may have."""

    request: RequestData
    offer: Offer
    consumed: Amounts | None


def allocation_result(claim: v1.ResourceClaim, grants: Sequence[Grant]) -> v1.AllocationResult:
    allocation = v1.AllocationResult()
    allocation.devices.results = [_device_result(grant) for grant in grants]
    allocation.devices.config = list(_configuration(claim, grants))
    allocation.node_selector = _node_selector(grants)
    return allocation


def preference(claim: v1.ResourceClaim, granted: Iterable[str]) -> int:
    """The score of the alternatives among the names of requests that were granted: the first of a
    list counts most, as upstream."""
    names = set(granted)
    return sum(
        _MOST_ALTERNATIVES - index
        for request in claim.spec.devices.requests
        for index, alternative in enumerate(request.first_available)
        if f"{request.name}/{alternative.name}" in names
    )


def _device_result(grant: Grant) -> v1.DeviceRequestAllocationResult:
    device = grant.offer.device
    device_id = grant.offer.id
    result = v1.DeviceRequestAllocationResult(
        request=grant.request.name,
        driver=device_id.driver,
        pool=device_id.pool,
        device=device_id.device,
        admin_access=True if grant.request.admin_access else None,
        tolerations=list(grant.request.tolerations),
        binding_conditions=list(device.binding_conditions),
        binding_failure_conditions=list(device.binding_failure_conditions),
    )
    if grant.consumed is not None:
        result.share_id = str(uuid.uuid4())
        for name, amount in grant.consumed.items():
            # In the form (decimal or binary) of the device's own capacity.
            _, form = parse_quantity(device.capacity[name].value)
            result.consumed_capacity[name] = format_quantity(amount, form)
    return result


def _configuration(
    claim: v1.ResourceClaim, grants: Sequence[Grant]
) -> Iterator[v1.DeviceAllocationConfiguration]:
    """What drivers are given: first the classes' parameters, then the claim's; drivers let later
    ones win."""
    requests = list({grant.request.name: grant.request for grant in grants}.values())
    for request in requests:
        for from_class in request.device_class.spec.config:
            yield v1.DeviceAllocationConfiguration(
                source="FromClass", requests=[request.name], opaque=from_class.opaque
            )
    names = {request.name for request in requests} | {request.parent_name for request in requests}
    for from_claim in claim.spec.devices.config:
        if not from_claim.requests or names & set(from_claim.requests):
            yield v1.DeviceAllocationConfiguration(
                source="FromClaim", requests=list(from_claim.requests), opaque=from_claim.opaque
            )


def _node_selector(grants: Sequence[Grant]) -> core_v1.NodeSelector | None:
    """The nodes from which all of the devices can be used; None: all."""
    common = core_v1.NodeSelectorTerm()
    for grant in grants:
        scope = grant.offer.scope()
        if scope.node_name:
            return _only_node(scope.node_name)
        if scope.node_selector is not None:
            [term] = scope.node_selector.node_selector_terms  # validation allows one
            _add_missing(common.match_expressions, term.match_expressions)
            _add_missing(common.match_fields, term.match_fields)
    if not (common.match_expressions or common.match_fields):
        return None
    return core_v1.NodeSelector(node_selector_terms=[common])


def _only_node(name: str) -> core_v1.NodeSelector:
    by_name = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=[name])
    term = core_v1.NodeSelectorTerm(match_fields=[by_name])
    return core_v1.NodeSelector(node_selector_terms=[term])


def _add_missing(
    requirements: list[core_v1.NodeSelectorRequirement],
    more: Sequence[core_v1.NodeSelectorRequirement],
) -> None:
    requirements += [requirement for requirement in more if requirement not in requirements]
