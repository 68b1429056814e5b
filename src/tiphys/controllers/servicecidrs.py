"""Ranges of service addresses: Ready once they are there, and kept from going while a service has an address of theirs
that no other range holds."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable
from typing import Any

from tiphys.api.meta_v1 import Condition
from tiphys.api.networking_v1 import IPAddress, ServiceCIDR
from tiphys.client.client import MERGE
from tiphys.controllers.pods import condition
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_GRACE = 10.0  # seconds until every API server knows that a range gives no more addresses, as upstream waits
_MANAGED = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")
_READY = "Kubernetes Service CIDR is ready"
_BLOCKED = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(cidr: ServiceCIDR) -> list[Network]:
    return [ipaddress.ip_network(one) for one in cidr.spec.cidrs]


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def is_free(cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[str]) -> bool:
    """Whether a range may go: others hold it as a whole, or all addresses in it."""
    held = [network for other in others for network in networks(other)]
    own = networks(cidr)
    if all(any(_holds(outer, network) for outer in held) for network in own):
        return True
    found = map(ipaddress.ip_address, addresses)
    return not any(
        any(ip in mine for mine in own) and not any(ip in outer for outer in held) for ip in found
    )


class ServiceCIDRController(Controller):
    name = "service-cidr"
    event_source = "service-cidrs-controller"
    workers = 1

    def watch(self) -> None:
        self._ranges, self._addresses = self.informer(ServiceCIDR), self.informer(IPAddress)
        self._ranges.on_change(self._all)
        self._addresses.on_change(self._freed)

    def _all(self, old: Any, new: Any) -> None:
        """A range that comes or goes may free another one."""
        self.enqueue(old, new)
        for other in self._ranges:
            if other.metadata.deletion_timestamp:
                self.enqueue(None, other)

    def _freed(self, old: Any, new: Any) -> None:
        if new is None:
            self._all(None, next(iter(self._ranges))) if len(self._ranges) else None

    async def reconcile(self, key: str) -> float | None:
        cidr = self._ranges.get(key)
        if cidr is None:
            return None
        if cidr.metadata.deletion_timestamp:
            return await self._let_go(cidr)
        if FINALIZER not in cidr.metadata.finalizers:
            cidr = await self._finalize(cidr, [*cidr.metadata.finalizers, FINALIZER])
        await self._condition(cidr, "True", "", _READY)
        return None

    async def _let_go(self, cidr: ServiceCIDR) -> float | None:
        if FINALIZER not in cidr.metadata.finalizers:
            return None
        others = [other for other in self._ranges if other.metadata.uid != cidr.metadata.uid]
        label, manager = _MANAGED
        mine = [a.metadata.name for a in self._addresses if a.metadata.labels.get(label) == manager]
        if not is_free(cidr, others, mine):
            await self._condition(cidr, "False", "Terminating", _BLOCKED)
            return None
        wait = timestamps.parse(cidr.metadata.deletion_timestamp) + _GRACE - self.context.now()
        if wait > 0:
            return wait
        await self._finalize(cidr, [name for name in cidr.metadata.finalizers if name != FINALIZER])
        return None

    async def _finalize(self, cidr: ServiceCIDR, finalizers: list[str]) -> ServiceCIDR:
        meta = {"finalizers": finalizers or None, "resourceVersion": cidr.metadata.resource_version}
        return await self.client.patch(
            ServiceCIDR, cidr.metadata.name, {"metadata": meta}, media=MERGE
        )

    async def _condition(self, cidr: ServiceCIDR, state: str, reason: str, message: str) -> None:
        standing = condition(cidr, "Ready")
        if standing is not None and (standing.status, standing.reason, standing.message) == (
            state,
            reason,
            message,
        ):
            return
        since = timestamps.rfc3339(self.context.now())
        if standing is not None and standing.status == state:
            since = standing.last_transition_time
        made = Condition(
            type="Ready", status=state, reason=reason, message=message, last_transition_time=since
        )
        changed = copy.copy(cidr)
        changed.status = copy.deepcopy(cidr.status)
        changed.status.conditions = [c for c in cidr.status.conditions if c.type != "Ready"] + [
            made
        ]
        try:
            await self.client.update_status(changed)
        except StatusError as error:
            if error.reason != "Conflict":
                told = "The ServiceCIDR Status can not be set to Ready=True"
                self.context.recorder.record(cidr, "Warning", "KubernetesServiceCIDRError", told)
            raise
