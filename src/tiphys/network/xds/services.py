"""Services and endpoint slices as xDS resources: the one compiler of what both gRPC clients and
Envoy use.

A port of a service is a cluster named ``NAME.NAMESPACE:PORT`` with its endpoints by zone, and for
gRPC clients that resolve ``xds:///NAME.NAMESPACE:PORT`` a listener and a route of the same name
(gRFC A27).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    config_source_pb2,
    health_check_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import api_listener_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from tiphys.api import core_v1, discovery_v1
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, Message

REGION = "kubernetes"
"""The region of every locality; zones are the endpoints' own."""
_CONNECT = Duration(seconds=1)
_ROUTER = "envoy.filters.http.router"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod behind a port of a service."""

    address: str
    port: int
    zone: str
    is_healthy: bool


def cluster_name(service: core_v1.Service, port: core_v1.ServicePort) -> str:
    return f"{service.metadata.name}.{service.metadata.namespace}:{port.port}"


def resources_of(
    service: core_v1.Service, slices: Iterable[discovery_v1.EndpointSlice]
) -> dict[str, dict[str, Message]]:
    """Every resource of a service by type and name. One without TCP ports has none."""
    resources: dict[str, dict[str, Message]] = {LISTENER: {}, ROUTE: {}, CLUSTER: {}, ENDPOINTS: {}}
    slices = list(slices)
    for port in service.spec.ports:
        if (port.protocol or "TCP") != "TCP":
            continue
        name = cluster_name(service, port)
        resources[LISTENER][name] = api_listener(name)
        resources[ROUTE][name] = route(name)
        resources[CLUSTER][name] = cluster(name)
        resources[ENDPOINTS][name] = assignment(name, endpoints_of(slices, port.name))
    return resources


def endpoints_of(
    slices: Iterable[discovery_v1.EndpointSlice], port_name: str
) -> Iterator[Endpoint]:
    """The endpoints of a named port. Of a dual-stack service the IPv4 ones are used: each pod once.

    What is ready is healthy. What terminates and still serves is kept, unhealthy, so that calls to
    it may end.
    """
    listed = [
        endpoint_slice
        for endpoint_slice in slices
        if endpoint_slice.address_type in ("IPv4", "IPv6")
    ]
    if any(endpoint_slice.address_type == "IPv4" for endpoint_slice in listed):
        listed = [
            endpoint_slice for endpoint_slice in listed if endpoint_slice.address_type == "IPv4"
        ]
    for endpoint_slice in listed:
        number = next(
            (p.port for p in endpoint_slice.ports if (p.name or "") == (port_name or "")), None
        )
        if not number:
            continue
        for endpoint in endpoint_slice.endpoints:
            conditions = endpoint.conditions
            is_ready = conditions.ready is not False
            if endpoint.addresses and (is_ready or conditions.serving):
                yield Endpoint(endpoint.addresses[0], number, endpoint.zone or "", is_ready)


def assignment(name: str, endpoints: Iterable[Endpoint]) -> endpoint_pb2.ClusterLoadAssignment:
    """Endpoints by zone. A zone weighs as much as it has healthy endpoints, so that every pod gets
    the same."""
    by_zone: dict[str, set[Endpoint]] = {}
    for endpoint in endpoints:
        by_zone.setdefault(endpoint.zone, set()).add(endpoint)
    load_assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for zone in sorted(by_zone):
        members = sorted(by_zone[zone], key=lambda member: (member.address, member.port))
        weight = sum(member.is_healthy for member in members)
        if weight == 0:
            continue
        load_assignment.endpoints.append(
            endpoint_components_pb2.LocalityLbEndpoints(
                locality=base_pb2.Locality(region=REGION, zone=zone),
                load_balancing_weight=UInt32Value(value=weight),
                lb_endpoints=[_lb_endpoint(member) for member in members],
            )
        )
    return load_assignment


def _lb_endpoint(endpoint: Endpoint) -> endpoint_components_pb2.LbEndpoint:
    state = health_check_pb2.HEALTHY if endpoint.is_healthy else health_check_pb2.DRAINING
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=socket(endpoint.address, endpoint.port)),
        health_status=state,
        load_balancing_weight=UInt32Value(value=1),
    )


def socket(address: str, port: int) -> address_pb2.Address:
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=address, port_value=port)
    )


def over_ads() -> config_source_pb2.ConfigSource:
    """From the stream that the resource itself came over."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
    )


def cluster(name: str) -> cluster_pb2.Cluster:
    message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.DiscoveryType.EDS,
        lb_policy=cluster_pb2.Cluster.LbPolicy.ROUND_ROBIN,
        connect_timeout=_CONNECT,
    )
    # Named as such, round robin takes all endpoints of all zones in turn (gRFC A52). By `lb_policy`
    # alone gRPC would first choose a zone by lot.
    evenly = message.load_balancing_policy.policies.add().typed_extension_config
    evenly.name = "envoy.load_balancing_policies.round_robin"
    evenly.typed_config.CopyFrom(packed(round_robin_pb2.RoundRobin()))
    message.eds_cluster_config.eds_config.CopyFrom(over_ads())
    message.eds_cluster_config.service_name = name
    return message


def route(name: str) -> route_pb2.RouteConfiguration:
    """Everything to the cluster of the same name."""
    entry = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix=""),
        route=route_components_pb2.RouteAction(cluster=name),
    )
    host = route_components_pb2.VirtualHost(name=name, domains=["*"], routes=[entry])
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def api_listener(name: str) -> listener_pb2.Listener:
    """What a gRPC client asks for first: it listens nowhere."""
    http = http_connection_manager_pb2.HttpConnectionManager(
        rds=http_connection_manager_pb2.Rds(route_config_name=name, config_source=over_ads()),
        http_filters=[
            http_connection_manager_pb2.HttpFilter(
                name=_ROUTER, typed_config=packed(router_pb2.Router())
            )
        ],
    )
    return listener_pb2.Listener(
        name=name, api_listener=api_listener_pb2.ApiListener(api_listener=packed(http))
    )


def packed(message: object) -> AnyMessage:
    any_message = AnyMessage()
    any_message.Pack(message)
    return any_message
