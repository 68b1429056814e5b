"""Endpoints, ingresses, network policies and addresses. Services have a file of their own."""

from __future__ import annotations

import ipaddress
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.strategies import checks
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors, is_ip

_PROTOCOLS = ("SCTP", "TCP", "UDP")


class EndpointsStrategy(Strategy):
    def default(self, obj: v1.Endpoints) -> None:
        for subset in obj.subsets:
            for port in subset.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: v1.Endpoints) -> list[FieldError]:
        found = []
        for at, subset in enumerate(obj.subsets):
            for index, port in enumerate(subset.ports):
                found += checks.one_of(port.protocol, _PROTOCOLS, f"subsets[{at}].ports[{index}].protocol")
            for index, address in enumerate(subset.addresses + subset.not_ready_addresses):
                if not is_ip(address.ip):
                    found.append(
                        errors.invalid_value(
                            f"subsets[{at}].addresses[{index}].ip",
                            address.ip,
                            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                        )
                    )
        return found


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
                found.append(errors.required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
            for number, address in enumerate(endpoint.addresses if obj.address_type != "FQDN" else ()):
                found += checks.address(address, f"endpoints[{index}].addresses[{number}]")
        for index, port in enumerate(obj.ports):
            found += checks.one_of(port.protocol, _PROTOCOLS, f"ports[{index}].protocol")
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("addressType", new.address_type, old.address_type)


class IngressStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        if not obj.spec.rules and obj.spec.default_backend is None:
            return [errors.invalid_value("spec", {}, "either `defaultBackend` or `rules` must be specified")]
        found = _backend_errors(obj.spec.default_backend, "spec.defaultBackend")
        for at, rule in enumerate(obj.spec.rules):
            host = rule.host.removeprefix("*.")
            found += [errors.invalid_value(f"spec.rules[{at}].host", rule.host, p) for p in dns_subdomain_errors(host) if host]
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
                    found.append(errors.invalid_value(f"{one}.path", path.path, "must be an absolute path"))
                found += _backend_errors(path.backend, f"{one}.backend")
        return found


def _backend_errors(backend: Any, at: str) -> list[FieldError]:
    if backend is None or backend.resource is not None:
        return []
    if backend.service is None:
        return [errors.required(f"{at}.name")]
    found = checks.given(backend.service.name, f"{at}.service.name")
    port = backend.service.port
    if port is None or not (port.name or port.number):
        found.append(errors.required(at, "port name or number is required"))
    elif port.number:
        found += checks.port(port.number, f"{at}.service.port.number")
    return found


class NetworkPolicyStrategy(Strategy):
    generation = True

    def default(self, obj: Any) -> None:
        if not obj.spec.policy_types:
            obj.spec.policy_types = ["Ingress", "Egress"] if obj.spec.egress else ["Ingress"]
        for rule in [*obj.spec.ingress, *obj.spec.egress]:
            for port in rule.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: Any) -> list[FieldError]:
        found: list[FieldError] = []
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
            if port.end_port is not None and isinstance(port.port, int) and port.end_port < port.port:
                why = "must be greater than or equal to `port`"
                found.append(errors.invalid_value(f"{at}.endPort", port.end_port, why))
        for index, peer in enumerate(peers):
            at, block = f"{path}.{direction}[{index}].ipBlock", peer.ip_block
            if block is None:
                continue
            wrong = checks.network(block.cidr, f"{at}.cidr") if block.cidr else [errors.required(f"{at}.cidr")]
            for number, cidr in enumerate(block.except_ if not wrong else ()):
                where = f"{at}.except[{number}]"
                bad = checks.network(cidr, where)
                wrong += bad
                if not bad and not _inside(cidr, block.cidr):
                    wrong.append(errors.invalid_value(where, cidr, "must be a strict subset of `cidr`"))
            found += wrong
        return found


def _inside(inner: str, outer: str) -> bool:
    small, large = (ipaddress.ip_network(text, strict=False) for text in (inner, outer))
    if small.version != large.version or small == large:
        return False
    return small.subnet_of(large)  # type: ignore[arg-type]


class IPAddressStrategy(Strategy):
    name_errors = staticmethod(lambda name: [] if is_ip(name) else ["must be a valid IP address"])
