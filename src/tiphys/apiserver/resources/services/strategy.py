"""Services: what a service may say, and what it keeps when it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from tiphys.api.core_v1 import ClientIPConfig, Service, ServiceSpec, SessionAffinityConfig
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column, joined, selector_text
from tiphys.apiserver.resources.lookups import Allocator
from tiphys.apiserver.resources.podspec.omissions import NOT_CARRIED_OUT
from tiphys.apiserver.resources.services import allocation
from tiphys.apiserver.resources.services.rules import service_errors
from tiphys.apiserver.resources.subresources import Connection
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns1035_errors
from tiphys.store.cache import Selectable

_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_AFFINITY_SECONDS = 10800


def _ports(service: Service) -> str:
    return joined(
        f"{port.port}:{port.node_port}/{port.protocol}"
        if port.node_port
        else f"{port.port}/{port.protocol}"
        for port in service.spec.ports
    )


def _external_ip(service: Service) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.external_name
    if spec.type != "LoadBalancer":
        return joined(spec.external_ips)
    ingress = [point.ip or point.hostname for point in service.status.load_balancer.ingress]
    return joined([*ingress, *spec.external_ips], "<pending>")


class ServiceStrategy(Strategy[Service]):
    columns = (
        NAME,
        Column("Type", lambda o: o.spec.type),
        Column("Cluster-IP", lambda o: o.spec.cluster_ip or "<none>"),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        AGE,
        Column("Selector", lambda o: selector_text(o.spec.selector), priority=WIDE),
    )
    fields = (Selectable("spec.clusterIP"), Selectable("spec.type"))
    name_errors = staticmethod(dns1035_errors)
    returns_deleted = True
    subresources = {"proxy": Connection.PROXY}

    def default(self, obj: Service) -> None:
        spec = obj.spec
        spec.session_affinity = spec.session_affinity or "None"
        spec.type = spec.type or "ClusterIP"
        if spec.session_affinity == "None":
            spec.session_affinity_config = None
        if spec.session_affinity == "ClientIP" and spec.session_affinity_config is None:
            lasting = ClientIPConfig(timeout_seconds=_AFFINITY_SECONDS)
            spec.session_affinity_config = SessionAffinityConfig(client_ip=lasting)
        for port in spec.ports:
            port.protocol = port.protocol or "TCP"
            if port.target_port in (0, ""):
                port.target_port = port.port
        if spec.type in _WITH_NODE_PORTS:
            spec.external_traffic_policy = spec.external_traffic_policy or "Cluster"
        if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
            spec.allocate_load_balancer_node_ports = True
        if spec.type != "ExternalName":
            spec.internal_traffic_policy = spec.internal_traffic_policy or "Cluster"
            spec.ip_families = spec.ip_families or ["IPv4"]
            spec.ip_family_policy = spec.ip_family_policy or "SingleStack"

    def prepare_for_update(self, new: Service, old: Service) -> None:
        new.status = old.status
        _keep_addresses(new.spec, old.spec)
        if new.spec.type in _WITH_NODE_PORTS:
            _keep_node_ports(new.spec, old.spec)
        elif old.spec.type in _WITH_NODE_PORTS:
            _drop_node_ports(new.spec, old.spec)

    def validate(self, obj: Service) -> list[FieldError]:
        return service_errors(obj.spec)

    def validate_update(self, new: Service, old: Service) -> list[FieldError]:
        address = new.spec.cluster_ip
        if "ExternalName" in (new.spec.type, old.spec.type) or not old.spec.cluster_ip:
            return []
        if address == old.spec.cluster_ip:
            return []
        return [errors.invalid_value("spec.clusterIPs[0]", address, "may not change once set")]

    def warnings(self, new: Service, old: Service | None) -> Iterator[str]:
        spec = new.spec
        if spec.type == "ExternalName" and spec.external_ips:
            yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
        if spec.cluster_ip == "None":
            yield from _headless_warnings(spec)
        yield from _omissions(spec)

    async def reserve(
        self, objects: Allocator, new: Service, old: Service | None
    ) -> Callable[[], Awaitable[None]]:
        taken: list[str] = []  # storage keys

        async def give_back() -> None:
            for key in taken:
                await allocation.release(objects, key)

        try:
            await allocation.take_address(objects, new, self.settings.service_cidr, taken)
            await allocation.take_ports(objects, new, old, taken)
        except BaseException:
            await give_back()
            raise
        return give_back

    async def after_update(self, objects: Allocator, new: Service, old: Service) -> None:
        await allocation.release_unused(objects, new.spec, old.spec)

    async def after_delete(self, objects: Allocator, obj: Service) -> None:
        await allocation.release_unused(objects, None, obj.spec)


# --- what a service keeps when it changes ---


def _keep_addresses(new: ServiceSpec, old: ServiceSpec) -> None:
    """Of a service that does not say which addresses it has."""
    if new.type == "ExternalName":
        new.cluster_ip = ""
        new.cluster_ips = []
        new.ip_families = []
        new.ip_family_policy = None
    elif old.type != "ExternalName" and not new.cluster_ip:
        new.cluster_ip = old.cluster_ip
        new.cluster_ips = list(old.cluster_ips)
    if new.cluster_ip and not new.cluster_ips:
        new.cluster_ips = [new.cluster_ip]


def _keep_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    """By the ports' names, as upstream: a number that the new ports use already is not given
    twice."""
    before = {port.name: port.node_port for port in old.ports}
    used = set(before.values()) & {port.node_port for port in new.ports}
    for port in new.ports:
        number = before.get(port.name, 0)
        if not port.node_port and number not in used:
            port.node_port = number


def _drop_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    """Of a service that has become one without: a number that it had is not meant any more."""
    before = {port.node_port for port in old.ports}
    for port in new.ports:
        if port.node_port in before:
            port.node_port = 0
    new.external_traffic_policy = ""
    new.allocate_load_balancer_node_ports = None


# --- warnings ---


def _headless_warnings(spec: ServiceSpec) -> Iterator[str]:
    if spec.load_balancer_ip:
        yield "spec.loadBalancerIP is ignored for headless services"
    if spec.external_ips:
        yield "spec.externalIPs is ignored for headless services"
    if spec.session_affinity not in ("", "None"):
        yield "spec.SessionAffinity is ignored for headless services"


def _omissions(spec: ServiceSpec) -> Iterator[str]:
    if spec.traffic_distribution:
        reason = "every endpoint is as near as the others"
        yield f"spec.trafficDistribution: {NOT_CARRIED_OUT}: {reason}"
    if "IPv6" in spec.ip_families or spec.ip_family_policy == "RequireDualStack":
        yield f"spec.ipFamilies: IPv6 {NOT_CARRIED_OUT}"
