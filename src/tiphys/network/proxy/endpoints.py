"""Where a service port leads, as one node sees it. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1

SERVICE_NAME = "kubernetes.io/service-name"


class ServiceKey(NamedTuple):
    namespace: str
    name: str


def service_key(endpoint_slice: discovery_v1.EndpointSlice) -> ServiceKey:
    """The service that a slice is of; one without the label is of a service without a name."""
    meta = endpoint_slice.metadata
    return ServiceKey(meta.namespace, meta.labels.get(SERVICE_NAME, ""))


class Place(NamedTuple):
    """A node, and where it stands."""

    node: str
    zone: str = ""


class Endpoint(NamedTuple):
    """Where packets go to."""

    address: str
    port: int


@dataclass(frozen=True)
class Reachable:
    """The endpoints of a service port. Where none is ready, those that are terminating and still
    serve are used, for all nodes and for this one apart (upstream since 1.28, KEP-1669).

    everywhere: for traffic to the whole cluster; the near ones where the service prefers them
    local:      those of this node
    serving:    all that serve, ready or not, near or far
    """

    everywhere: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    serving: frozenset[Endpoint] = frozenset()


@dataclass(frozen=True)
class _Row:
    """An endpoint with its conditions and hints."""

    endpoint: Endpoint
    ready: bool
    is_local: bool
    zones: tuple[str, ...]  # that are hinted to use it
    nodes: tuple[str, ...]


def endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], port: core_v1.ServicePort, place: Place
) -> Reachable:
    """The endpoints of one port of a service, whose slices these are."""
    rows = [row for endpoint_slice in slices for row in _rows(endpoint_slice, port, place.node)]
    ready = [row for row in rows if row.ready]
    near = _near(ready, place)
    local = [row for row in ready if row.is_local] or [row for row in rows if row.is_local]
    serving = frozenset(row.endpoint for row in rows)
    return Reachable(_sorted(near or rows), _sorted(local), serving)


def is_address(text: str, version: int) -> bool:
    """Whether the kernel accepts it. The API server has validated what is written now, not
    at what an older release has left."""
    try:
        socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _rows(
    endpoint_slice: discovery_v1.EndpointSlice, port: core_v1.ServicePort, node: str
) -> Iterator[_Row]:
    """Those that may be used at all: ready ones, and those that serve while they terminate."""
    version = 6 if endpoint_slice.address_type == "IPv6" else 4
    numbers = list(_numbers(endpoint_slice, port))
    if not numbers:
        return
    for endpoint in endpoint_slice.endpoints:
        conditions = endpoint.conditions
        ready = conditions.ready is not False  # unset counts as ready
        if not ready and not (conditions.serving and conditions.terminating):
            continue
        hints = endpoint.hints
        zones = tuple(zone.name for zone in hints.for_zones) if hints else ()
        nodes = tuple(hint.name for hint in hints.for_nodes) if hints else ()
        # Only the first address is an endpoint: they are fungible, and upstream has it so.
        for address in endpoint.addresses[:1]:
            if not is_address(address, version):
                continue
            for number in numbers:
                target = Endpoint(address, number)
                yield _Row(target, ready, endpoint.node_name == node, zones, nodes)


def _numbers(
    endpoint_slice: discovery_v1.EndpointSlice, port: core_v1.ServicePort
) -> Iterator[int]:
    """The numbers that a slice has for a service port: ports are the same by name and protocol."""
    wanted = (port.name or "", port.protocol or "TCP")
    for slice_port in endpoint_slice.ports:
        if (slice_port.name or "", slice_port.protocol or "TCP") == wanted and 0 < (
            slice_port.port or 0
        ) < 65536:
            yield slice_port.port or 0


def _near(ready: list[_Row], place: Place) -> list[_Row]:
    """The endpoints that hints keep for this node, or else for its zone. Hints count only where
    every ready endpoint has some, and one is for this node or zone (upstream's
    `topologyModeFromHints`)."""
    if all(row.nodes for row in ready):
        for_node = [row for row in ready if place.node in row.nodes]
        if for_node:
            return for_node
    if all(row.zones for row in ready):
        for_zone = [row for row in ready if place.zone in row.zones]
        if for_zone:
            return for_zone
    return ready


def _sorted(rows: Iterable[_Row]) -> tuple[Endpoint, ...]:
    return tuple(sorted({row.endpoint for row in rows}))
