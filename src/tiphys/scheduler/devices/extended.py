"""The special claim of a pod that requests extended resources for which device classes stand: what
it asks for, and which are reserved or left over. Pure; upstream's gate DRAExtendedResource.

Resources that a node has itself, from a device plugin, are not asked for: each node may need
another claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery.extendedresources import (
    CLAIM_ANNOTATION,
    ExtendedResources,
    is_special,
    requested_by,
)
from tiphys.machinery.quantity import NANO, nano

_Mapping = core_v1.ContainerExtendedResourceRequest


class SpecialClaim(NamedTuple):
    """`mappings` say which requests are for which resources of which containers. The claim has a
    name once the API server has made it."""

    claim: v1.ResourceClaim
    mappings: list[_Mapping]


class ExtendedClaims:
    """Special claims by the uids of their pods: those that are reserved in this process, and those
    that stand on the API server."""

    def __init__(self) -> None:
        self.classes = ExtendedResources()
        self._reserved: dict[str, SpecialClaim] = {}
        self._standing: dict[str, v1.ResourceClaim] = {}

    def put(self, claim: v1.ResourceClaim) -> None:
        if is_special(claim) and (owner := _owner_uid(claim)):
            self._standing[owner] = claim

    def remove(self, claim: v1.ResourceClaim) -> None:
        standing = self._standing.get(_owner_uid(claim))
        if standing is not None and standing.metadata.uid == claim.metadata.uid:
            del self._standing[_owner_uid(claim)]

    def left_over(self, pod: core_v1.Pod) -> v1.ResourceClaim | None:
        """The claim that an attempt to bind the pod has left behind. It has to go first: its
        devices may not be right any more."""
        return self._standing.get(pod.metadata.uid)

    def reserve(self, pod: core_v1.Pod, special: SpecialClaim) -> None:
        self._reserved[pod.metadata.uid] = special

    def reserved(self, pod: core_v1.Pod) -> SpecialClaim | None:
        return self._reserved.get(pod.metadata.uid)

    def forget(self, pod: core_v1.Pod) -> None:
        self._reserved.pop(pod.metadata.uid, None)

    # --- what a pod needs ---

    def names(self, requested: Sequence[str]) -> tuple[str, ...]:
        """Those of the requested resources that classes stand for."""
        return tuple(name for name in requested if self.classes.class_of(name) is not None)

    def wanted(self, pod: core_v1.Pod, node: core_v1.Node) -> SpecialClaim | None:
        """The claim that a pod needs on a node; None: none."""
        allocatable = node.status.allocatable
        names = [
            name for name in self.names(requested_by(pod)) if not nano(allocatable.get(name, "0"))
        ]
        return self.claim_for(pod, names) if names else None

    def claim_for(self, pod: core_v1.Pod, names: Sequence[str]) -> SpecialClaim:
        """The claim for resources that a node has not itself."""
        claim = v1.ResourceClaim(metadata=_metadata(pod))
        mappings: list[_Mapping] = []
        for name in names:
            device_class = self.classes.class_of(name)
            if device_class is not None:
                part = _requests_for(pod.spec, name, device_class.metadata.name)
                claim.spec.devices.requests += part.requests
                mappings += part.mappings
        claim.spec.devices.requests.sort(key=lambda request: request.name)
        return SpecialClaim(claim, mappings)


def _metadata(pod: core_v1.Pod) -> ObjectMeta:
    meta = pod.metadata
    owner = OwnerReference(
        api_version="v1", kind="Pod", name=meta.name, uid=meta.uid, controller=True
    )
    return ObjectMeta(
        generate_name=f"{meta.name}-extended-resources-",
        namespace=meta.namespace,
        uid=f"extended-resources/{meta.uid}",  # until it has one of its own
        annotations={CLAIM_ANNOTATION: "true"},
        owner_references=[owner],
    )


def _owner_uid(claim: v1.ResourceClaim) -> str:
    for owner in claim.metadata.owner_references:
        if owner.controller:
            return owner.uid
    return ""


# --- requests and mappings ---


@dataclass
class _Part:
    """What a claim asks for because of one resource."""

    requests: list[v1.DeviceRequest] = field(default_factory=list)
    mappings: list[_Mapping] = field(default_factory=list)


class _Use(NamedTuple):
    """A container that requests a resource. `request` is the name of a request for it alone."""

    place: int  # among the init containers and the others behind them
    container: core_v1.Container
    devices: int
    request: str


def _requests_for(spec: core_v1.PodSpec, resource: str, class_name: str) -> _Part:
    """Containers that run at the same time have devices of their own. An init container that ends
    before others start may have theirs, and one request is enough for what all of these need
    beyond that."""
    lasting: list[_Use] = []
    passing: list[_Use] = []
    for place, container in enumerate([*spec.init_containers, *spec.containers]):
        use = _use_of(place, container, resource)
        if use is not None:
            is_init = place < len(spec.init_containers)
            ends = is_init and container.restart_policy != "Always"
            (passing if ends else lasting).append(use)

    part = _Part()
    for use in lasting:
        part.requests.append(_request(use.request, class_name, use.devices))
        part.mappings.append(_Mapping(use.container.name, resource, use.request))

    missing: dict[str, int] = {}  # by request: what is needed beyond the others' devices
    for use in passing:
        left = use.devices
        for other in lasting:
            if left > 0 and other.place > use.place:
                part.mappings.append(_Mapping(use.container.name, resource, other.request))
                left -= other.devices
        if left > 0:
            missing[use.request] = left
    if missing:
        largest = max(missing, key=lambda name: missing[name])  # the first of equals
        part.requests.append(_request(largest, class_name, missing[largest]))
        part.mappings += [
            _Mapping(use.container.name, resource, largest)
            for use in passing
            if use.request in missing
        ]
    return part


def _use_of(place: int, container: core_v1.Container, resource: str) -> _Use | None:
    requests = container.resources.requests
    count = nano(requests.get(resource, "0")) // NANO
    if not count:
        return None
    position = sorted(requests).index(resource)
    return _Use(place, container, count, f"container-{place}-request-{position}")


def _request(name: str, class_name: str, count: int) -> v1.DeviceRequest:
    exactly = v1.ExactDeviceRequest(
        device_class_name=class_name, allocation_mode="ExactCount", count=count
    )
    return v1.DeviceRequest(name=name, exactly=exactly)
