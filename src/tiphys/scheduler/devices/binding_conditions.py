"""Conditions that devices have to meet before a pod that was given them is bound: a device that is
yet to be attached to the node, for example. Their driver says in the claim's status whether they
do. Pure; upstream's gate DRADeviceBindingConditions."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api import resource_v1 as v1
from tiphys.machinery import timestamps
from tiphys.machinery.conditions import find

TIMEOUT = 600.0  # seconds from the allocation on, as upstream's bindingTimeout


class BindingFailed(Exception):
    """A driver says that a device will not do, in upstream's words."""


def must_wait(claims: Iterable[v1.ResourceClaim]) -> bool:
    """Whether any device of the claims has such conditions."""
    return any(result.binding_conditions for claim in claims for result in _results(claim))


def is_ready(claim: v1.ResourceClaim) -> bool:
    """Whether all devices of the claim meet their conditions. Raises BindingFailed."""
    if claim.status.allocation is None:
        return False
    for result in _results(claim):
        if not result.binding_conditions:
            continue
        device = _status_of(claim, result)
        if device is None:
            return False
        for kind in result.binding_failure_conditions:
            failure = find(device.conditions, kind)
            if failure is not None and failure.status == "True":
                name = claim.metadata.name
                raise BindingFailed(
                    f"device binding failed: claim={name}, reason={failure.reason}, "
                    f'message="{failure.message}"'
                )
        for kind in result.binding_conditions:
            condition = find(device.conditions, kind)
            if condition is None or condition.status != "True":
                return False
    return True


def is_overdue(claim: v1.ResourceClaim, now: float) -> bool:
    """Whether its devices have not met their conditions in time. `now`: seconds since the epoch."""
    allocation = claim.status.allocation
    if allocation is None or not allocation.allocation_timestamp or not must_wait([claim]):
        return False
    return timestamps.parse(allocation.allocation_timestamp) + TIMEOUT < now


def is_lost(claim: v1.ResourceClaim, now: float) -> bool:
    """Whether the claim is allocated to devices that will not do: others have to be found."""
    if claim.status.allocation is None:
        return False
    try:
        return not is_ready(claim) and is_overdue(claim, now)
    except BindingFailed:
        return True


def _results(claim: v1.ResourceClaim) -> list[v1.DeviceRequestAllocationResult]:
    allocation = claim.status.allocation
    return allocation.devices.results if allocation is not None else []


def _status_of(
    claim: v1.ResourceClaim, result: v1.DeviceRequestAllocationResult
) -> v1.AllocatedDeviceStatus | None:
    place = (result.driver, result.pool, result.device)
    for device in claim.status.devices:
        if (device.driver, device.pool, device.device) == place:
            return device
    return None
