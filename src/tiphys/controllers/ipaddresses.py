"""Repairs what IPAddress objects say of services: one for each address that a service has, and none
that no service has. The API server writes them with each service, and may end between the two.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.core_v1 import Service
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.networking_v1 import IPAddress, ParentReference
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError, is_not_found

_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_FAMILY = "ipaddress.kubernetes.io/ip-family"
_ALLOCATOR = "ipallocator.k8s.io"
# Seconds in which a service may still come whose address is there: as long as a request lasts.
_GRACE = 60.0
_ADDRESS = "address/"  # prefix of the keys of addresses; those of services start with a namespace


# --- the core: pure ---


def addresses_of(service: Service) -> list[str]:
    return [address for address in service.spec.cluster_ips if address not in ("", "None")]


def parent_of(service: Service) -> ParentReference:
    meta = service.metadata
    return ParentReference(resource="services", namespace=meta.namespace, name=meta.name)


def record_of(service: Service, address: str) -> IPAddress:
    """The object that an address of a service should have."""
    labels = {_MANAGED_BY: _ALLOCATOR, _FAMILY: "IPv6" if ":" in address else "IPv4"}
    record = IPAddress(metadata=ObjectMeta(name=address, labels=labels))
    record.spec.parent_ref = parent_of(service)
    return record


def is_ours(address: IPAddress) -> bool:
    return address.metadata.labels.get(_MANAGED_BY) == _ALLOCATOR


# --- the shell ---


class IPAddressController(Controller):
    name = "ip-address-repair"
    event_source = "ipallocator-repair-controller"
    workers = 1

    def watch(self) -> None:
        self._services = self.informer(Service)
        self._addresses = self.informer(IPAddress)
        self._services.on_change(self._service_changed)
        self._addresses.on_change(self._address_changed)

    def _service_changed(self, old: Any, new: Any) -> None:
        self.enqueue(old, new)
        for address in set(addresses_of(old) if old else ()) - set(
            addresses_of(new) if new else ()
        ):
            self.queue.add(_ADDRESS + address)

    def _address_changed(self, old: Any, new: Any) -> None:
        """Enqueues the service as well: one whose address was deleted gets it back."""
        changed = new or old
        self.queue.add(_ADDRESS + changed.metadata.name)
        parent = changed.spec.parent_ref
        if new is None and parent is not None and parent.resource == "services":
            self.queue.add(f"{parent.namespace}/{parent.name}")

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_ADDRESS):
            return await self._clean(key.removeprefix(_ADDRESS))
        service = self._services.get(key)
        if service is not None:
            for address in addresses_of(service):
                await self._ensure(service, address)
        return None

    async def _ensure(self, service: Service, address: str) -> None:
        family = "IPv6" if ":" in address else "IPv4"
        record = self._addresses.get(address)
        if record is None:
            record = await self._live(address)  # a late informer is no leak
        if record is None:
            # One that is being deleted gives its addresses back.
            if service.metadata.deletion_timestamp or not await self._has(service, address):
                return
            text = f"Cluster IP [{family}]: {address} is not allocated; repairing"
            self.event(service, "Warning", "ClusterIPNotAllocated", text)
            await self.client.create(record_of(service, address))
            return
        parent = record.spec.parent_ref
        if parent == parent_of(service):
            return
        owner = self._services.get(f"{parent.namespace}/{parent.name}") if parent else None
        if owner is not None and address in addresses_of(owner):
            text = (
                f"Cluster IP [{family}]:{address} was assigned to multiple services; "
                "please recreate service"
            )
            self.event(service, "Warning", "ClusterIPAlreadyAllocated", text)
            return
        meta = service.metadata
        text = (
            f"the ClusterIP [{family}]: {address} for Service {meta.namespace}/{meta.name} "
            "has a wrong reference; repairing"
        )
        self.event(service, "Warning", "ClusterIPNotAllocated", text)
        await self.delete(record)
        await self.client.create(record_of(service, address))

    async def _live(self, address: str) -> IPAddress | None:
        try:
            return await self.client.get(IPAddress, address)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise

    async def _has(self, service: Service, address: str) -> bool:
        """Whether the service as it is now has the address."""
        meta = service.metadata
        try:
            live = await self.client.get(Service, meta.name, meta.namespace)
        except StatusError as error:
            if is_not_found(error):
                return False
            raise
        return live.metadata.uid == meta.uid and address in addresses_of(live)

    async def _clean(self, name: str) -> float | None:
        """Removes an address that no service has. Returns the seconds until it is old enough."""
        address = self._addresses.get(name)
        if address is None or not is_ours(address):
            return None
        parent = address.spec.parent_ref
        if parent is None or parent.resource != "services" or parent.group:
            text = (
                f"IPAddress {name} appears to have been modified, not referencing a Service: "
                "cleaning up"
            )
            self.event(address, "Warning", "IPAddressNotAllocated", text)
            await self.delete(address)
            return None
        service = self._services.get(f"{parent.namespace}/{parent.name}")
        if service is not None and name in addresses_of(service):
            return None
        age = self.context.now() - timestamps.parse(address.metadata.creation_timestamp or "")
        if age < _GRACE:
            return _GRACE - age
        reason = "IPAddressNotAllocated"
        problem = "appears to have leaked: cleaning up"
        if service is not None:
            reason = "IPAddressWrongReference"
            problem = "has a wrong reference; cleaning up"
        text = f"IPAddress: {name} for Service {parent.namespace}/{parent.name} {problem}"
        self.event(address, "Warning", reason, text)
        await self.delete(address)
        return None
