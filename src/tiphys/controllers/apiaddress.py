"""The address by which clients from outside find whichever API server is there.

kubectl knows one address. Where the control plane has several machines, a Service of its own leads
that address to all API servers, those of `default/kubernetes`; its traffic policy is Local, so that
only machines with an API server claim the address on their network. The one that does is followed
by another within seconds of its loss, as with every load balancer's address.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from tiphys.api.core_v1 import LoadBalancerIngress, Node, Service, ServicePort
from tiphys.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.shell import Controller
from tiphys.machinery.addresses import parsed

CLASS = "tiphys.io/api-address"  # the loadBalancerClass: no other controller gives it an address
NAMESPACE, NAME = "kube-system", "kubernetes-api"
_KEY = f"{NAMESPACE}/{NAME}"
_SERVERS = "default/kubernetes"
_MANAGER = "tiphys-api-address"


# --- the core: pure ---


def service_of(address: str, port: int) -> Service:
    service = Service(metadata=ObjectMeta(name=NAME, namespace=NAMESPACE))
    service.spec.type = "LoadBalancer"
    service.spec.load_balancer_class = CLASS
    service.spec.external_traffic_policy = "Local"
    service.spec.ip_families = [_family(address)]
    service.spec.ports = [ServicePort(name="https", port=port, protocol="TCP")]
    return service


def slice_of(servers: EndpointSlice, nodes: Iterable[Node]) -> EndpointSlice:
    """The API servers, each with the name of the node that is its machine."""
    names = {
        row.address: node.metadata.name
        for node in nodes
        for row in node.status.addresses
        if row.type == "InternalIP"
    }
    mirrored = EndpointSlice(metadata=ObjectMeta(name=NAME, namespace=NAMESPACE))
    mirrored.metadata.labels = {
        "kubernetes.io/service-name": NAME,
        "endpointslice.kubernetes.io/managed-by": _MANAGER,
    }
    mirrored.address_type = servers.address_type
    mirrored.ports = [
        EndpointPort(name="https", port=row.port, protocol="TCP") for row in servers.ports
    ]
    mirrored.endpoints = [
        Endpoint(
            addresses=[address],
            conditions=EndpointConditions(ready=True),
            node_name=names.get(address),
        )
        for address in sorted(row for endpoint in servers.endpoints for row in endpoint.addresses)
    ]
    return mirrored


def _family(address: str) -> str:
    known = parsed(address)
    return f"IPv{known.version}" if known is not None else "IPv4"


def _places(endpoint_slice: EndpointSlice) -> list[tuple[list[str], str | None]]:
    return [(endpoint.addresses, endpoint.node_name) for endpoint in endpoint_slice.endpoints]


# --- the shell ---


class APIAddressController(Controller):
    """`api_address` in the settings is the address, and `api_port` the port of the API servers;
    without them there is nothing to do."""

    name = "api-address"
    workers = 1

    def watch(self) -> None:
        settings = self.context.settings
        self._address: str = settings.get("api_address", "")
        self._port: int = settings.get("api_port", 0)
        if not self._address:
            return
        self._services = self.informer(Service)
        self._slices = self.informer(EndpointSlice)
        self._nodes = self.informer(Node)
        for informer in (self._services, self._slices):
            informer.on_change(self._changed)
        self._nodes.on_change(self._node_changed)

    def _changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        if f"{meta.namespace}/{meta.name}" in (_KEY, _SERVERS):
            self.queue.add(_KEY)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or old.status.addresses != new.status.addresses:
            self.queue.add(_KEY)

    async def reconcile(self, key: str) -> float | None:
        servers = self._slices.get(_SERVERS)
        if servers is None:
            return None
        service = self._services.get(_KEY)
        wanted = service_of(self._address, self._port)
        if service is None:
            service = await self.client.create(wanted)
        elif [row.port for row in service.spec.ports] != [self._port]:
            service = await self.client.apply(wanted, manager=_MANAGER, force=True)
        await self._write_slice(slice_of(servers, self._nodes))
        status = copy.copy(service.status)
        status.load_balancer = copy.copy(status.load_balancer)
        status.load_balancer.ingress = [LoadBalancerIngress(ip=self._address, ip_mode="VIP")]
        await self.write_status(service, status)
        return None

    async def _write_slice(self, wanted: EndpointSlice) -> None:
        standing = self._slices.get(_KEY)
        if standing is None:
            await self.client.create(wanted)
        elif _places(standing) != _places(wanted):
            changed = copy.copy(standing)
            changed.endpoints = wanted.endpoints
            changed.ports = wanted.ports
            await self.client.update(changed)
