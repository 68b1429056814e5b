"""Ranges of service addresses: Ready once they are there, and kept from going while a service has
an address of theirs that no other range holds."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable
from typing import Any

from tiphys.api.meta_v1 import Condition
from tiphys.api.networking_v1 import IPAddress, ServiceCIDR
from tiphys.client.client import MERGE
from tiphys.controllers.shell import Controller
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_conflict

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_GRACE = (
    10.0  # seconds until every API server knows that a range gives no more addresses (upstream)
)
_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_ALLOCATOR = "ipallocator.k8s.io"
_READY = Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
_BLOCKED = Condition(
    type="Ready",
    status="False",
    reason="Terminating",
    message=(
        "There are still IPAddresses referencing the ServiceCIDR, "
        "please remove them or create a new ServiceCIDR"
    ),
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


# --- the core: pure ---


def networks(cidr: ServiceCIDR) -> list[Network]:
    return [ipaddress.ip_network(text) for text in cidr.spec.cidrs]


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def is_free(cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[str]) -> bool:
    """Whether a range may go: others hold it as a whole, or every address in it that is taken."""
    own = networks(cidr)
    held = [network for other in others for network in networks(other)]
    if all(any(_holds(outer, network) for outer in held) for network in own):
        return True
    for text in addresses:
        address = ipaddress.ip_address(text)
        is_in_it = any(address in network for network in own)
        if is_in_it and not any(address in network for network in held):
            return False
    return True


# --- the shell ---


class ServiceCIDRController(Controller):
    name = "service-cidr"
    event_source = "service-cidrs-controller"
    workers = 1

    def watch(self) -> None:
        self._ranges = self.informer(ServiceCIDR)
        self._addresses = self.informer(IPAddress)
        self._ranges.on_change(self._range_changed)
        self._addresses.on_change(self._address_changed)

    def _range_changed(self, old: Any, new: Any) -> None:
        """A range that comes or goes may free another one."""
        self.enqueue(old, new)
        self._enqueue_terminating()

    def _address_changed(self, old: Any, new: Any) -> None:
        if new is None:
            self._enqueue_terminating()

    def _enqueue_terminating(self) -> None:
        for cidr in self._ranges:
            if cidr.metadata.deletion_timestamp:
                self.enqueue(None, cidr)

    async def reconcile(self, key: str) -> float | None:
        cidr = self._ranges.get(key)
        if cidr is None:
            return None
        if cidr.metadata.deletion_timestamp:
            return await self._terminate(cidr)
        if FINALIZER not in cidr.metadata.finalizers:
            cidr = await self._set_finalizers(cidr, [*cidr.metadata.finalizers, FINALIZER])
        await self._set_condition(cidr, _READY)
        return None

    async def _terminate(self, cidr: ServiceCIDR) -> float | None:
        """Lets a range go once it is free. Returns the seconds until it may."""
        if FINALIZER not in cidr.metadata.finalizers:
            return None
        others = [other for other in self._ranges if other.metadata.uid != cidr.metadata.uid]
        taken = [
            address.metadata.name
            for address in self._addresses
            if address.metadata.labels.get(_MANAGED_BY) == _ALLOCATOR
        ]
        if not is_free(cidr, others, taken):
            await self._set_condition(cidr, _BLOCKED)
            return None
        wait = timestamps.parse(cidr.metadata.deletion_timestamp) + _GRACE - self.context.now()
        if wait > 0:
            return wait
        kept = [name for name in cidr.metadata.finalizers if name != FINALIZER]
        await self._set_finalizers(cidr, kept)
        return None

    async def _set_finalizers(self, cidr: ServiceCIDR, finalizers: list[str]) -> ServiceCIDR:
        meta = cidr.metadata
        change = {"finalizers": finalizers or None, "resourceVersion": meta.resource_version}
        return await self.client.patch(ServiceCIDR, meta.name, {"metadata": change}, media=MERGE)

    async def _set_condition(self, cidr: ServiceCIDR, condition: Condition) -> None:
        status = copy.copy(cidr.status)
        wanted = copy.copy(condition)
        status.conditions = conditions.updated(status.conditions, wanted, self.context.now())
        try:
            await self.write_status(cidr, status)
        except StatusError as error:
            if not is_conflict(error):
                message = "The ServiceCIDR Status can not be set to Ready=True"
                self.event(cidr, "Warning", "KubernetesServiceCIDRError", message)
            raise
