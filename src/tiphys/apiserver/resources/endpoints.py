"""Endpoints, the older form of endpoint slices."""

from __future__ import annotations

from tiphys.api.core_v1 import EndpointPort, Endpoints
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column, shortened
from tiphys.apiserver.resources.endpointaddresses import endpoint_address
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors

_PROTOCOLS = ("SCTP", "TCP", "UDP")


def _endpoints(endpoints: Endpoints) -> str:
    shown = []
    for subset in endpoints.subsets:
        addresses = [address.ip for address in subset.addresses]
        if not subset.ports:
            shown += addresses
        for port in subset.ports:
            shown += [f"{address}:{port.port}" for address in addresses]
    return shortened(shown, "<none>")


class EndpointsStrategy(Strategy[Endpoints]):
    create_on_update = True
    columns = (NAME, Column("Endpoints", _endpoints), AGE)
    deprecation = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"

    def default(self, obj: Endpoints) -> None:
        for subset in obj.subsets:
            for port in subset.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: Endpoints) -> list[FieldError]:
        violations = []
        for number, subset in enumerate(obj.subsets):
            path = f"subsets[{number}]"
            named = len(subset.ports) > 1
            for index, port in enumerate(subset.ports):
                violations += _port(port, named, f"{path}.ports[{index}]")
            for kind, addresses in (
                ("addresses", subset.addresses),
                ("notReadyAddresses", subset.not_ready_addresses),
            ):
                for index, address in enumerate(addresses):
                    field = f"{path}.{kind}[{index}].ip"
                    violations += endpoint_address(address.ip, field, obj.metadata)
        return violations


def _port(port: EndpointPort, named: bool, path: str) -> list[FieldError]:
    """`named`: it must have a name, as there are several."""
    violations = checks.required(port.name, f"{path}.name") if named else []
    violations += checks.named(port.name, dns_label_errors, f"{path}.name")
    violations += checks.port(port.port, f"{path}.port")
    violations += checks.one_of(port.protocol, _PROTOCOLS, f"{path}.protocol")
    return violations + checks.qualified(port.app_protocol, f"{path}.appProtocol")
