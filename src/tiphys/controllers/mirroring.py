"""Endpoint slices of Endpoints that users keep by hand, for services that select no pods."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import decode, encode
from tiphys.api.discovery_v1 import EndpointSlice as Slice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.pods import owner_reference
from tiphys.controllers.slices import MANAGED, SERVICE, SliceController

SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = frozenset(
    (
        "endpoints.kubernetes.io/last-change-trigger-time",
        "kubectl.kubernetes.io/last-applied-configuration",
    )
)
_MOST = 1000  # addresses of a subset that are mirrored, as upstream's maxEndpointsPerSubset


class Wanted(NamedTuple):
    """What a slice should say."""

    address_type: str
    ports: list[discovery_v1.EndpointPort]
    endpoints: list[discovery_v1.Endpoint]


def mirrored(endpoints: core_v1.Endpoints) -> list[Wanted]:
    """The slices that say what the Endpoints say: one for each subset and family of addresses."""
    wanted = []
    for subset in endpoints.subsets:
        ports = [
            discovery_v1.EndpointPort(
                name=port.name,
                port=port.port,
                protocol=port.protocol,
                app_protocol=port.app_protocol,
            )
            for port in subset.ports
        ]
        addresses = [(address, True) for address in subset.addresses]
        addresses += [(address, False) for address in subset.not_ready_addresses]
        for family in ("IPv4", "IPv6"):
            chosen = [_endpoint(*pair) for pair in addresses if _family(pair[0].ip) == family]
            if chosen:
                wanted.append(Wanted(family, ports, chosen[:_MOST]))
    return wanted


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _endpoint(address: core_v1.EndpointAddress, ready: bool) -> discovery_v1.Endpoint:
    return discovery_v1.Endpoint(
        addresses=[address.ip],
        conditions=discovery_v1.EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def is_mirrored(endpoints: core_v1.Endpoints) -> bool:
    """Whether the Endpoints want to be mirrored: not if they say no, or are a leader's lock."""
    meta = endpoints.metadata
    return meta.labels.get(SKIP) != "true" and _LEADER not in meta.annotations


class EndpointSliceMirroringController(SliceController):
    name = "endpointslicemirroring"
    event_source = "endpoint-slice-mirroring-controller"
    manager = "endpointslicemirroring-controller.k8s.io"
    workers = 2

    def watch(self) -> None:
        self._endpoints = self.informer(core_v1.Endpoints)
        self._services = self.informer(core_v1.Service)
        self._endpoints.on_change(self.enqueue)
        self._services.on_change(self.enqueue)
        self.watch_slices()

    async def reconcile(self, key: str) -> float | None:
        standing = self.slices_of(key)
        endpoints = self._endpoints.get(key)
        service = self._services.get(key)
        by_hand = service is not None and not service.spec.selector
        if endpoints is not None and by_hand and is_mirrored(endpoints):
            for wanted in mirrored(endpoints):
                same_type = [
                    candidate
                    for candidate in standing
                    if candidate.address_type == wanted.address_type
                ]
                if same_type:
                    standing.remove(same_type[0])
                    await self._update(endpoints, same_type[0], wanted)
                else:
                    await self._create(endpoints, wanted)
        for superfluous in standing:
            await self.delete(superfluous)
        return None

    def _meta(self, endpoints: core_v1.Endpoints) -> ObjectMeta:
        meta = endpoints.metadata
        annotations = {k: v for k, v in meta.annotations.items() if k not in _NOT_COPIED}
        return ObjectMeta(
            generate_name=f"{meta.name}-",
            namespace=meta.namespace,
            labels={**meta.labels, SERVICE: meta.name, MANAGED: self.manager},
            annotations=annotations,
            owner_references=[owner_reference(endpoints)],
        )

    async def _create(self, endpoints: core_v1.Endpoints, wanted: Wanted) -> None:
        address_type, ports, members = wanted
        mirrored_slice = Slice(address_type=address_type, ports=ports, endpoints=members)
        mirrored_slice.metadata = self._meta(endpoints)
        await self.create_slice(mirrored_slice)

    async def _update(self, endpoints: core_v1.Endpoints, standing: Slice, wanted: Wanted) -> None:
        meta = self._meta(endpoints)
        is_same = (
            standing.ports == wanted.ports
            and standing.endpoints == wanted.endpoints
            and standing.metadata.labels == meta.labels
            and standing.metadata.annotations == meta.annotations
        )
        if is_same:
            return
        changed = decode(encode(standing), Slice)
        changed.ports = wanted.ports
        changed.endpoints = wanted.endpoints
        changed.metadata.labels = meta.labels
        changed.metadata.annotations = meta.annotations
        await self.client.update(changed)
