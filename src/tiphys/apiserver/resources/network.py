"""Endpoints, ingresses, network policies and addresses. Services have a file of their own."""

from __future__ import annotations

import ipaddress
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.resources import checks, omissions
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.machinery import errors
from tiphys.machinery.addresses import endpoint_problems
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    dns_label_errors,
    dns_subdomain_errors,
    is_ip,
    path_segment_errors,
    port_name_errors,
)
from tiphys.store.cache import Filter

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MOST_ENDPOINTS = 1000
_NODES = BY_PATH["", "v1", "nodes"]


class EndpointsStrategy(Strategy):
    def default(self, obj: v1.Endpoints) -> None:
        for subset in obj.subsets:
            for port in subset.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: v1.Endpoints) -> list[FieldError]:
        found = []
        for at, subset in enumerate(obj.subsets):
            for index, port in enumerate(subset.ports):
                where = f"subsets[{at}].ports[{index}]"
                if len(subset.ports) > 1:
                    found += checks.given(port.name, f"{where}.name")
                found += checks.named(port.name, dns_label_errors, f"{where}.name") + checks.port(
                    port.port, f"{where}.port"
                )
                found += checks.one_of(port.protocol, _PROTOCOLS, f"{where}.protocol")
                found += checks.qualified(port.app_protocol, f"{where}.appProtocol")
            for kind, addresses in (
                ("addresses", subset.addresses),
                ("notReadyAddresses", subset.not_ready_addresses),
            ):
                for index, address in enumerate(addresses):
                    found += _endpoint_address(address.ip, f"subsets[{at}].{kind}[{index}].ip", obj)
        return found


def _endpoint_address(text: str, at: str, obj: Any) -> list[FieldError]:
    """An address that the API server may be led to. Its own, which it writes itself, may be any: of a cluster on one
    machine it is the loopback's."""
    if found := checks.address(text, at):
        return found
    if (obj.metadata.namespace, obj.metadata.name) == ("default", "kubernetes"):
        return []
    return [errors.invalid_value(at, text, why) for why in endpoint_problems(text)]


class EndpointSliceStrategy(Strategy):
    generation = True

    def desired(self, obj: Any) -> Any:
        return obj.endpoints, obj.ports

    def default(self, obj: Any) -> None:
        for port in obj.ports:
            port.name = port.name or ""
            port.protocol = port.protocol or "TCP"

    def validate(self, obj: Any) -> list[FieldError]:
        allowed = ("FQDN", "IPv4", "IPv6")
        if not obj.address_type:
            return [errors.required("addressType")]
        if obj.address_type not in allowed:
            return [errors.not_supported("addressType", obj.address_type, allowed)]
        found = []
        for index, endpoint in enumerate(obj.endpoints):
            if not endpoint.addresses:
                found.append(
                    errors.required(
                        f"endpoints[{index}].addresses", "must contain at least 1 address"
                    )
                )
            for number, address in enumerate(
                endpoint.addresses if obj.address_type != "FQDN" else ()
            ):
                found += _slice_address(obj, address, f"endpoints[{index}].addresses", number)
            for name, problems in (
                ("nodeName", endpoint.node_name),
                ("hostname", endpoint.hostname),
            ):
                rules = dns_subdomain_errors if name == "nodeName" else dns_label_errors
                found += checks.named(problems or "", rules, f"endpoints[{index}].{name}")
        if len(obj.endpoints) > _MOST_ENDPOINTS:
            found.append(errors.too_many("endpoints", len(obj.endpoints), _MOST_ENDPOINTS))
        seen: set[str] = set()
        for index, port in enumerate(obj.ports):
            at = f"ports[{index}]"
            found += checks.named(port.name, dns_label_errors, f"{at}.name") + checks.port(
                port.port, f"{at}.port"
            )
            if port.name in seen:
                found.append(errors.duplicate(f"{at}.name", port.name))
            seen.add(port.name)
            found += checks.one_of(port.protocol, _PROTOCOLS, f"{at}.protocol")
            found += checks.qualified(port.app_protocol, f"{at}.appProtocol")
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("addressType", new.address_type, old.address_type)


def _slice_address(obj: Any, text: str, at: str, number: int) -> list[FieldError]:
    found = _endpoint_address(text, f"{at}[{number}]", obj)
    if is_ip(text) and (":" in text) != (obj.address_type == "IPv6"):
        found.append(errors.invalid_value(at, text, f"must be an {obj.address_type} address"))
    return found


class IngressStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        if not obj.spec.rules and obj.spec.default_backend is None:
            return [
                errors.invalid_value(
                    "spec", None, "either `defaultBackend` or `rules` must be specified"
                )
            ]
        found = _backend_errors(obj.spec.default_backend, "spec.defaultBackend")
        found += checks.subdomain(obj.spec.ingress_class_name, "spec.ingressClassName")
        for at, tls in enumerate(obj.spec.tls):
            for index, name in enumerate(tls.hosts):
                found += _host(name, f"spec.tls[{at}].hosts[{index}]")
            found += checks.subdomain(tls.secret_name, f"spec.tls[{at}].secretName")
        for at, rule in enumerate(obj.spec.rules):
            found += _host(rule.host, f"spec.rules[{at}].host")
            for index, path in enumerate(rule.http.paths if rule.http else ()):
                if path.path_type not in ("Exact", "Prefix", "ImplementationSpecific"):
                    allowed = ("Exact", "ImplementationSpecific", "Prefix")
                    where = f"spec.rules[{at}].http.paths[{index}].pathType"
                    found.append(
                        errors.not_supported(where, path.path_type, allowed)
                        if path.path_type
                        else errors.required(where, "pathType must be specified")
                    )
                one = f"spec.rules[{at}].http.paths[{index}]"
                if path.path_type in ("Exact", "Prefix") and not path.path.startswith("/"):
                    found.append(
                        errors.invalid_value(f"{one}.path", path.path, "must be an absolute path")
                    )
                found += _backend_errors(path.backend, f"{one}.backend")
        return found


def _host(name: str, at: str) -> list[FieldError]:
    if is_ip(name):
        return [errors.invalid_value(at, name, "must be a DNS name, not an IP address")]
    plain = name.removeprefix("*.")
    return (
        [errors.invalid_value(at, name, why) for why in dns_subdomain_errors(plain)]
        if plain
        else []
    )


def _backend_errors(backend: Any, at: str) -> list[FieldError]:
    if backend is None:
        return []
    if (other := backend.resource) is not None:
        if backend.service is not None:
            return [errors.invalid_value(at, "", "cannot set both resource and service backends")]
        found = checks.subdomain(other.api_group, f"{at}.resource.apiGroup")
        return (
            found
            + checks.segment(other.kind, f"{at}.resource.kind")
            + checks.segment(other.name, f"{at}.resource.name")
        )
    if backend.service is None:
        return [errors.required(f"{at}.name")]
    found = checks.given(backend.service.name, f"{at}.service.name")
    found += checks.named(backend.service.name, dns_label_errors, f"{at}.service.name")
    port = backend.service.port
    if port is None or not (port.name or port.number):
        found.append(errors.required(at, "port name or number is required"))
    elif port.name and port.number:
        found.append(errors.invalid_value(at, "", "cannot set both port name & port number"))
    elif port.number:
        found += checks.port(port.number, f"{at}.service.port.number")
    else:
        found += checks.named(port.name, port_name_errors, f"{at}.service.port.name")
    return found


class NetworkPolicyStrategy(Strategy):
    generation = True

    def default(self, obj: Any) -> None:
        if not obj.spec.policy_types:
            obj.spec.policy_types = ["Ingress", "Egress"] if obj.spec.egress else ["Ingress"]
        for rule in [*obj.spec.ingress, *obj.spec.egress]:
            for port in rule.ports:
                port.protocol = port.protocol or "TCP"

    def validate_new(self, obj: Any, registry: Any) -> list[FieldError]:
        nodes = registry.cache(_NODES).select(Filter(_NODES.prefix))
        for text in omissions.of_policy(entry.data for entry in nodes):
            warn(text)
        return self.validate(obj)

    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.label_selector(obj.spec.pod_selector, "spec.podSelector")
        for index, kind in enumerate(obj.spec.policy_types):
            found += checks.one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{index}]")
        for index, rule in enumerate(obj.spec.ingress):
            found += self._rule(rule.ports, rule.from_, f"spec.ingress[{index}]", "from")
        for index, rule in enumerate(obj.spec.egress):
            found += self._rule(rule.ports, rule.to, f"spec.egress[{index}]", "to")
        return found

    @staticmethod
    def _rule(ports: Any, peers: Any, path: str, direction: str) -> list[FieldError]:
        found: list[FieldError] = []
        for index, port in enumerate(ports):
            at = f"{path}.ports[{index}]"
            found += checks.one_of(port.protocol, ("SCTP", "TCP", "UDP"), f"{at}.protocol")
            found += checks.port(port.port, f"{at}.port")
            if isinstance(port.port, str):
                found += checks.named(port.port, port_name_errors, f"{at}.port")
            if port.end_port is not None:
                found += _end_port(port, f"{at}.endPort")
        for index, peer in enumerate(peers):
            whole = f"{path}.{direction}[{index}]"
            at, block = f"{whole}.ipBlock", peer.ip_block
            found += checks.label_selector(peer.pod_selector, f"{whole}.podSelector")
            found += checks.label_selector(peer.namespace_selector, f"{whole}.namespaceSelector")
            selected = peer.pod_selector is not None or peer.namespace_selector is not None
            if block is None:
                if not selected:
                    found.append(errors.required(whole, "must specify a peer"))
                continue
            if selected:
                why = "may not specify both ipBlock and another peer"
                found.append(errors.forbidden_field(whole, why))
            wrong = (
                checks.network(block.cidr, f"{at}.cidr")
                if block.cidr
                else [errors.required(f"{at}.cidr")]
            )
            for number, cidr in enumerate(block.except_ if not wrong else ()):
                where = f"{at}.except[{number}]"
                bad = checks.network(cidr, where)
                wrong += bad
                if not bad and not _inside(cidr, block.cidr):
                    wrong.append(
                        errors.invalid_value(where, cidr, "must be a strict subset of `cidr`")
                    )
            found += wrong
        return found


def _end_port(port: Any, at: str) -> list[FieldError]:
    if port.port is None:
        return [
            errors.invalid_value(
                at, port.end_port, "may not be specified when `port` is not specified"
            )
        ]
    if isinstance(port.port, str):
        return [
            errors.invalid_value(
                at, port.end_port, "may not be specified when `port` is non-numeric"
            )
        ]
    if port.end_port < port.port:
        return [errors.invalid_value(at, port.end_port, "must be greater than or equal to `port`")]
    return checks.port(port.end_port, at)


def _inside(inner: str, outer: str) -> bool:
    small, large = (ipaddress.ip_network(text, strict=False) for text in (inner, outer))
    if small.version != large.version or small == large:
        return False
    return small.subnet_of(large)  # type: ignore[arg-type]


class IPAddressStrategy(Strategy):
    name_errors = staticmethod(lambda name: [] if is_ip(name) else ["must be a valid IP address"])

    def validate(self, obj: Any) -> list[FieldError]:
        parent = obj.spec.parent_ref
        if parent is None:
            return [errors.required("spec.parentRef")]
        found = checks.subdomain(parent.group, "spec.parentRef.group")
        for name, value in (("resource", parent.resource), ("name", parent.name)):
            found += checks.segment(value, f"spec.parentRef.{name}")
        return found + checks.named(
            parent.namespace, path_segment_errors, "spec.parentRef.namespace"
        )

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("spec.parentRef", new.spec.parent_ref, old.spec.parent_ref)


class ServiceCIDRStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        ranges = obj.spec.cidrs
        if not ranges:
            return [errors.required("spec.cidrs", "at least one CIDR required")]
        if len(ranges) > 2:
            return [
                errors.invalid_value("spec", to_builtins(obj.spec), "may only hold up to 2 values")
            ]
        found = [
            error
            for index, one in enumerate(ranges)
            for error in checks.network(one, f"spec.cidrs[{index}]")
        ]
        if not found and len(ranges) == 2 and ("." in ranges[0]) == ("." in ranges[1]):
            why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            found.append(errors.invalid_value("spec.cidrs", ranges, why))
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        """A second family may be added."""
        kept = new.spec.cidrs[: len(old.spec.cidrs)] == old.spec.cidrs
        return [] if kept else immutable("spec.cidrs[0]", new.spec.cidrs, old.spec.cidrs)


class IngressClassStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        found = [errors.too_long("spec.controller", 250)] if len(spec.controller) > 250 else []
        found += checks.domain_path(spec.controller, "spec.controller")
        if (other := spec.parameters) is None:
            return found
        at = "spec.parameters"
        found += checks.subdomain(other.api_group, f"{at}.apiGroup")
        found += checks.segment(other.kind, f"{at}.kind") + checks.segment(other.name, f"{at}.name")
        found += checks.given(other.scope, f"{at}.scope")
        found += checks.one_of(other.scope, ("Cluster", "Namespace"), f"{at}.scope")
        if other.scope == "Namespace":
            found += checks.given(
                other.namespace, f"{at}.namespace", "`parameters.scope` is set to 'Namespace'"
            )
            found += checks.named(other.namespace or "", dns_label_errors, f"{at}.namespace")
        elif other.scope == "Cluster" and other.namespace is not None:
            found.append(
                errors.forbidden_field(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'")
            )
        return found

    def default(self, obj: Any) -> None:
        if obj.spec.parameters is not None and obj.spec.parameters.scope is None:
            obj.spec.parameters.scope = "Cluster"

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("spec.controller", new.spec.controller, old.spec.controller)
