"""Shares of devices: the capacity that a device has, and what a claim takes of it. Pure. Amounts
are in nano-units."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.api import resource_v1 as v1
from tiphys.api.base import Quantity
from tiphys.machinery.devices import qualified
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.requests import RequestData

Amounts = dict[str, int]  # by the name of the capacity


@dataclass
class Used:
    """What is taken of a device: how many claims have all of it or a share, and how much the shares
    take."""

    exclusive: int = 0
    shares: int = 0
    amounts: Amounts = field(default_factory=dict)


def has_capacity(request: RequestData, device: v1.Device, driver: str) -> bool:
    """Whether the device, as a whole, has the capacity that is requested."""
    available = {
        qualified(name, driver): nano(capacity.value) for name, capacity in device.capacity.items()
    }
    return all(
        available.get(qualified(name, driver), -1) >= nano(amount)
        for name, amount in request.capacity.items()
    )


def consumption(request: RequestData, device: v1.Device, driver: str) -> Amounts | None:
    """What a share takes of each capacity of the device; None: the device's policies do not allow
    such a share."""
    amounts: Amounts = {}
    for name, capacity in device.capacity.items():
        requested = _requested(request, name, driver)
        policy = capacity.request_policy
        if policy is None:
            amounts[name] = nano(requested if requested is not None else capacity.value)
            continue
        wanted = requested if requested is not None else policy.default
        amount = _rounded_up(nano(wanted if wanted is not None else capacity.value), policy)
        if amount is None:
            return None
        amounts[name] = amount
    return amounts


def _requested(request: RequestData, name: str, driver: str) -> Quantity | None:
    for requested_name, amount in request.capacity.items():
        if qualified(requested_name, driver) == qualified(name, driver):
            return amount
    return None


def _rounded_up(amount: int, policy: v1.CapacityRequestPolicy) -> int | None:
    """The next amount that a policy allows; None: there is none."""
    if policy.valid_values:
        values = [nano(value) for value in policy.valid_values]
        return min((value for value in values if value >= amount), default=None)
    bounds = policy.valid_range
    if bounds is None or bounds.min is None:
        return amount
    minimum = nano(bounds.min)
    amount = max(amount, minimum)
    step = nano(bounds.step) if bounds.step is not None else 0
    if step:
        steps = -(-(amount - minimum) // step)
        amount = minimum + steps * step
    if bounds.max is not None and amount > nano(bounds.max):
        return None
    return amount
