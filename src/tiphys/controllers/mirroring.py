"""Endpoint slices of Endpoints that users keep by hand, for services that select no pods."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import decode, encode
from tiphys.api.discovery_v1 import EndpointSlice as Slice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.endpoints import MANAGED, SERVICE
from tiphys.controllers.pods import owner_reference
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError

BY_US, SKIP = "endpointslicemirroring-controller.k8s.io", "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = frozenset(
    (
        "endpoints.kubernetes.io/last-change-trigger-time",
        "kubectl.kubernetes.io/last-applied-configuration",
    )
)
_MOST = 1000  # addresses of a subset that are mirrored

Wanted = tuple[str, list[discovery_v1.EndpointPort], list[discovery_v1.Endpoint]]


def mirrored(endpoints: core_v1.Endpoints) -> list[Wanted]:
    """(address type, ports, endpoints) of each slice that says what the Endpoints say."""
    return [
        (
            kind,
            [
                discovery_v1.EndpointPort(
                    name=p.name, port=p.port, protocol=p.protocol, app_protocol=p.app_protocol
                )
                for p in subset.ports
            ],
            found,
        )
        for subset in endpoints.subsets
        for kind in ("IPv4", "IPv6")
        if (
            found := [
                _endpoint(a, ready) for a, ready in _addresses(subset) if _kind(a.ip) == kind
            ][:_MOST]
        )
    ]


def _addresses(subset: core_v1.EndpointSubset) -> Iterator[tuple[core_v1.EndpointAddress, bool]]:
    yield from ((address, True) for address in subset.addresses)
    yield from ((address, False) for address in subset.not_ready_addresses)


def _kind(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _endpoint(address: core_v1.EndpointAddress, ready: bool) -> discovery_v1.Endpoint:
    return discovery_v1.Endpoint(
        addresses=[address.ip],
        conditions=discovery_v1.EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


class EndpointSliceMirroringController(Controller):
    name = "endpointslicemirroring"
    event_source = "endpoint-slice-mirroring-controller"
    workers = 2

    def watch(self) -> None:
        self._endpoints, self._services = (
            self.informer(core_v1.Endpoints),
            self.informer(core_v1.Service),
        )
        self._slices = self.informer(Slice)
        self._slices.index(
            "service", lambda s: [f"{s.metadata.namespace}/{s.metadata.labels.get(SERVICE, '')}"]
        )
        self._endpoints.on_change(self.enqueue)
        self._services.on_change(self.enqueue)
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        if meta.labels.get(MANAGED) == BY_US and (old is not None or new is None):
            self.queue.add(f"{meta.namespace}/{meta.labels.get(SERVICE, '')}")

    async def reconcile(self, key: str) -> float | None:
        endpoints, service = self._endpoints.get(key), self._services.get(key)
        mine = [
            s for s in self._slices.by("service", key) if s.metadata.labels.get(MANAGED) == BY_US
        ]
        wanted: list[Wanted] = []
        if endpoints is not None and service is not None and not service.spec.selector:
            meta = endpoints.metadata
            if meta.labels.get(SKIP) != "true" and _LEADER not in meta.annotations:
                wanted = mirrored(endpoints)
        mine.sort(key=lambda s: (s.metadata.creation_timestamp or "", s.metadata.name))
        for kind, ports, found in wanted:
            standing = next((s for s in mine if s.address_type == kind), None)
            if standing is not None:
                mine.remove(standing)
            assert endpoints is not None
            await self._write(endpoints, standing, kind, ports, found)
        for gone in mine:
            await self._delete(gone)
        return None

    async def _write(
        self,
        endpoints: core_v1.Endpoints,
        standing: Slice | None,
        kind: str,
        ports: list[Any],
        found: list[Any],
    ) -> None:
        meta = endpoints.metadata
        labels = {**meta.labels, SERVICE: meta.name, MANAGED: BY_US}
        notes = {k: v for k, v in meta.annotations.items() if k not in _NOT_COPIED}
        if standing is None:
            made = Slice(address_type=kind, ports=ports, endpoints=found)
            made.metadata = ObjectMeta(
                generate_name=meta.name + "-",
                namespace=meta.namespace,
                labels=labels,
                annotations=notes,
                owner_references=[owner_reference(endpoints)],
            )
            self._slices.note_written(
                await self.client.create(made)
            )  # our own write need not come back before the next look
        elif (
            standing.ports,
            standing.endpoints,
            standing.metadata.labels,
            standing.metadata.annotations,
        ) != (ports, found, labels, notes):
            changed = decode(encode(standing), Slice)
            changed.ports, changed.endpoints = ports, found
            changed.metadata.labels, changed.metadata.annotations = labels, notes
            await self.client.update(changed)

    async def _delete(self, gone: Slice) -> None:
        try:
            await self.client.delete(
                Slice, gone.metadata.name, gone.metadata.namespace, uid=gone.metadata.uid
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise
