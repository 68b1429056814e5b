"""Endpoint slices."""

from __future__ import annotations

from typing import Any

from tiphys.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column, joined, shortened
from tiphys.apiserver.resources.endpointaddresses import endpoint_address
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, is_ip

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MOST_ENDPOINTS = 1000


def _ports(endpoint_slice: EndpointSlice) -> str:
    numbers = (port.port for port in endpoint_slice.ports)
    return joined(("*" if number is None else number for number in numbers), "<unset>")


def _endpoints(endpoint_slice: EndpointSlice) -> str:
    endpoints = endpoint_slice.endpoints
    addresses = [address for endpoint in endpoints for address in endpoint.addresses]
    return shortened(addresses, "<unset>")


class EndpointSliceStrategy(Strategy[EndpointSlice]):
    columns = (
        NAME,
        Column("AddressType", lambda o: o.address_type),
        Column("Ports", _ports),
        Column("Endpoints", _endpoints),
        AGE,
    )
    generation = True

    def desired(self, obj: EndpointSlice) -> Any:
        return obj.endpoints, obj.ports

    def default(self, obj: EndpointSlice) -> None:
        for port in obj.ports:
            port.name = port.name or ""
            port.protocol = port.protocol or "TCP"

    def validate(self, obj: EndpointSlice) -> list[FieldError]:
        if not obj.address_type:
            return [errors.required("addressType")]
        if obj.address_type not in _ADDRESS_TYPES:
            return [errors.not_supported("addressType", obj.address_type, _ADDRESS_TYPES)]
        violations = []
        for index, endpoint in enumerate(obj.endpoints):
            violations += _endpoint(endpoint, obj, f"endpoints[{index}]")
        if len(obj.endpoints) > _MOST_ENDPOINTS:
            violations.append(errors.too_many("endpoints", len(obj.endpoints), _MOST_ENDPOINTS))
        seen: set[str] = set()
        for index, port in enumerate(obj.ports):
            violations += _port(port, seen, f"ports[{index}]")
        return violations

    def validate_update(self, new: EndpointSlice, old: EndpointSlice) -> list[FieldError]:
        return immutable("addressType", new.address_type, old.address_type)


def _endpoint(endpoint: Endpoint, endpoint_slice: EndpointSlice, path: str) -> list[FieldError]:
    detail = "must contain at least 1 address"
    violations = checks.required(endpoint.addresses, f"{path}.addresses", detail)
    if endpoint_slice.address_type != "FQDN":
        violations += _addresses(endpoint.addresses, endpoint_slice, f"{path}.addresses")
    violations += checks.named(endpoint.node_name or "", dns_subdomain_errors, f"{path}.nodeName")
    return violations + checks.named(endpoint.hostname or "", dns_label_errors, f"{path}.hostname")


def _addresses(addresses: list[str], endpoint_slice: EndpointSlice, path: str) -> list[FieldError]:
    violations = []
    family = endpoint_slice.address_type
    for index, address in enumerate(addresses):
        violations += endpoint_address(address, f"{path}[{index}]", endpoint_slice.metadata)
        if is_ip(address) and (":" in address) != (family == "IPv6"):
            violations.append(errors.invalid_value(path, address, f"must be an {family} address"))
    return violations


def _port(port: EndpointPort, seen: set[str], path: str) -> list[FieldError]:
    """`seen` are the names of the ports before it, and gets this one's."""
    name = port.name or ""
    violations = checks.named(name, dns_label_errors, f"{path}.name")
    violations += checks.port(port.port, f"{path}.port")
    if name in seen:
        violations.append(errors.duplicate(f"{path}.name", name))
    seen.add(name)
    violations += checks.one_of(port.protocol, _PROTOCOLS, f"{path}.protocol")
    return violations + checks.qualified(port.app_protocol, f"{path}.appProtocol")
