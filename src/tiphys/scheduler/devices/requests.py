"""What a claim asks for: its requests, with what their device classes add. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.api import resource_v1 as v1
from tiphys.api.base import Quantity
from tiphys.machinery.devices import tolerations_of
from tiphys.scheduler.devices.inventory import Offer, SelectorError

ClassLister = Callable[[str], v1.DeviceClass | None]


class Unallocatable(Exception):
    """Why no node, or this one, can give what a claim asks for. The text is for the user."""


class AllocationError(Exception):
    """Something is wrong with a claim, a class or a pool, so that it is not known what a node can
    give. Upstream gives up the scheduling cycle of the pod then, whatever other nodes have."""


class Selector(NamedTuple):
    source: str  # where it is written, as errors name it
    expression: str


@dataclass
class RequestData:
    """A request of a claim, or one of its alternatives (whose name is ``request/alternative``)."""

    name: str
    claim: str  # namespace/name
    device_class: v1.DeviceClass
    selectors: list[Selector]
    allocation_mode: str
    count: int
    admin_access: bool
    tolerations: list[v1.DeviceToleration]
    capacity: Mapping[str, Quantity]  # that a device must have, or of which a share is taken

    @property
    def parent_name(self) -> str:
        """The name of the request that this is an alternative of, or its own name."""
        return self.name.partition("/")[0]

    def selects(self, offer: Offer) -> bool:
        """Whether all selectors match. Raises AllocationError."""
        for selector in self.selectors:
            try:
                if not offer.is_selected_by(selector.expression):
                    return False
            except SelectorError as error:
                raise AllocationError(f"{selector.source}: CEL runtime error: {error}") from None
        return True

    def tolerates(self, taint: v1.DeviceTaint) -> bool:
        if taint.effect not in ("NoSchedule", "NoExecute"):
            return True
        return any(True for _ in tolerations_of(taint, self.tolerations))


class NamedClass(NamedTuple):
    request: str
    device_class: str


def classes_of(request: v1.DeviceRequest) -> list[NamedClass]:
    """The class of a request, or of each of its alternatives."""
    return [NamedClass(name, part.device_class_name) for name, part in _alternatives(request)]


def alternatives_of(
    claim: v1.ResourceClaim, request: v1.DeviceRequest, classes: ClassLister
) -> list[RequestData]:
    """The request itself, or its alternatives in the order of preference. Raises Unallocatable for
    a missing class."""
    claim_key = f"{claim.metadata.namespace}/{claim.metadata.name}"
    return [_request_data(claim_key, name, part, classes) for name, part in _alternatives(request)]


def _alternatives(
    request: v1.DeviceRequest,
) -> Iterator[tuple[str, v1.ExactDeviceRequest | v1.DeviceSubRequest]]:
    if request.exactly is not None:
        yield request.name, request.exactly
        return
    for alternative in request.first_available:
        yield f"{request.name}/{alternative.name}", alternative


def _request_data(
    claim_key: str,
    name: str,
    part: v1.ExactDeviceRequest | v1.DeviceSubRequest,
    classes: ClassLister,
) -> RequestData:
    device_class = classes(part.device_class_name)
    if device_class is None:
        raise Unallocatable(f"request {name}: device class {part.device_class_name} does not exist")
    selectors = [
        *_selectors(f"class {device_class.metadata.name}", device_class.spec.selectors),
        *_selectors(f"claim {claim_key}", part.selectors),
    ]
    # Alternatives have no admin access.
    admin_access = isinstance(part, v1.ExactDeviceRequest) and bool(part.admin_access)
    return RequestData(
        name=name,
        claim=claim_key,
        device_class=device_class,
        selectors=selectors,
        allocation_mode=part.allocation_mode or "ExactCount",
        count=part.count or 1,
        admin_access=admin_access,
        tolerations=part.tolerations,
        capacity=part.capacity.requests if part.capacity is not None else {},
    )


def _selectors(source: str, selectors: list[v1.DeviceSelector]) -> Iterator[Selector]:
    for number, selector in enumerate(selectors):
        if selector.cel is not None:
            yield Selector(f"{source}: selector #{number}", selector.cel.expression)
