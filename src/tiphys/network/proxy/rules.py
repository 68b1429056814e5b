"""The ruleset of a node: a chain for each service port, and maps that lead to it. Pure.

    svc-…    what comes for a cluster IP
    ext-…    what comes from outside: node ports, external IPs, load balancers' addresses
    all-…    every endpoint of a port whose `ext-` chain keeps to this node
    fw-…     who may not come to a load balancer's address
    hp-…     a host port
    svc-…-…  one endpoint of a service whose clients stay with theirs; the set `aff-svc-…-…` has
             these clients

Names are digests: no text of a user's reaches nft.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy.endpoints import (
    Endpoint,
    Reachable,
    ServiceKey,
    endpoints,
    service_key,
)
from tiphys.network.proxy.hostports import HostPort

SERVICES = "services"  # protocol, address and port → chain
NODE_PORTS = "nodeports"  # protocol and port, at the node's addresses but those of the loopback
HOST_PORTS = "hostports"  # the same, at all of the node's addresses
FIREWALL = "firewall"  # as SERVICES, before them
DEAD = "dead"  # as SERVICES, for what leads nowhere
DEAD_PORTS = "deadports"  # as NODE_PORTS, for what leads nowhere
HAIRPINS = "hairpins"  # source and target of a pod that is led to itself
MAPS = (SERVICES, NODE_PORTS, HOST_PORTS, FIREWALL, DEAD, DEAD_PORTS, HAIRPINS)

# `postrouting` masquerades what has this mark: the endpoint sees the node's address, and its
# answers come back here.
_MASQUERADE = "meta mark set meta mark | 0x4000"
_AFFINITY_SECONDS = 10800  # where a service says nothing, as the API's default


class UDPService(NamedTuple):
    address: str
    port: int


class Key(NamedTuple):
    """A key of one of the maps."""

    map: str
    element: str

    @property
    def dead(self) -> Key:
        """The same where it leads nowhere."""
        return Key(DEAD if self.map == SERVICES else DEAD_PORTS, self.element)


@dataclass(frozen=True)
class Ruleset:
    """chains: name → rules; elements: map → element → verdict; sets: affinity set → seconds. Old
    flows of the `udp` services have to be forgotten when they change, for UDP has no end."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)
    udp: frozenset[UDPService] = frozenset()


def desired(
    services: Iterable[core_v1.Service],
    slices: Iterable[discovery_v1.EndpointSlice],
    node: str,
    host_ports: Iterable[HostPort] = (),
) -> Ruleset:
    """What `node` needs for all services of the cluster. `host_ports` are those of the pods on
    it."""
    slices_of: dict[ServiceKey, list[discovery_v1.EndpointSlice]] = {}
    for endpoint_slice in slices:
        slices_of.setdefault(service_key(endpoint_slice), []).append(endpoint_slice)
    builder = _Builder(node)
    for service in services:
        if _has_cluster_ip(service):
            key = ServiceKey(service.metadata.namespace, service.metadata.name)
            builder.add_service(service, slices_of.get(key, []))
    for host_port in host_ports:
        builder.add_host_port(host_port)
    return Ruleset(builder.chains, builder.elements, builder.sets, frozenset(builder.udp))


def _has_cluster_ip(service: core_v1.Service) -> bool:
    spec = service.spec
    return spec.type != "ExternalName" and spec.cluster_ip not in ("", "None")


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _port_digest(service: core_v1.Service, port: core_v1.ServicePort) -> str:
    meta = service.metadata
    return _digest(meta.namespace, meta.name, port.name, port.protocol, str(port.port))


@dataclass(frozen=True)
class _Port:
    """One port of a service, with what its rules are made of."""

    service: core_v1.Service
    port: core_v1.ServicePort
    reachable: Reachable
    digest: str
    protocol: str  # as nft spells it

    @property
    def affinity(self) -> int | None:
        """Seconds that a client stays with its endpoint; None: it does not."""
        spec = self.service.spec
        if spec.session_affinity != "ClientIP":
            return None
        config = spec.session_affinity_config
        seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
        return seconds or _AFFINITY_SECONDS

    def at(self, address: str) -> str:
        """The element of an address in a map."""
        return f"{self.protocol} . {address} . {self.port.port}"


class _Builder:
    def __init__(self, node: str) -> None:
        self._node = node
        self.chains: dict[str, tuple[str, ...]] = {}
        self.elements: dict[str, dict[str, str]] = {name: {} for name in MAPS}
        self.sets: dict[str, int] = {}
        self.udp: set[UDPService] = set()

    def add_service(
        self, service: core_v1.Service, slices: list[discovery_v1.EndpointSlice]
    ) -> None:
        for service_port in service.spec.ports:
            reachable = endpoints(slices, service_port, self._node)
            digest = _port_digest(service, service_port)
            port = _Port(service, service_port, reachable, digest, service_port.protocol.lower())
            self._inside(port)
            self._outside(port)
            self._firewall(port)
            if port.protocol == "udp":
                self.udp.add(UDPService(service.spec.cluster_ip, service_port.port))

    def _inside(self, port: _Port) -> None:
        """The cluster IP."""
        spec = port.service.spec
        local_only = spec.internal_traffic_policy == "Local"
        targets = port.reachable.local if local_only else port.reachable.everywhere
        keys = [Key(SERVICES, port.at(spec.cluster_ip))]
        self._lead(port, f"svc-{port.digest}", targets, keys)

    def _outside(self, port: _Port) -> None:
        """Everything that clients from outside come to."""
        spec = port.service.spec
        addresses = (*spec.external_ips, *_balanced_addresses(port.service))
        keys = [Key(SERVICES, port.at(address)) for address in addresses]
        if port.port.node_port:
            keys.append(Key(NODE_PORTS, f"{port.protocol} . {port.port.node_port}"))
        if not keys:
            return
        if spec.external_traffic_policy == "Local":
            self._lead_locally(port, keys)
        else:
            chain = f"ext-{port.digest}"
            self._lead(port, chain, port.reachable.everywhere, keys, (_MASQUERADE,))

    def _lead_locally(self, port: _Port, keys: list[Key]) -> None:
        """externalTrafficPolicy: Local. A client from outside is led to pods of this node, and seen
        under the address it has. Pods and the node itself stand behind every node: they are led to
        any pod, as upstream."""
        reachable = port.reachable
        if not reachable.everywhere:
            self._refuse(keys)
            return
        chain = f"ext-{port.digest}"
        anywhere = f"all-{port.digest}"
        self._lead(port, anywhere, reachable.everywhere, [])
        shortcuts = (
            f"ip saddr @pods goto {anywhere}",
            f"fib saddr type local {_MASQUERADE}",
            f"fib saddr type local goto {anywhere}",
        )
        if reachable.local:
            self._lead(port, chain, reachable.local, keys, shortcuts)
            return
        self.chains[chain] = shortcuts
        for key in keys:
            self._map(key, chain)
            # Another node may have what this one has not: the load balancer tries that, so nothing
            # is refused.
            self._map(key.dead, "silence")

    def _firewall(self, port: _Port) -> None:
        """loadBalancerSourceRanges: who may come to the addresses of a load balancer."""
        spec = port.service.spec
        addresses = _balanced_addresses(port.service)
        if not spec.load_balancer_source_ranges or not addresses:
            return
        ranges = _source_ranges(spec)
        if not ranges or ranges == ["0.0.0.0/0"]:
            return
        chain = f"fw-{port.digest}"
        self.chains[chain] = (f"ip saddr != {{ {', '.join(ranges)} }} drop",)
        for address in addresses:
            self._map(Key(FIREWALL, port.at(address)), chain)

    def _lead(
        self,
        port: _Port,
        chain: str,
        targets: list[Endpoint],
        keys: list[Key],
        first: tuple[str, ...] = (),
    ) -> None:
        """A chain that leads to `targets`, after the rules `first`, and the keys that lead to it;
        nothing refuses it where there are no targets."""
        if not targets:
            self._refuse(keys)
            return
        for key in keys:
            self._map(key, chain)
        # A pod that is led to itself must not see its own address as its client's. One that is led
        # to another pod keeps its own: network policies on the other's node go by it.
        hairpins = self.elements[HAIRPINS]
        for target in targets:
            if target.local:
                hairpins[f"{target.address} . {target.address}"] = "goto hide"
        affinity = port.affinity
        if affinity is None:
            rules: tuple[str, ...] = (_spread(port.protocol, targets),)
        else:
            rules = self._stay(chain, port.protocol, targets, affinity)
        self.chains[chain] = first + rules

    def _stay(
        self, chain: str, protocol: str, targets: list[Endpoint], seconds: int
    ) -> tuple[str, ...]:
        """A client stays with its endpoint as long as it comes back in time."""
        names = []
        for target in targets:
            # The time is part of the name: the kernel does not change that of a set.
            digest = _digest(target.address, str(target.port), str(seconds))
            name = f"{chain}-{digest[:8]}"
            self.sets[f"aff-{name}"] = seconds
            self.chains[name] = (
                f"update @aff-{name} {{ ip saddr }}",
                f"meta l4proto {protocol} dnat to {target.address}:{target.port}",
            )
            names.append(name)
        verdicts = ", ".join(f"{number} : goto {name}" for number, name in enumerate(names))
        return (
            *(f"ip saddr @aff-{name} goto {name}" for name in names),
            f"numgen random mod {len(names)} vmap {{ {verdicts} }}",
        )

    def _refuse(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._map(key.dead, "refuse")

    def _map(self, key: Key, chain: str) -> None:
        self.elements[key.map][key.element] = f"goto {chain}"

    # --- host ports ---

    def add_host_port(self, row: HostPort) -> None:
        """A service at the same address and port goes before it."""
        protocol = row.protocol.lower()
        key = Key(HOST_PORTS, f"{protocol} . {row.port}")
        if row.host:
            key = Key(SERVICES, f"{protocol} . {row.host} . {row.port}")
        if key.element in self.elements[key.map]:
            return
        chain = f"hp-{_digest(protocol, row.host, str(row.port))}"
        self._map(key, chain)
        self.chains[chain] = (
            # The pod must see neither itself nor a loopback address as its client's.
            f"ip saddr {{ 127.0.0.0/8, {row.address} }} {_MASQUERADE}",
            f"meta l4proto {protocol} dnat to {row.address}:{row.target}",
        )


def _spread(protocol: str, targets: list[Endpoint]) -> str:
    """Each new connection to any of the targets."""
    choices = ", ".join(
        f"{number} : {target.address} . {target.port}" for number, target in enumerate(targets)
    )
    return (
        f"meta l4proto {protocol} dnat ip to numgen random mod {len(targets)} map {{ {choices} }}"
    )


def _balanced_addresses(service: core_v1.Service) -> list[str]:
    """A load balancer's addresses whose packets come here as they are; with ipMode Proxy they come
    to node ports."""
    ingress = service.status.load_balancer.ingress
    return [one.ip for one in ingress if one.ip and one.ip_mode != "Proxy"]


def _source_ranges(spec: core_v1.ServiceSpec) -> list[str]:
    """IPv4 networks without overlaps, which the kernel's sets do not take."""
    texts = (text.strip() for text in spec.load_balancer_source_ranges)
    networks = (ipaddress.IPv4Network(text, strict=False) for text in texts if ":" not in text)
    return [str(network) for network in ipaddress.collapse_addresses(networks)]
