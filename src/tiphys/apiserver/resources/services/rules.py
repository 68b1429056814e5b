"""What is wrong with a service's spec."""

from __future__ import annotations

from tiphys.api.core_v1 import ServicePort, ServiceSpec
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.addresses import endpoint_problems
from tiphys.machinery.errors import FieldError
from tiphys.machinery.labelrules import validate_labels
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, port_name_errors

_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_AFFINITIES = ("ClientIP", "None")
_TRAFFIC_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_BALANCED_ALONE = "may only be used when `type` is 'LoadBalancer'"
_MOST_ADDRESSES = 2  # one of each family
_LONGEST_AFFINITY = 86400  # seconds


def service_errors(spec: ServiceSpec) -> list[FieldError]:
    violations = []
    if spec.type not in _TYPES:
        violations.append(errors.not_supported("spec.type", spec.type, _TYPES))
    if spec.type == "ExternalName":
        violations += _external_name(spec.external_name, "spec.externalName")
        violations += _without_addresses(spec)
    else:
        violations += _headless(spec)
        violations += address_errors(spec)
    if spec.session_affinity not in _AFFINITIES:
        field = "spec.sessionAffinity"
        violations.append(errors.not_supported(field, spec.session_affinity, _AFFINITIES))
    violations += _ports(spec, "spec.ports")
    for index, address in enumerate(spec.external_ips):
        violations += checks.address(address, f"spec.externalIPs[{index}]") or [
            errors.invalid_value(f"spec.externalIPs[{index}]", address, problem)
            for problem in endpoint_problems(address)
        ]
    violations += validate_labels(spec.selector, "spec.selector")
    violations += _traffic(spec)
    violations += _load_balancer(spec)
    return violations + _affinity_seconds(spec)


def _external_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [errors.required(path)]
    problems = dns_subdomain_errors(name.rstrip("."))
    return [errors.invalid_value(path, name, problem) for problem in problems]


def _without_addresses(spec: ServiceSpec) -> list[FieldError]:
    """An ExternalName has none of its own."""
    detail = "may not be set for ExternalName services"
    fields = {
        "spec.clusterIPs": spec.cluster_ips,
        "spec.ipFamilies": spec.ip_families,
        "spec.ipFamilyPolicy": spec.ip_family_policy,
    }
    return [errors.forbidden_field(path, detail) for path, value in fields.items() if value]


def _headless(spec: ServiceSpec) -> list[FieldError]:
    if spec.cluster_ip != "None":
        return [] if spec.ports else [errors.required("spec.ports")]
    if spec.type not in _WITH_NODE_PORTS:
        return []
    detail = f"may not be set to 'None' for {spec.type} services"
    return [errors.invalid_value("spec.clusterIPs[0]", "None", detail)]


def address_errors(spec: ServiceSpec) -> list[FieldError]:
    """Of the addresses and families, as far as the service's author chooses them."""
    addresses = spec.cluster_ips
    path = "spec.clusterIPs"
    violations = []
    if spec.cluster_ip and not addresses:
        violations.append(errors.required(path))
    elif spec.cluster_ip and addresses[0] != spec.cluster_ip:
        detail = "first value must match `clusterIP`"
        violations.append(errors.invalid_value(path, addresses, detail))
    elif addresses and not spec.cluster_ip:
        detail = "must be empty when `clusterIP` is not specified"
        violations.append(errors.invalid_value(path, addresses, detail))
    violations += _families(spec)
    unreadable = _unreadable(addresses, path)
    violations += unreadable
    if len(addresses) > _MOST_ADDRESSES:
        detail = "may only hold up to 2 values"
        violations.append(errors.invalid_value(path, addresses, detail))
    return violations if unreadable else violations + _mismatched(spec, path)


def _unreadable(addresses: list[str], path: str) -> list[FieldError]:
    violations = []
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                detail = "'None' must be the first and only value"
                violations.append(errors.invalid_value(path, addresses, detail))
            continue
        violations += checks.address(address, f"{path}[{index}]")
    return violations


def _mismatched(spec: ServiceSpec, path: str) -> list[FieldError]:
    """Addresses that are not one of each family, or not of the families that are named."""
    addresses = spec.cluster_ips
    violations = []
    if len(addresses) > 1 and len({":" in address for address in addresses}) < 2:
        detail = "may specify no more than one IP for each IP family"
        violations.append(errors.invalid_value(path, addresses, detail))
    if spec.cluster_ip == "None":
        return violations
    for index, (address, family) in enumerate(zip(addresses, spec.ip_families, strict=False)):
        if family in _FAMILIES and (":" in address) != (family == "IPv6"):
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            violations.append(errors.invalid_value(f"{path}[{index}]", address, detail))
    return violations


def _families(spec: ServiceSpec) -> list[FieldError]:
    violations = []
    for index, family in enumerate(spec.ip_families):
        path = f"spec.ipFamilies[{index}]"
        violations += checks.one_of(family, _FAMILIES, path)
        if family in spec.ip_families[:index]:
            violations.append(errors.duplicate(path, family))
    return violations + checks.one_of(
        spec.ip_family_policy, _FAMILY_POLICIES, "spec.ipFamilyPolicy"
    )


def _ports(spec: ServiceSpec, path: str) -> list[FieldError]:
    violations = []
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(spec.ports):
        field = f"{path}[{index}]"
        if len(spec.ports) > 1 or port.name:
            violations += _port_name(port.name, names, f"{field}.name")
        violations += _port(port, field)
        number = (port.port, port.protocol)
        if number in numbers:
            shown = {"port": port.port, "protocol": port.protocol}
            violations.append(errors.duplicate(field, shown))
        numbers.add(number)
        if port.node_port and spec.type in ("ClusterIP", "ExternalName"):
            detail = "may not be used when `type` is 'ClusterIP'"
            violations.append(errors.forbidden_field(f"{field}.nodePort", detail))
    return violations


def _port_name(name: str, seen: set[str], path: str) -> list[FieldError]:
    """Of one of several ports, or of one that has a name."""
    if not name:
        return [errors.required(path)]
    violations = checks.obeys(name, dns_label_errors, path)
    if name in seen:
        violations.append(errors.duplicate(path, name))
    seen.add(name)
    return violations


def _port(port: ServicePort, path: str) -> list[FieldError]:
    violations = checks.port(port.port, f"{path}.port")
    violations += checks.qualified(port.app_protocol, f"{path}.appProtocol")
    if isinstance(port.target_port, str):
        violations += checks.named(port.target_port, port_name_errors, f"{path}.targetPort")
    if port.protocol not in _PROTOCOLS:
        violations.append(errors.not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS))
    return violations + checks.port(port.target_port, f"{path}.targetPort")


def _traffic(spec: ServiceSpec) -> list[FieldError]:
    """The addresses, and the traffic policies."""
    policy = spec.external_traffic_policy
    path = "spec.externalTrafficPolicy"
    violations = checks.one_of(policy, _TRAFFIC_POLICIES, path)
    if policy and not is_externally_accessible(spec):
        detail = "may only be set for externally-accessible services"
        violations = [errors.invalid_value(path, policy, detail)]
    policy = spec.internal_traffic_policy or ""
    violations += checks.one_of(policy, _TRAFFIC_POLICIES, "spec.internalTrafficPolicy")
    for index, source in enumerate(spec.load_balancer_source_ranges):
        violations += checks.network(source.strip(), f"spec.loadBalancerSourceRanges[{index}]")
    field = "spec.trafficDistribution"
    return violations + checks.one_of(spec.traffic_distribution, _DISTRIBUTIONS, field)


def is_externally_accessible(spec: ServiceSpec) -> bool:
    return spec.type in _WITH_NODE_PORTS or (spec.type == "ClusterIP" and bool(spec.external_ips))


def needs_health_check(spec: ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _load_balancer(spec: ServiceSpec) -> list[FieldError]:
    violations = []
    balanced = spec.type == "LoadBalancer"
    port = spec.health_check_node_port
    if port and needs_health_check(spec):
        violations += checks.port(port, "spec.healthCheckNodePort")
    elif port:
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        violations.append(errors.invalid_value("spec.healthCheckNodePort", port, detail))
    if spec.load_balancer_class is not None and not balanced:
        violations.append(errors.forbidden_field("spec.loadBalancerClass", _BALANCED_ALONE))
    if balanced and spec.load_balancer_class is not None:
        violations += checks.qualified(spec.load_balancer_class, "spec.loadBalancerClass")
    if spec.load_balancer_source_ranges and not balanced:
        path = "spec.LoadBalancerSourceRanges"  # as upstream spells it
        violations.append(errors.forbidden_field(path, _BALANCED_ALONE))
    if spec.allocate_load_balancer_node_ports is not None and not balanced:
        path = "spec.allocateLoadBalancerNodePorts"
        violations.append(errors.forbidden_field(path, _BALANCED_ALONE))
    return violations


def _affinity_seconds(spec: ServiceSpec) -> list[FieldError]:
    config = spec.session_affinity_config
    if spec.session_affinity != "ClientIP" or config is None or config.client_ip is None:
        return []
    seconds = config.client_ip.timeout_seconds
    if seconds is None or 0 < seconds <= _LONGEST_AFFINITY:
        return []
    field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    return [errors.invalid_value(field, seconds, "must be greater than 0 and less than 86400")]
