"""Cluster IPs and node ports of services. They are taken before a service is written, and given
back when it is gone.

What takes one writes a record under the address or the port: of two services that want the same,
the store lets one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
from collections.abc import Iterable
from enum import Enum

from tiphys.api.base import encode
from tiphys.api.catalog import resource_of
from tiphys.api.core_v1 import Service, ServiceSpec
from tiphys.api.networking_v1 import IPAddress, ParentReference
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.lookups import Allocator
from tiphys.apiserver.resources.services import ranges
from tiphys.apiserver.resources.services.families import family_of
from tiphys.apiserver.resources.services.ranges import Network
from tiphys.apiserver.resources.services.rules import needs_health_check
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.store.engine import Conflict

NODE_PORTS = range(30000, 32768)
_PORTS_TRIED = 64  # at random, before there seem to be none
_OUT_OF_RANGE = (
    "provided port is not in the valid range. The range of valid ports is "
    f"{NODE_PORTS[0]}-{NODE_PORTS[-1]}"
)
_PORT_RECORDS = "/internal/nodeports/"
_ADDRESSES = resource_of(IPAddress)
_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_FAMILY = "ipaddress.kubernetes.io/ip-family"

# --- addresses ---


async def take_addresses(
    objects: Allocator,
    service: Service,
    old: Service | None,
    own_ranges: tuple[Network, ...],
    taken: list[str],
) -> None:
    """Gives the service an address of each of its families, those that it asks for, or any. The
    keys of the records are added to `taken`. Raises 422 for an address that cannot be had, 500 when
    there are none left."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip == "None":
        spec.cluster_ips = [spec.cluster_ip] if spec.cluster_ip else []
        return
    kept = old.spec.cluster_ips if old is not None else []
    addresses: list[str] = []
    for index, family in enumerate(spec.ip_families):
        networks = ranges.service_ranges(objects, own_ranges, family)
        address = spec.cluster_ips[index] if index < len(spec.cluster_ips) else ""
        if not address:
            address = await _take_any(objects, service, networks, taken)
        elif address in kept:
            await _claim(objects, address, service, taken)
        else:
            await _take_requested(objects, service, address, networks, taken)
        addresses.append(address)
    spec.cluster_ips = addresses
    spec.cluster_ip = addresses[0] if addresses else ""


async def _take_any(
    objects: Allocator, service: Service, networks: Iterable[Network], taken: list[str]
) -> str:
    for network in networks:
        for address in ranges.candidates(network):
            if await _claim(objects, address, service, taken) is _Claim.NEW:
                return address
    name = service.metadata.name
    message = f'failed to allocate a serviceIP for Service "{name}": range is full'
    raise errors.internal(message)


async def _take_requested(
    objects: Allocator,
    service: Service,
    address: str,
    networks: Iterable[Network],
    taken: list[str],
) -> None:
    if not any(ipaddress.ip_address(address) in network for network in networks):
        reason = "the provided network does not match the current range"
        raise _not_allocated(service, address, reason)
    if await _claim(objects, address, service, taken) is _Claim.FOREIGN:
        raise _not_allocated(service, address, "provided IP is already allocated")


def _not_allocated(service: Service, address: str, reason: str) -> StatusError:
    detail = f"failed to allocate IP {address}: {reason}"
    violation = errors.invalid_value("spec.clusterIPs", service.spec.cluster_ips, detail)
    return errors.invalid("Service", "", service.metadata.name, [violation])


class _Claim(Enum):
    """Whose an address is after a service has tried to take it."""

    NEW = "taken now"
    OWN = "the service has it already"
    FOREIGN = "another service has it"


async def _claim(objects: Allocator, address: str, service: Service, taken: list[str]) -> _Claim:
    owner = ParentReference(
        resource="services", namespace=service.metadata.namespace, name=service.metadata.name
    )
    existing = objects.find(IPAddress, "", address)
    if existing is not None:
        return _Claim.OWN if existing.spec.parent_ref == owner else _Claim.FOREIGN
    record = IPAddress()
    record.metadata.name = address
    record.metadata.labels = {_MANAGED_BY: "ipallocator.k8s.io", _FAMILY: family_of(address)}
    record.spec.parent_ref = owner
    try:
        await objects.create(Write(_ADDRESSES), record)
    except StatusError as error:
        if is_already_exists(error):
            return _Claim.FOREIGN
        raise
    taken.append(_ADDRESSES.key("", address))
    return _Claim.NEW


# --- node ports ---


def node_port_key(port: int, protocol: str = "") -> str:
    """The key of the record that a node port is taken, for all protocols. Older clusters have
    one for each protocol."""
    return f"{_PORT_RECORDS}{protocol}-{port}" if protocol else f"{_PORT_RECORDS}{port}"


def _older_keys(port: int) -> list[str]:
    return [node_port_key(port, protocol) for protocol in ("TCP", "UDP", "SCTP")]


async def take_ports(
    objects: Allocator, new: Service, old: Service | None, taken: list[str]
) -> None:
    """Gives each of the service's ports the node port that it asks for, or any. The keys of the
    records are added to `taken`. Raises 422 for a port that cannot be had."""
    spec = new.spec
    if spec.type not in ("NodePort", "LoadBalancer"):
        return
    own = {port.node_port for port in old.spec.ports} if old is not None else set()
    chosen: dict[int, int] = {}  # by port number: TCP and UDP of one share one node port
    wanted_alone = spec.type == "LoadBalancer" and not spec.allocate_load_balancer_node_ports
    for index, port in enumerate(spec.ports):
        if wanted_alone and not port.node_port:
            continue
        if not port.node_port and old is None:
            port.node_port = chosen.get(port.port) or _requested(spec, port.port)
        if not port.node_port or port.node_port not in {*own, chosen.get(port.port)}:
            await _take_port(objects, new, index, taken)
        chosen[port.port] = port.node_port
        if old is not None:
            own.add(port.node_port)


async def take_health_check_port(
    objects: Allocator, new: Service, old: Service | None, taken: list[str]
) -> None:
    """Gives a service whose traffic stays on its nodes a port for its health checks on each
    node. Raises 500 for one that cannot be had, as upstream."""
    if not needs_health_check(new.spec):
        return
    if old is not None and needs_health_check(old.spec) and old.spec.health_check_node_port:
        return
    wanted = new.spec.health_check_node_port
    reason = "provided port is already allocated"
    if wanted and wanted not in NODE_PORTS:
        reason = _OUT_OF_RANGE
    else:
        for candidate in [wanted] if wanted else random.sample(NODE_PORTS, _PORTS_TRIED):
            if await _record_port(objects, new, candidate):
                taken.append(node_port_key(candidate))
                new.spec.health_check_node_port = candidate
                return
    raise errors.internal(f"failed to allocate requested HealthCheck NodePort {wanted}: {reason}")


def _requested(spec: ServiceSpec, number: int) -> int:
    """The node port that is asked for of a port number, with whatever protocol; 0 for none."""
    return next((p.node_port for p in spec.ports if p.port == number and p.node_port), 0)


async def _take_port(objects: Allocator, service: Service, index: int, taken: list[str]) -> None:
    port = service.spec.ports[index]
    detail = "provided port is already allocated"
    if port.node_port and port.node_port not in NODE_PORTS:
        detail = _OUT_OF_RANGE
    else:
        requested = [port.node_port] if port.node_port else None
        for candidate in requested or random.sample(NODE_PORTS, _PORTS_TRIED):
            if await _record_port(objects, service, candidate):
                taken.append(node_port_key(candidate))
                port.node_port = candidate
                return
    violation = errors.invalid_value(f"spec.ports[{index}].nodePort", port.node_port, detail)
    raise errors.invalid("Service", "", service.metadata.name, [violation])


async def _record_port(objects: Allocator, service: Service, port: int) -> bool:
    """Whether the port was free, and is the service's now."""
    cache = objects.store.cache(_PORT_RECORDS)
    if any(cache.get(key) is not None for key in _older_keys(port)):
        return False
    meta = service.metadata
    record = encode({"metadata": {"service": f"{meta.namespace}/{meta.name}"}})
    try:
        await objects.store.put(cache, node_port_key(port), record, 0)
    except Conflict:
        return False
    return True


# --- giving back ---


async def release(objects: Allocator, key: str) -> None:
    """Removes a record. A missing one is no error."""
    with contextlib.suppress(Conflict):
        await objects.store.delete(key, None)


async def release_unused(objects: Allocator, new: ServiceSpec | None, old: ServiceSpec) -> None:
    """Releases what a service had and has no more; `new` is None when it is gone."""
    addresses = set(old.cluster_ips) - {"None"}
    ports = {port.node_port for port in old.ports} | {old.health_check_node_port}
    ports.discard(0)
    if new is not None:
        addresses -= set(new.cluster_ips)
        ports -= {port.node_port for port in new.ports} | {new.health_check_node_port}
    for address in addresses:
        await release(objects, _ADDRESSES.key("", address))
    for port in ports:
        await _release_port(objects, port)


async def _release_port(objects: Allocator, port: int) -> None:
    cache = objects.store.cache(_PORT_RECORDS)
    for key in (node_port_key(port), *_older_keys(port)):
        if cache.get(key) is not None:
            await release(objects, key)
