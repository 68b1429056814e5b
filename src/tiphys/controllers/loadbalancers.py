"""Services of type LoadBalancer: each gets an address of a pool, of every family that it has.

Nothing stands before the nodes: the proxy of each of them leads the address to the service's
endpoints. So it answers wherever packets for it come to a node: on the cluster's machine, in pods,
and on machines with a route for the pool.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from tiphys.api.core_v1 import LoadBalancerIngress, Service
from tiphys.controllers.shell import Controller
from tiphys.machinery.addresses import parsed

CLASS = "tiphys.io/address-pool"  # the loadBalancerClass that is ours, beside none
_RETRY_SECONDS = 30.0  # for a service that got no address
_MOST = 1 << 16  # addresses of a pool that are given

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


# --- the core: pure ---


def is_ours(service: Service) -> bool:
    """Whether this controller balances a service. One with the class of another is left alone."""
    spec = service.spec
    return spec.type == "LoadBalancer" and spec.load_balancer_class in (None, CLASS)


def addresses_of(service: Service) -> list[str]:
    return [ingress.ip for ingress in service.status.load_balancer.ingress if ingress.ip]


def chosen(service: Service, pools: list[Network], taken: set[str]) -> tuple[list[str], list[str]]:
    """(the addresses that a service should have, what is wrong). It gets the one that it asks for
    (`loadBalancerIP`), else it keeps those that it has, or gets the first that is free. `taken` are
    those of other services."""
    addresses: list[str] = []
    problems: list[str] = []
    for family in service.spec.ip_families or ["IPv4"]:
        of_family = [pool for pool in pools if f"IPv{pool.version}" == family]
        candidates = _candidates(service, of_family)
        address = next((candidate for candidate in candidates if candidate not in taken), None)
        if address is not None:
            addresses.append(address)
        elif of_family:
            problems.append(f"no {family} address is free in {', '.join(map(str, of_family))}")
        else:
            problems.append(f"there is no pool of {family} addresses")
    return addresses, problems


def _candidates(service: Service, pools: list[Network]) -> Iterator[str]:
    """In the order in which they are tried."""
    wanted = parsed(service.spec.load_balancer_ip) if service.spec.load_balancer_ip else None
    if wanted is not None and any(wanted.version == pool.version for pool in pools):
        if any(wanted in pool for pool in pools):
            yield str(wanted)
        return
    for address in addresses_of(service):
        known = parsed(address)
        if known is not None and any(known in pool for pool in pools):
            yield address
    for pool in pools:
        yield from _free_first(pool)


def _free_first(pool: Network) -> Iterator[str]:
    """All of a pool but the network's own address, and the last of an IPv4 one."""
    count = min(pool.num_addresses, _MOST)
    if count == 1:
        yield str(pool[0])
        return
    for number in range(1, count - 1 if pool.version == 4 and count > 2 else count):
        yield str(pool[number])


def ingress_of(addresses: Iterable[str]) -> list[LoadBalancerIngress]:
    """VIP: packets come to nodes with the address itself as their target."""
    return [LoadBalancerIngress(ip=address, ip_mode="VIP") for address in addresses]


# --- the shell ---


class LoadBalancerController(Controller):
    """`pools` in the settings are networks with commas between them; without any, services wait for
    another controller."""

    name = "load-balancer"
    event_source = "service-controller"
    workers = 1  # an address is given once

    def watch(self) -> None:
        texts = self.context.settings.get("pools", "").split(",")
        self._pools = [ipaddress.ip_network(text) for text in texts if text]
        self._assigned: dict[str, list[str]] = {}  # by the service's key, before informers show it
        self._services = self.informer(Service)
        if self._pools:
            self._services.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        """A released address goes to a service that waits for one."""
        self.enqueue(old, new)
        if old is not None and addresses_of(old) and (new is None or not is_ours(new)):
            for service in self._services:
                if is_ours(service) and not addresses_of(service):
                    self.enqueue(None, service)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        if service is None or not is_ours(service):
            self._assigned.pop(key, None)
            return None
        addresses, problems = chosen(service, self._pools, self._taken(key))
        for problem in problems:
            message = f"Error syncing load balancer: {problem}"
            self.event(service, "Warning", "SyncLoadBalancerFailed", message)
        self._assigned[key] = addresses
        if addresses != addresses_of(service):
            status = copy.copy(service.status)
            status.load_balancer = copy.copy(status.load_balancer)
            status.load_balancer.ingress = ingress_of(addresses)
            await self.write_status(service, status)
            if addresses:
                self.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return _RETRY_SECONDS if problems else None

    def _taken(self, key: str) -> set[str]:
        """The addresses of all other services, those of other controllers among them."""
        taken: set[str] = set()
        for other in self._services:
            own = f"{other.metadata.namespace}/{other.metadata.name}"
            if own != key:
                taken.update(addresses_of(other))
                taken.update(self._assigned.get(own, ()))
        return taken
