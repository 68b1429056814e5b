"""Services and endpoint slices to nftables: one map from address, protocol and port to a chain for each service port.
Pure: `desired` gives the whole ruleset, `changes` the script that leads from one ruleset to the next."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from tiphys.api import core_v1, discovery_v1

SERVICE = "kubernetes.io/service-name"
_MASQUERADE = "meta mark set meta mark | 0x4000"  # `postrouting` hides who asks


@dataclass(frozen=True)
class Ruleset:
    """chains: name → rules; elements: map name → key → verdict; sets: affinity set → seconds."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)
    udp: frozenset[tuple[str, int]] = (
        frozenset()
    )  # UDP services: their old flows are forgotten when they change


MAPS = ("services", "nodeports", "hostports", "firewall", "dead", "deadports", "hairpins")


@dataclass(frozen=True)
class HostPort:
    """A port of the node that leads to a pod on it; `host` is empty for every address of the node, loopback too."""

    protocol: str
    host: str
    port: int
    address: str
    target: int


def base(table: str, pod_cidr: str, service_cidr: str) -> str:
    """The table, its maps and its fixed chains. `pod_cidr` may be several networks with commas."""
    pod_cidr = f"{{ {pod_cidr.replace(',', ', ')} }}"
    return f"""
table ip {table} {{
  map services {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map nodeports {{ type inet_proto . inet_service : verdict; }}
  map hostports {{ type inet_proto . inet_service : verdict; }}
  map firewall {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map dead {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map deadports {{ type inet_proto . inet_service : verdict; }}
  map hairpins {{ type ipv4_addr . ipv4_addr : verdict; }}
  chain dispatch {{
    meta l4proto . ip daddr . th dport vmap @services
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @nodeports
    fib daddr type local meta l4proto . th dport vmap @hostports
  }}
  set pods {{ type ipv4_addr; flags interval; elements = {pod_cidr}; }}
  chain silence {{ drop; }}
  chain refuse {{ meta l4proto tcp reject with tcp reset; reject; }}
  chain hide {{ masquerade; }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump dispatch; }}
  chain output {{ type nat hook output priority -100; policy accept; jump dispatch; }}
  chain prerouting-firewall {{ type filter hook prerouting priority -110; policy accept; ct state new meta l4proto . ip daddr . th dport vmap @firewall; }}
  chain output-firewall {{ type filter hook output priority -110; policy accept; ct state new meta l4proto . ip daddr . th dport vmap @firewall; }}
  chain forward-dead {{ type filter hook forward priority -1; policy accept; ct state new meta l4proto . ip daddr . th dport vmap @dead; }}
  chain output-dead {{ type filter hook output priority -1; policy accept; ct state new meta l4proto . ip daddr . th dport vmap @dead; }}
  chain input-dead {{ type filter hook input priority -1; policy accept; ct state new meta l4proto . th dport vmap @deadports; }}
  chain input-loopback {{ type filter hook input priority -1; policy accept; iifname != "lo" ip daddr 127.0.0.0/8 ct state new drop; }}
  chain forward {{ type filter hook forward priority filter; policy accept; ip saddr {pod_cidr} accept; ip daddr {pod_cidr} accept; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 masquerade
    ip saddr . ip daddr vmap @hairpins
    ip saddr {pod_cidr} ip daddr != {pod_cidr} ip daddr != {service_cidr} fib daddr type != local masquerade
  }}
}}
"""


def _name(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Endpoint:
    address: str
    port: int
    local: bool


@dataclass(frozen=True)
class Reachable:
    """Where a service port leads: ready endpoints; where there are none, those that still serve while they end."""

    ready: list[Endpoint]
    fading: list[Endpoint]

    @property
    def everywhere(self) -> list[Endpoint]:
        return self.ready or self.fading

    @property
    def local(self) -> list[Endpoint]:
        """Of this node: those of it that end before ready ones elsewhere, as upstream."""
        return [e for e in self.ready if e.local] or [e for e in self.fading if e.local]


def endpoints(
    slices: Iterable[discovery_v1.EndpointSlice], port: core_v1.ServicePort, node: str
) -> Reachable:
    ready: set[Endpoint] = set()
    fading: set[Endpoint] = set()
    for one in slices:
        for slice_port in one.ports:
            if (
                (slice_port.name or "") != port.name
                or not slice_port.port
                or (slice_port.protocol or "TCP") != port.protocol
            ):
                continue
            for endpoint in one.endpoints:
                conditions = endpoint.conditions
                for address in endpoint.addresses:
                    made = Endpoint(address, slice_port.port, endpoint.node_name == node)
                    if conditions.ready is not False:
                        ready.add(made)
                    elif conditions.serving and conditions.terminating:
                        fading.add(made)
    return Reachable(
        *(sorted(found, key=lambda e: (e.address, e.port)) for found in (ready, fading))
    )


def desired(
    services: Iterable[core_v1.Service],
    slices: Iterable[discovery_v1.EndpointSlice],
    node: str,
    host_ports: Iterable[HostPort] = (),
) -> Ruleset:
    """`host_ports` are those of the pods on this node."""
    by_service: dict[str, list[discovery_v1.EndpointSlice]] = {}
    for one in slices:
        by_service.setdefault(
            f"{one.metadata.namespace}/{one.metadata.labels.get(SERVICE, '')}", []
        ).append(one)
    made = _Builder(node)
    for service in services:
        if service.spec.type != "ExternalName" and service.spec.cluster_ip not in ("", "None"):
            made.service(
                service, by_service.get(f"{service.metadata.namespace}/{service.metadata.name}", [])
            )
    for row in host_ports:
        protocol = row.protocol.lower()
        name, key = "hostports", f"{protocol} . {row.port}"
        if row.host:
            name, key = "services", f"{protocol} . {row.host} . {row.port}"
        chain = f"hp-{_name(protocol, row.host, str(row.port))}"
        if key not in made.elements[name]:
            made.elements[name][key] = f"goto {chain}"
            made.chains[chain] = (
                # The pod must not see itself nor a loopback address as the one that asks.
                f"ip saddr {{ 127.0.0.0/8, {row.address} }} {_MASQUERADE}",
                f"meta l4proto {protocol} dnat to {row.address}:{row.target}",
            )
    return Ruleset(made.chains, made.elements, made.sets, frozenset(made.udp))


class _Builder:
    def __init__(self, node: str) -> None:
        self._node = node
        self.chains: dict[str, tuple[str, ...]] = {}
        self.elements: dict[str, dict[str, str]] = {name: {} for name in MAPS}
        self.sets: dict[str, int] = {}
        self.udp: set[tuple[str, int]] = set()

    def service(self, service: core_v1.Service, slices: list[discovery_v1.EndpointSlice]) -> None:
        spec, meta = service.spec, service.metadata
        balanced = [
            i.ip for i in service.status.load_balancer.ingress if i.ip and i.ip_mode != "Proxy"
        ]
        for port in spec.ports:
            found = endpoints(slices, port, self._node)
            proto = port.protocol.lower()
            key = _name(meta.namespace, meta.name, port.name, port.protocol, str(port.port))
            local_only = spec.internal_traffic_policy == "Local"
            inside = [("services", f"{proto} . {spec.cluster_ip} . {port.port}")]
            self._lead(
                service,
                f"svc-{key}",
                proto,
                found.local if local_only else found.everywhere,
                inside,
            )
            keys = [
                ("services", f"{proto} . {address} . {port.port}")
                for address in (*spec.external_ips, *balanced)
            ]
            if port.node_port:
                keys.append(("nodeports", f"{proto} . {port.node_port}"))
            if keys and spec.external_traffic_policy == "Local":
                self._lead_locally(service, key, proto, found, keys)
            elif keys:
                self._lead(service, f"ext-{key}", proto, found.everywhere, keys, (_MASQUERADE,))
            self._guard(spec, key, [f"{proto} . {address} . {port.port}" for address in balanced])
            if proto == "udp":
                self.udp.add((spec.cluster_ip, port.port))

    def _lead_locally(
        self,
        service: core_v1.Service,
        key: str,
        proto: str,
        found: Reachable,
        keys: list[tuple[str, str]],
    ) -> None:
        """Who comes from outside is led to pods of this node, under the address it has. Pods and the node itself stand
        behind every node: they are led to any pod, as upstream."""
        if not found.everywhere:
            return self._lead(service, f"ext-{key}", proto, [], keys)
        anywhere = f"all-{key}"
        self._lead(service, anywhere, proto, found.everywhere, [])
        ways_round = (
            f"ip saddr @pods goto {anywhere}",
            f"fib saddr type local {_MASQUERADE}",
            f"fib saddr type local goto {anywhere}",
        )
        if found.local:
            return self._lead(service, f"ext-{key}", proto, found.local, keys, ways_round)
        self.chains[f"ext-{key}"] = ways_round
        for name, element in keys:
            self.elements[name][element] = f"goto ext-{key}"
            # Another node may have what this one has not: whoever balances tries that, so nothing is refused.
            self.elements["dead" if name == "services" else "deadports"][element] = "goto silence"

    def _guard(self, spec: core_v1.ServiceSpec, key: str, elements: list[str]) -> None:
        """Addresses of a load balancer are for those whom the service lets in."""
        asked = (one.strip() for one in spec.load_balancer_source_ranges)
        networks = (ipaddress.IPv4Network(one, strict=False) for one in asked if ":" not in one)
        ranges = [
            str(one) for one in ipaddress.collapse_addresses(networks)
        ]  # sets of the kernel take no overlaps
        if ranges and elements and ranges != ["0.0.0.0/0"]:
            self.chains[f"fw-{key}"] = (f"ip saddr != {{ {', '.join(ranges)} }} drop",)
            self.elements["firewall"].update((element, f"goto fw-{key}") for element in elements)

    def _lead(
        self,
        service: core_v1.Service,
        chain: str,
        proto: str,
        found: list[Endpoint],
        keys: list[tuple[str, str]],
        first: tuple[str, ...] = (),
    ) -> None:
        """`first` are rules that stand before those that lead to `found`."""
        if not found:
            for name, key in keys:
                self.elements["dead" if name == "services" else "deadports"][key] = "goto refuse"
            return
        for name, key in keys:
            self.elements[name][key] = f"goto {chain}"
        # A pod that is led to itself must not see its own address. One that is led to another pod keeps it: network
        # policies on the other's node go by it.
        self.elements["hairpins"].update(
            (f"{e.address} . {e.address}", "goto hide") for e in found if e.local
        )
        rules = list(first)
        if service.spec.session_affinity == "ClientIP":
            self._sticky(service, chain, proto, found, rules)
        else:
            targets = ", ".join(f"{i} : {e.address} . {e.port}" for i, e in enumerate(found))
            rules.append(
                f"meta l4proto {proto} dnat ip to numgen random mod {len(found)} map {{ {targets} }}"
            )
        self.chains[chain] = tuple(rules)

    def _sticky(
        self,
        service: core_v1.Service,
        chain: str,
        proto: str,
        found: list[Endpoint],
        rules: list[str],
    ) -> None:
        """A client stays with its endpoint as long as it comes back in time."""
        config = service.spec.session_affinity_config
        seconds = (
            config.client_ip.timeout_seconds if config and config.client_ip else None
        ) or 10800
        names = []
        for endpoint in found:
            name = f"{chain}-{_name(endpoint.address, str(endpoint.port))[:8]}"
            self.sets[f"aff-{name}"] = seconds
            self.chains[name] = (
                f"update @aff-{name} {{ ip saddr }}",
                f"meta l4proto {proto} dnat to {endpoint.address}:{endpoint.port}",
            )
            names.append(name)
        rules += [f"ip saddr @aff-{name} goto {name}" for name in names]
        rules.append(
            f"numgen random mod {len(names)} vmap {{ {', '.join(f'{i} : goto {name}' for i, name in enumerate(names))} }}"
        )


def changes(table: str, old: Ruleset, new: Ruleset) -> str:
    """The nft script from one ruleset to the next: what did not change is not touched."""
    t = f"ip {table}"
    lines = [
        f"add set {t} {name} {{ type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}"
        for name, seconds in new.sets.items()
        if name not in old.sets
    ]
    lines += [f"add chain {t} {name}" for name in new.chains if name not in old.chains]
    for name in MAPS:
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        gone = [key for key, verdict in before.items() if after.get(key) != verdict]
        lines += [f"delete element {t} {name} {{ {key} : {before[key]} }}" for key in gone]
    for name, rules in new.chains.items():
        if old.chains.get(name) != rules:
            lines.append(f"flush chain {t} {name}")
            lines += [f"add rule {t} {name} {rule}" for rule in rules]
    for name in MAPS:
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        lines += [
            f"add element {t} {name} {{ {key} : {verdict} }}"
            for key, verdict in after.items()
            if before.get(key) != verdict
        ]
    gone_chains = [name for name in old.chains if name not in new.chains]
    lines += [f"flush chain {t} {name}" for name in gone_chains]
    lines += [f"delete chain {t} {name}" for name in gone_chains]
    lines += [f"delete set {t} {name}" for name in old.sets if name not in new.sets]
    return "\n".join(lines) + "\n" if lines else ""
