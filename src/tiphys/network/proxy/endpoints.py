"""Where a service port leads. Pure."""

from __future__ import annotations

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


class Endpoint(NamedTuple):
    address: str
    port: int
    local: bool  # whether it is on this node


@dataclass(frozen=True)
class Reachable:
    """`ready` endpoints, and those that are `terminating` and still serve: they are used where none
    is ready, as upstream has it since 1.28 (KEP-1669)."""

    ready: list[Endpoint]
    terminating: list[Endpoint]

    @property
    def everywhere(self) -> list[Endpoint]:
        return self.ready or self.terminating

    @property
    def local(self) -> list[Endpoint]:
        """Those of this node. A terminating one here is better than a ready one elsewhere."""
        ready = [endpoint for endpoint in self.ready if endpoint.local]
        return ready or [endpoint for endpoint in self.terminating if endpoint.local]


def endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], port: core_v1.ServicePort, node: str
) -> Reachable:
    """The endpoints of one port of a service, whose slices these are, as `node` sees them."""
    ready: set[Endpoint] = set()
    terminating: set[Endpoint] = set()
    for endpoint_slice in slices:
        for number in _numbers(endpoint_slice, port):
            for endpoint in endpoint_slice.endpoints:
                local = endpoint.node_name == node
                backends = [Endpoint(address, number, local) for address in endpoint.addresses]
                conditions = endpoint.conditions
                if conditions.ready is not False:  # nothing said counts as ready
                    ready.update(backends)
                elif conditions.serving and conditions.terminating:
                    terminating.update(backends)
    return Reachable(sorted(ready), sorted(terminating))


def _numbers(
    endpoint_slice: discovery_v1.EndpointSlice, port: core_v1.ServicePort
) -> Iterator[int]:
    """The numbers that a slice has for a service port: ports are the same by name and protocol."""
    wanted = (port.name or "", port.protocol or "TCP")
    for slice_port in endpoint_slice.ports:
        if (slice_port.name or "", slice_port.protocol or "TCP") == wanted and slice_port.port:
            yield slice_port.port
