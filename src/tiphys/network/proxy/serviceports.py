"""From a service and its endpoint slices to what a node needs for it. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy import rules
from tiphys.network.proxy.endpoints import Endpoint, Place, Reachable, endpoints, is_address
from tiphys.network.proxy.hostports import HostPort
from tiphys.network.proxy.rules import Element, Flow, Part, Rule, digest

_AFFINITY_SECONDS = 10800  # where a service says nothing, as the API's default
_OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
_HEADLESS = "service.kubernetes.io/headless"  # of slices that proxies ignore (since 1.36)


def is_proxied(service: core_v1.Service) -> bool:
    """Whether this proxy carries a service out at all: another one may be named to."""
    spec = service.spec
    if _OTHER_PROXY in service.metadata.labels:
        return False
    return spec.type != "ExternalName" and spec.cluster_ip not in ("", "None")


def service_part(
    service: core_v1.Service,
    slices: Iterable[discovery_v1.EndpointSlice],
    place: Place,
    version: int = 4,
) -> Part:
    """What a service needs at `place` for one version of IP."""
    part = Part()
    address = next(iter(_of_version(_cluster_ips(service), version)), "")
    if not address or not is_proxied(service):
        return part
    of_version = [
        endpoint_slice
        for endpoint_slice in slices
        if (endpoint_slice.address_type or "IPv4") == f"IPv{version}"
        and _HEADLESS not in endpoint_slice.metadata.labels
    ]
    for service_port in service.spec.ports:
        reachable = endpoints(of_version, service_port, place)
        port = _Port(service, service_port, reachable, address, version, part)
        port.add()
    return part


def _cluster_ips(service: core_v1.Service) -> list[str]:
    return service.spec.cluster_ips or [service.spec.cluster_ip]


def _of_version(addresses: Iterable[str], version: int) -> list[str]:
    return [address for address in addresses if is_address(address, version)]


@dataclass(frozen=True)
class _Port:
    """One port of a service, and the part that it adds its rules to."""

    service: core_v1.Service
    port: core_v1.ServicePort
    reachable: Reachable
    cluster_ip: str
    version: int
    part: Part

    def add(self) -> None:
        self._inside()
        self._outside()
        self._firewall()
        if self.protocol == "udp":
            self._note_flows()

    @property
    def protocol(self) -> str:
        return self.port.protocol.lower() or "tcp"

    @property
    def digest(self) -> str:
        meta = self.service.metadata
        port = self.port
        return digest(meta.namespace, meta.name, port.name, port.protocol, str(port.port))

    @property
    def affinity(self) -> int | None:
        """Seconds that a client stays with its endpoint; None: it does not."""
        spec = self.service.spec
        if spec.session_affinity != "ClientIP":
            return None
        config = spec.session_affinity_config
        seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
        return seconds or _AFFINITY_SECONDS

    def _element(self, address: str) -> Element:
        return Element(rules.SERVICES, self.protocol, address, self.port.port)

    def _inside(self) -> None:
        """The cluster IP."""
        local_only = self.service.spec.internal_traffic_policy == "Local"
        reachable = self.reachable
        elements = [self._element(self.cluster_ip)]
        if local_only and not reachable.local:
            self._end(elements)
            return
        kind = "local" if local_only else "every"
        self._lead(f"svc-{self.digest}", kind, elements)

    def _outside_elements(self) -> list[Element]:
        """Everything that clients from outside come to."""
        spec = self.service.spec
        addresses = (*spec.external_ips, *_balanced_addresses(self.service))
        elements = [self._element(address) for address in _of_version(addresses, self.version)]
        if self.port.node_port:
            node_port = self.port.node_port
            elements.append(Element(rules.NODE_PORTS, self.protocol, port=node_port))
        return elements

    def _outside(self) -> None:
        elements = self._outside_elements()
        if not elements:
            return
        if self.service.spec.external_traffic_policy == "Local":
            self._lead_locally(elements)
        else:
            self._lead(f"ext-{self.digest}", "every", elements, (rules.Masquerade(),))

    def _lead_locally(self, elements: list[Element]) -> None:
        """externalTrafficPolicy: Local. A client from outside is led to pods of this node, and seen
        under the address it has. Pods and the node itself stand behind every node: they are led to
        any pod, as upstream."""
        reachable = self.reachable
        if not reachable.everywhere:
            self._end(elements)
            return
        chain = f"ext-{self.digest}"
        anywhere = f"all-{self.digest}"
        self._lead(anywhere, "every", [])
        shortcuts = (rules.PodsGo(anywhere), rules.MasqueradeNode(), rules.NodeGoes(anywhere))
        if reachable.local:
            self._lead(chain, "local", elements, shortcuts)
            return
        self.part.chains[chain] = shortcuts
        for element in elements:
            self.part.elements[element] = chain
            # Another node may have what this one has not: the load balancer tries that, so nothing
            # is refused.
            self.part.elements[element.dead] = rules.SILENCE

    def _end(self, elements: list[Element]) -> None:
        """What leads to no endpoint from here: refused where no node has any, and dropped where
        another one has, as upstream."""
        verdict = rules.SILENCE if self.reachable.serving else rules.REFUSE
        for element in elements:
            self.part.elements[element.dead] = verdict

    def _lead(
        self, chain: str, kind: str, elements: list[Element], first: tuple[Rule, ...] = ()
    ) -> None:
        """A chain that leads to the endpoints of a kind ("every" or "local") after the rules
        `first`, and the elements that lead to it; nothing where there are no endpoints."""
        reachable = self.reachable
        targets = reachable.local if kind == "local" else reachable.everywhere
        if not targets:
            self._end(elements)
            return
        pool = f"{kind}-{self.digest}"
        part = self.part
        part.pools[pool] = targets
        seconds = self.affinity
        if seconds is None:
            part.chains[chain] = (*first, rules.Spread(pool))
        else:
            part.chains[chain] = (*first, rules.Stay(pool, seconds))
            part.sticky.add(pool)
        for element in elements:
            part.elements[element] = chain
        self._hide_hairpins()

    def _hide_hairpins(self) -> None:
        """A pod that is led to itself must not see its own address as its client's. One that is led
        to another pod keeps its own: network policies on the other's node go by it."""
        for endpoint in self.reachable.local:
            self.part.elements[Element(rules.HAIRPINS, address=endpoint.address)] = rules.HIDE

    def _firewall(self) -> None:
        """loadBalancerSourceRanges: who may come to the addresses of a load balancer."""
        spec = self.service.spec
        addresses = _of_version(_balanced_addresses(self.service), self.version)
        if not spec.load_balancer_source_ranges or not addresses:
            return
        ranges = _source_ranges(spec, self.version)
        if not ranges or any(network.prefixlen == 0 for network in ranges):
            return  # those of the other version say nothing about this one, as upstream
        chain = f"fw-{self.digest}"
        allowed = tuple(rules.Accept(network) for network in ranges)
        self.part.chains[chain] = (*allowed, rules.Drop())
        for address in addresses:
            element = self._element(address)._replace(map=rules.FIREWALL)
            self.part.elements[element] = chain

    def _note_flows(self) -> None:
        """A policy or a hint that changes moves no flow that stands, as upstream: those to an
        endpoint that still serves are kept."""
        ways = [Flow(self.cluster_ip, self.port.port)]
        for element in self._outside_elements():
            ways.append(Flow(element.address, element.port))
        for way in ways:
            self.part.flows[way] = self.reachable.serving


def _balanced_addresses(service: core_v1.Service) -> list[str]:
    """A load balancer's addresses whose packets come here as they are; with ipMode Proxy they come
    to node ports."""
    ingress = service.status.load_balancer.ingress
    return [row.ip for row in ingress if row.ip and row.ip_mode != "Proxy"]


def _source_ranges(spec: core_v1.ServiceSpec, version: int) -> list[rules.Network]:
    """The networks of one version, without those that others contain."""
    of_version = []
    for text in spec.load_balancer_source_ranges:
        with contextlib.suppress(ValueError):  # of an older release; no packet comes from there
            network = ipaddress.ip_network(text.strip(), strict=False)
            if network.version == version:
                of_version.append(network)
    return list(ipaddress.collapse_addresses(of_version))  # type: ignore[type-var]


# --- host ports ---


def host_port_part(ports: Iterable[HostPort], version: int = 4) -> Part:
    """What the host ports of one pod need. The pod must see neither itself nor a loopback address
    as its client's."""
    part = Part()
    loopback = ipaddress.ip_network("127.0.0.0/8" if version == 4 else "::1/128")
    for row in ports:
        if not is_address(row.address, version):
            continue
        if row.host and not is_address(row.host, version):
            continue
        protocol = row.protocol.lower()
        element = Element(rules.HOST_PORTS, protocol, port=row.port)
        if row.host:
            element = Element(rules.SERVICES, protocol, row.host, row.port)
        chain = f"hp-{digest(protocol, row.host, str(row.port), row.address)}"
        endpoint = Endpoint(row.address, row.target)
        part.elements[element] = chain
        part.chains[chain] = (
            rules.MasqueradeFrom(loopback),
            rules.MasqueradeFrom(ipaddress.ip_network(row.address)),
            rules.Direct(endpoint),
        )
        if protocol == "udp":
            part.flows[Flow(row.host, row.port)] = frozenset((endpoint,))
    return part
