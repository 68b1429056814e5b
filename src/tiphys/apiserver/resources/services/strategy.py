"""Services: what a service may contain, and what it keeps when it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from tiphys.api.core_v1 import ClientIPConfig, Service, ServiceSpec, SessionAffinityConfig
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, WIDE, Column, joined, selector_text
from tiphys.apiserver.resources.lookups import Allocator
from tiphys.apiserver.resources.services import allocation, changes, families
from tiphys.apiserver.resources.services.rules import is_externally_accessible, service_errors
from tiphys.apiserver.resources.subresources import Connection
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors
from tiphys.store.cache import Selectable

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
    create_on_update = True
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
    name_errors = staticmethod(dns_label_errors)  # may start with a digit since 1.36 (KEP-5311)
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
        if is_externally_accessible(spec):
            spec.external_traffic_policy = spec.external_traffic_policy or "Cluster"
        if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
            spec.allocate_load_balancer_node_ports = True
        if spec.type != "ExternalName":
            spec.internal_traffic_policy = spec.internal_traffic_policy or "Cluster"

    def prepare_for_create(self, obj: Service) -> None:
        super().prepare_for_create(obj)
        spec = obj.spec
        if spec.cluster_ip and not spec.cluster_ips:
            spec.cluster_ips = [spec.cluster_ip]
        self._initialize_families(obj, None)

    def prepare_for_update(self, new: Service, old: Service) -> None:
        new.status = old.status
        changes.drop_what_the_type_has_not(new, old)
        changes.keep_what_was_allocated(new.spec, old.spec)
        changes.align_addresses(new.spec, old.spec)
        self._initialize_families(new, old.spec)

    def _initialize_families(self, new: Service, old: ServiceSpec | None) -> None:
        violations = families.initialize(new.spec, old, self.settings.service_families)
        if violations:
            raise errors.invalid("Service", "", new.metadata.name, violations)

    def validate(self, obj: Service) -> list[FieldError]:
        return service_errors(obj.spec)

    def validate_update(self, new: Service, old: Service) -> list[FieldError]:
        return changes.change_errors(new.spec, old.spec)

    def warnings(self, new: Service, old: Service | None) -> Iterator[str]:
        spec = new.spec
        if spec.type == "ExternalName" and spec.external_ips:
            yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
        if spec.cluster_ip == "None":
            yield from _headless_warnings(spec)

    async def reserve(
        self, objects: Allocator, new: Service, old: Service | None
    ) -> Callable[[], Awaitable[None]]:
        taken: list[str] = []  # storage keys

        async def give_back() -> None:
            for key in taken:
                await allocation.release(objects, key)

        try:
            await allocation.take_addresses(objects, new, old, self.settings.service_cidrs, taken)
            await allocation.take_ports(objects, new, old, taken)
            await allocation.take_health_check_port(objects, new, old, taken)
        except BaseException:
            await give_back()
            raise
        return give_back

    async def after_update(self, objects: Allocator, new: Service, old: Service) -> None:
        await allocation.release_unused(objects, new.spec, old.spec)

    async def after_delete(self, objects: Allocator, obj: Service) -> None:
        await allocation.release_unused(objects, None, obj.spec)


# --- warnings ---


def _headless_warnings(spec: ServiceSpec) -> Iterator[str]:
    if spec.load_balancer_ip:
        yield "spec.loadBalancerIP is ignored for headless services"
    if spec.external_ips:
        yield "spec.externalIPs is ignored for headless services"
    if spec.session_affinity not in ("", "None"):
        yield "spec.SessionAffinity is ignored for headless services"
