"""What a service keeps when it changes, what it loses, and what of it may not change.

Clients leave out what was allocated for them, and send what a new type has not: upstream's
`patchAllocatedValues`, `normalizeClusterIPs` and `dropTypeDependentFields`.
"""

from __future__ import annotations

from tiphys.api.core_v1 import LoadBalancerStatus, Service, ServiceSpec
from tiphys.apiserver.resources.services.rules import (
    is_externally_accessible,
    needs_health_check,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_IPS = "spec.clusterIPs"
_FAMILIES = "spec.ipFamilies"
_POLICY = "spec.ipFamilyPolicy"
_ONCE_SET = "may not change once set"


# --- what it loses ---


def drop_what_the_type_has_not(service: Service, before: Service) -> None:
    """Of what the system may have set, and the client did not change."""
    new = service.spec
    old = before.spec
    if old.type != "ExternalName" and new.type == "ExternalName":
        _drop_addresses(new, old)
    if old.type in _WITH_NODE_PORTS and new.type not in _WITH_NODE_PORTS:
        _drop_node_ports(new, old)
    is_same_check = new.health_check_node_port == old.health_check_node_port
    if needs_health_check(old) and not needs_health_check(new) and is_same_check:
        new.health_check_node_port = 0
    if old.type == "LoadBalancer" and new.type != "LoadBalancer":
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports:
            new.allocate_load_balancer_node_ports = None
        if new.load_balancer_class == old.load_balancer_class:
            new.load_balancer_class = None
    was_accessible = is_externally_accessible(old) and not is_externally_accessible(new)
    if was_accessible and new.external_traffic_policy == old.external_traffic_policy:
        new.external_traffic_policy = ""
    if new.type != "LoadBalancer":
        service.status.load_balancer = LoadBalancerStatus()


def _drop_addresses(new: ServiceSpec, old: ServiceSpec) -> None:
    if (new.cluster_ip, new.cluster_ips) == (old.cluster_ip, old.cluster_ips):
        new.cluster_ip = ""
        new.cluster_ips = []
    if new.ip_families == old.ip_families:
        new.ip_families = []
    if new.ip_family_policy == old.ip_family_policy:
        new.ip_family_policy = None


def _drop_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    before = {port.node_port for port in old.ports} | {0}
    if all(port.node_port in before for port in new.ports):
        for port in new.ports:
            port.node_port = 0


# --- what it keeps ---


def keep_what_was_allocated(new: ServiceSpec, old: ServiceSpec) -> None:
    if "ExternalName" not in (new.type, old.type):
        new.cluster_ip = new.cluster_ip or old.cluster_ip
        new.cluster_ips = new.cluster_ips or list(old.cluster_ips)
    if new.type in _WITH_NODE_PORTS and old.type in _WITH_NODE_PORTS:
        _keep_node_ports(new, old)
    if needs_health_check(new) and needs_health_check(old):
        new.health_check_node_port = new.health_check_node_port or old.health_check_node_port


def _keep_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    """By the ports' names: a number that the new ports use already is not given twice."""
    before = {port.name: port.node_port for port in old.ports}
    used = set(before.values()) & {port.node_port for port in new.ports}
    for port in new.ports:
        number = before.get(port.name, 0)
        if not port.node_port and number not in used:
            port.node_port = number


def align_addresses(new: ServiceSpec, old: ServiceSpec) -> None:
    """clusterIP and clusterIPs of a client that changes one and sends the other as it was."""
    if old.cluster_ips and not new.cluster_ips and old.cluster_ip == new.cluster_ip:
        new.cluster_ips = list(old.cluster_ips)
    if old.cluster_ip != new.cluster_ip and old.cluster_ips == new.cluster_ips:
        new.cluster_ips = [new.cluster_ip] if new.cluster_ip else []
    if new.cluster_ip and not new.cluster_ips:  # of one from before there were two
        new.cluster_ips = [new.cluster_ip]


# --- what may not change ---


def change_errors(new: ServiceSpec, old: ServiceSpec) -> list[FieldError]:
    violations: list[FieldError] = []
    if "ExternalName" not in (new.type, old.type):
        violations += _address_changes(new, old)
        violations += _family_changes(new, old)
    if old.type == new.type == "LoadBalancer":
        balancer = new.load_balancer_class
        if balancer != old.load_balancer_class:
            violations.append(errors.invalid_value("spec.loadBalancerClass", balancer, _ONCE_SET))
    if needs_health_check(old) and needs_health_check(new):
        port = new.health_check_node_port
        if old.health_check_node_port and port != old.health_check_node_port:
            path = "spec.healthCheckNodePort"
            violations.append(errors.forbidden_field(path, "field is immutable"))
    return violations


def _address_changes(new: ServiceSpec, old: ServiceSpec) -> list[FieldError]:
    if new.cluster_ip == old.cluster_ip == "None" or not old.cluster_ips:
        return []
    changed = [
        errors.invalid_value(f"{_IPS}[{index}]", new.cluster_ips, _ONCE_SET)
        for index, (after, before) in enumerate(zip(new.cluster_ips, old.cluster_ips, strict=False))
        if after != before
    ]
    if not new.cluster_ips:
        detail = "primary clusterIP can not be unset"
        changed.append(errors.invalid_value(f"{_IPS}[0]", new.cluster_ips, detail))
    is_shorter = len(old.cluster_ips) > len(new.cluster_ips) == 1
    if is_shorter and new.ip_family_policy != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        changed.append(errors.invalid_value(_POLICY, new.ip_family_policy, detail))
    return changed


def _family_changes(new: ServiceSpec, old: ServiceSpec) -> list[FieldError]:
    """Headless services may change them."""
    if "None" in (new.cluster_ip, old.cluster_ip):
        return []
    changed = [
        errors.invalid_value(f"{_FAMILIES}[0]", new.ip_families, _ONCE_SET)
        for after, before in zip(new.ip_families, old.ip_families, strict=False)
        if after != before
    ]
    is_shorter = len(old.ip_families) > len(new.ip_families) == 1
    if is_shorter and new.ip_family_policy != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        changed.append(errors.invalid_value(_POLICY, new.ip_family_policy, detail))
    return changed
