"""Services: addresses and node ports are taken before the object is written and given back after it is gone."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.api import networking_v1
from tiphys.api.base import encode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.registry.metadata import validate_labels
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources import checks, serviceranges
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import PORT_RANGE, network, one_of
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    dns1035_errors,
    dns_label_errors,
    dns_subdomain_errors,
    port_name_errors,
)
from tiphys.store.cache import Selectable
from tiphys.store.engine import Conflict

NODE_PORTS = range(30000, 32768)
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")


class ServiceStrategy(Strategy):
    name_errors = staticmethod(dns1035_errors)
    fields = (Selectable("spec.clusterIP"), Selectable("spec.type"))

    cidr = ipaddress.IPv4Network("10.96.0.0/16")

    def default(self, obj: v1.Service) -> None:
        spec = obj.spec
        spec.session_affinity = spec.session_affinity or "None"
        spec.type = spec.type or "ClusterIP"
        if spec.session_affinity == "None":
            spec.session_affinity_config = None
        if spec.session_affinity == "ClientIP" and spec.session_affinity_config is None:
            spec.session_affinity_config = v1.SessionAffinityConfig(
                client_ip=v1.ClientIPConfig(timeout_seconds=10800)
            )
        for port in spec.ports:
            port.protocol = port.protocol or "TCP"
            if port.target_port in (0, ""):
                port.target_port = port.port
        if spec.type in ("NodePort", "LoadBalancer"):
            spec.external_traffic_policy = spec.external_traffic_policy or "Cluster"
        if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
            spec.allocate_load_balancer_node_ports = True
        if spec.type != "ExternalName":
            spec.internal_traffic_policy = spec.internal_traffic_policy or "Cluster"
            spec.ip_families = spec.ip_families or ["IPv4"]
            spec.ip_family_policy = spec.ip_family_policy or "SingleStack"

    def prepare_for_update(self, new: v1.Service, old: v1.Service) -> None:
        new.status = old.status
        spec, before = new.spec, old.spec
        if spec.type == "ExternalName":
            spec.cluster_ip, spec.cluster_ips, spec.ip_families, spec.ip_family_policy = (
                "",
                [],
                [],
                None,
            )
        elif before.type != "ExternalName" and not spec.cluster_ip:
            spec.cluster_ip, spec.cluster_ips = before.cluster_ip, list(before.cluster_ips)
        if spec.cluster_ip and not spec.cluster_ips:
            spec.cluster_ips = [spec.cluster_ip]
        if spec.type in ("NodePort", "LoadBalancer"):
            # By name, as upstream: a number that the new ports use already is not given twice.
            kept = {p.name: p.node_port for p in before.ports}
            used = {p.node_port for p in before.ports} & {p.node_port for p in spec.ports}
            for port in spec.ports:
                if not port.node_port and kept.get(port.name, 0) not in used:
                    port.node_port = kept.get(port.name, 0)
        elif before.type in ("NodePort", "LoadBalancer"):
            gone = {port.node_port for port in before.ports}
            for port in spec.ports:
                port.node_port = 0 if port.node_port in gone else port.node_port
            spec.external_traffic_policy = ""
            spec.allocate_load_balancer_node_ports = None

    def validate(self, obj: v1.Service) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        if spec.type not in _TYPES:
            found.append(errors.not_supported("spec.type", spec.type, _TYPES))
        if spec.type == "ExternalName":
            if not spec.external_name:
                found.append(errors.required("spec.externalName"))
            else:
                name = spec.external_name.rstrip(".")
                found += [
                    errors.invalid_value("spec.externalName", spec.external_name, p)
                    for p in dns_subdomain_errors(name)
                ]
        elif not spec.ports and spec.cluster_ip != "None":
            found.append(errors.required("spec.ports"))
        found += self._addresses(spec)
        if spec.session_affinity not in ("ClientIP", "None"):
            found.append(
                errors.not_supported(
                    "spec.sessionAffinity", spec.session_affinity, ("ClientIP", "None")
                )
            )
        self._ports(spec, found)
        for index, outside in enumerate(spec.external_ips):
            found += checks.address(outside, f"spec.externalIPs[{index}]")
        return found + self._traffic(spec)

    @staticmethod
    def _addresses(spec: v1.ServiceSpec) -> list[FieldError]:
        """Of the service itself, as far as the user gives them."""
        told, at = (
            spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else []),
            "spec.clusterIPs",
        )
        found: list[FieldError] = []
        if spec.cluster_ips and spec.cluster_ips[0] != spec.cluster_ip:
            found.append(
                errors.invalid_value(at, spec.cluster_ips, "first value must match `clusterIP`")
            )
        if "None" in told and len(told) > 1:
            found.append(errors.invalid_value(at, told, "'None' must be the first and only value"))
        if len(told) > 2:
            found.append(errors.invalid_value(at, told, "may only hold up to 2 values"))
        for index, one in enumerate(told):
            if one != "None":
                found += checks.address(one, f"{at}[{index}]")
        return found

    @staticmethod
    def _traffic(spec: v1.ServiceSpec) -> list[FieldError]:
        """Who may come, and where to."""
        found = validate_labels(spec.selector, "spec.selector")
        for name, policy in (
            ("externalTrafficPolicy", spec.external_traffic_policy),
            ("internalTrafficPolicy", spec.internal_traffic_policy),
        ):
            found += one_of(policy, ("Cluster", "Local"), f"spec.{name}")
        policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
        found += one_of(spec.ip_family_policy, policies, "spec.ipFamilyPolicy")
        for index, family in enumerate(spec.ip_families):
            found += one_of(family, ("IPv4", "IPv6"), f"spec.ipFamilies[{index}]")
        for index, source in enumerate(spec.load_balancer_source_ranges):
            found += network(source.strip(), f"spec.loadBalancerSourceRanges[{index}]")
        spreads = ("PreferClose", "PreferSameNode", "PreferSameZone")
        found += one_of(spec.traffic_distribution, spreads, "spec.trafficDistribution")
        if spec.health_check_node_port and (
            spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local"
        ):
            why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            found.append(
                errors.invalid_value("spec.healthCheckNodePort", spec.health_check_node_port, why)
            )
        if spec.load_balancer_class is not None and spec.type != "LoadBalancer":
            why = "may only be used when `type` is 'LoadBalancer'"
            found.append(errors.forbidden_field("spec.loadBalancerClass", why))
        config = spec.session_affinity_config
        seconds = (
            config.client_ip.timeout_seconds
            if config is not None and config.client_ip is not None
            else None
        )
        if spec.session_affinity == "ClientIP" and seconds is not None and not 0 < seconds <= 86400:
            why = "must be greater than 0 and less than 86400"
            found.append(
                errors.invalid_value(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, why
                )
            )
        return found

    @staticmethod
    def _ports(spec: v1.ServiceSpec, found: list[FieldError]) -> None:
        names: set[str] = set()
        pairs: set[tuple[int, str]] = set()
        for index, port in enumerate(spec.ports):
            at = f"spec.ports[{index}]"
            if len(spec.ports) > 1 and not port.name:
                found.append(errors.required(f"{at}.name"))
            elif port.name:
                found += [
                    errors.invalid_value(f"{at}.name", port.name, problem)
                    for problem in dns_label_errors(port.name)
                ]
                if port.name in names:
                    found.append(errors.duplicate(f"{at}.name", port.name))
                names.add(port.name)
            if not 0 < port.port < 65536:
                found.append(errors.invalid_value(f"{at}.port", port.port, PORT_RANGE))
            found += checks.qualified(port.app_protocol, f"{at}.appProtocol")
            if isinstance(port.target_port, str):
                found += checks.named(port.target_port, port_name_errors, f"{at}.targetPort")
            if port.protocol not in ("TCP", "UDP", "SCTP"):
                found.append(
                    errors.not_supported(f"{at}.protocol", port.protocol, ("SCTP", "TCP", "UDP"))
                )
            if isinstance(port.target_port, int) and not 0 < port.target_port < 65536:
                found.append(errors.invalid_value(f"{at}.targetPort", port.target_port, PORT_RANGE))
            if (port.port, port.protocol) in pairs:
                found.append(errors.duplicate(at, {"port": port.port, "protocol": port.protocol}))
            pairs.add((port.port, port.protocol))
            if port.node_port and spec.type in ("ClusterIP", "ExternalName"):
                found.append(
                    errors.forbidden_field(
                        f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"
                    )
                )

    def validate_update(self, new: v1.Service, old: v1.Service) -> list[FieldError]:
        if "ExternalName" in (new.spec.type, old.spec.type) or not old.spec.cluster_ip:
            return []
        found = immutable("spec.clusterIPs[0]", new.spec.cluster_ip, old.spec.cluster_ip)
        return [
            errors.invalid_value(e.field, new.spec.cluster_ip, "may not change once set")
            for e in found
        ]

    async def reserve(
        self, registry: Any, new: v1.Service, old: v1.Service | None
    ) -> Callable[[], Any] | None:
        taken: list[str] = []

        async def undo() -> None:
            for key in taken:
                await _release(registry, key)

        try:
            await self._reserve_address(registry, new, taken)
            await self._reserve_ports(registry, new, old, taken)
        except BaseException:
            await undo()
            raise
        return undo

    async def _reserve_address(self, registry: Any, service: v1.Service, taken: list[str]) -> None:
        spec = service.spec
        if spec.type == "ExternalName" or spec.cluster_ip == "None":
            spec.cluster_ips = [spec.cluster_ip] if spec.cluster_ip else []
            return
        wanted, networks = spec.cluster_ip, serviceranges.ranges(registry, self.cidr)
        if wanted and not any(ipaddress.ip_address(wanted) in network for network in networks):
            why = f"failed to allocate IP {wanted}: the provided network does not match the current range"
            raise errors.invalid(
                "Service",
                "",
                service.metadata.name,
                [errors.invalid_value("spec.clusterIPs", [wanted], why)],
            )
        free = (address for network in networks for address in serviceranges.candidates(network))
        for address in [wanted] if wanted else free:
            key = await self._claim(registry, address, service)
            if key is not None:
                if key:
                    taken.append(key)
                spec.cluster_ip, spec.cluster_ips = address, [address]
                return
            if wanted:
                why = f"failed to allocate IP {wanted}: provided IP is already allocated"
                raise errors.invalid(
                    "Service",
                    "",
                    service.metadata.name,
                    [errors.invalid_value("spec.clusterIPs", [wanted], why)],
                )
        raise errors.internal("failed to allocate a serviceIP: range is full")

    @staticmethod
    async def _claim(registry: Any, address: str, service: v1.Service) -> str | None:
        """The key of the address object made; "" when the service has it already, None when another one has."""
        resource = BY_PATH["networking.k8s.io", "v1", "ipaddresses"]
        owner = networking_v1.ParentReference(
            resource="services", namespace=service.metadata.namespace, name=service.metadata.name
        )
        existing = registry.lookup("ipaddresses", "", address, "networking.k8s.io")
        if existing is not None:
            return "" if existing.spec.parent_ref == owner else None
        obj = networking_v1.IPAddress()
        obj.metadata.name = address
        obj.metadata.labels = {
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            "ipaddress.kubernetes.io/ip-family": "IPv4",
        }
        obj.spec.parent_ref = owner
        try:
            await registry.create(Write(resource), obj)
        except errors.StatusError as error:
            if error.reason == "AlreadyExists":
                return None
            raise
        return resource.key("", address)

    async def _reserve_ports(
        self, registry: Any, new: v1.Service, old: v1.Service | None, taken: list[str]
    ) -> None:
        if new.spec.type not in ("NodePort", "LoadBalancer"):
            return
        if new.spec.type == "LoadBalancer" and new.spec.allocate_load_balancer_node_ports is False:
            return
        mine = {port.node_port for port in old.spec.ports} if old else set[int]()
        chosen: dict[int, int] = {}  # of port numbers: TCP and UDP of one share one node port
        for index, port in enumerate(new.spec.ports):
            if not port.node_port and old is None:
                port.node_port = chosen.get(port.port) or _requested(new, port.port)
            if not port.node_port or port.node_port not in {*mine, chosen.get(port.port)}:
                await self._reserve_port(registry, new, index, taken)
            chosen[port.port] = port.node_port
            if old is not None:
                mine.add(port.node_port)

    @staticmethod
    async def _reserve_port(
        registry: Any, service: v1.Service, index: int, taken: list[str]
    ) -> None:
        port, why = service.spec.ports[index], "provided port is already allocated"
        if port.node_port and port.node_port not in NODE_PORTS:
            why = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
        else:
            for candidate in [port.node_port] if port.node_port else random.sample(NODE_PORTS, 64):
                if await _take_port(registry, service, candidate):
                    taken.append(node_port_key(candidate))
                    port.node_port = candidate
                    return
        problem = errors.invalid_value(f"spec.ports[{index}].nodePort", port.node_port, why)
        raise errors.invalid("Service", "", service.metadata.name, [problem])

    async def after_update(self, registry: Any, new: v1.Service, old: v1.Service) -> None:
        """Gives back what the service has no more."""
        for address in set(old.spec.cluster_ips) - {*new.spec.cluster_ips, "None"}:
            await _release(registry, _ADDRESSES.key("", address))
        for port in (
            {p.node_port for p in old.spec.ports} - {p.node_port for p in new.spec.ports} - {0}
        ):
            await _release_port(registry, port)

    async def after_delete(self, registry: Any, obj: v1.Service) -> None:
        await release_service(registry, obj)


_PORTS = "/internal/nodeports/"
_ADDRESSES = BY_PATH["networking.k8s.io", "v1", "ipaddresses"]


def node_port_key(port: int, protocol: str = "") -> str:
    """Where it stands that a node port is taken, for all protocols; older clusters have one for each protocol."""
    return f"{_PORTS}{protocol}-{port}" if protocol else f"{_PORTS}{port}"


def _requested(service: v1.Service, number: int) -> int:
    """The node port that is given for a port number, with whatever protocol."""
    return next((p.node_port for p in service.spec.ports if p.port == number and p.node_port), 0)


def _older_keys(port: int) -> list[str]:
    return [node_port_key(port, protocol) for protocol in ("TCP", "UDP", "SCTP")]


async def _take_port(registry: Any, service: v1.Service, port: int) -> bool:
    cache = registry.store.cache(_PORTS)
    if any(cache.get(key) is not None for key in _older_keys(port)):
        return False
    record = encode(
        {"metadata": {"service": f"{service.metadata.namespace}/{service.metadata.name}"}}
    )
    try:
        await registry.store.put(cache, node_port_key(port), record, 0)
    except Conflict:
        return False
    return True


async def _release_port(registry: Any, port: int) -> None:
    cache = registry.store.cache(_PORTS)
    for key in (node_port_key(port), *_older_keys(port)):
        if cache.get(key) is not None:
            await _release(registry, key)


async def _release(registry: Any, key: str) -> None:
    try:
        await registry.store.delete(key, None)
    except Conflict:
        pass


async def release_service(registry: Any, obj: v1.Service) -> None:
    """Gives back the address and the ports of a service that is gone."""
    for address in obj.spec.cluster_ips:
        if address != "None":
            await _release(registry, _ADDRESSES.key("", address))
    for port in {port.node_port for port in obj.spec.ports} - {0}:
        await _release_port(registry, port)
