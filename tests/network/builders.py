"""Services and endpoint slices, small."""

from __future__ import annotations

from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta

SERVICE_NAME = "kubernetes.io/service-name"


def service(name: str = "s", ip: str = "10.96.0.9", **spec: object) -> core_v1.Service:
    """A service of namespace d with one port, http at 80; `spec` replaces fields."""
    built = core_v1.Service(metadata=ObjectMeta(name=name, namespace="d"))
    built.spec.cluster_ip = ip
    built.spec.type = "ClusterIP"
    built.spec.ports = [port("http", 80)]
    for key, value in spec.items():
        setattr(built.spec, key, value)
    return built


def port(name: str, number: int, protocol: str = "TCP", node_port: int = 0) -> core_v1.ServicePort:
    return core_v1.ServicePort(name=name, port=number, protocol=protocol, node_port=node_port)


def endpoint(
    *addresses: str,
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    node: str = "n1",
    hostname: str | None = None,
) -> discovery_v1.Endpoint:
    """`serving` is as `ready` where nothing is said."""
    conditions = discovery_v1.EndpointConditions(
        ready=ready, serving=ready if serving is None else serving, terminating=terminating
    )
    return discovery_v1.Endpoint(
        addresses=list(addresses), conditions=conditions, node_name=node, hostname=hostname
    )


def slice_with(
    name: str,
    endpoints: list[discovery_v1.Endpoint],
    ports: tuple[tuple[str | None, int | None, str | None], ...] = (("http", 8080, "TCP"),),
) -> discovery_v1.EndpointSlice:
    """A slice of the service `name`; ports are (name, number, protocol)."""
    built = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="d", labels={SERVICE_NAME: name}),
        address_type="IPv4",
    )
    built.endpoints = endpoints
    built.ports = [
        discovery_v1.EndpointPort(name=name, port=number, protocol=protocol)
        for name, number, protocol in ports
    ]
    return built


def slice_of(name: str, *addresses: str, ready: bool = True) -> discovery_v1.EndpointSlice:
    """One with an endpoint on node n1 for each address."""
    return slice_with(name, [endpoint(address, ready=ready) for address in addresses])
