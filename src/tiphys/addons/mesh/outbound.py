"""What sidecars do with what their pods send: for each port of a service a listener, a route and
clusters, the same for all sidecars. Pure.

Everything else goes where the container wanted, as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from tiphys.addons.mesh import filters, telemetry, transport
from tiphys.addons.mesh.ports import OUTBOUND
from tiphys.addons.mesh.routing import route_for, seconds
from tiphys.addons.mesh.types import ServiceRoute
from tiphys.api import core_v1, discovery_v1
from tiphys.network.xds import services
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, Message

_RETRIES = 2  # of what has not reached a server, without a route that configures it
_MATCH = "envoy.transport_socket_match"
_MESH = "mesh"
_PASS = "passthrough"
_SNIFFING = Duration(seconds=1)
_HTTP_WORDS = ("http", "http2", "grpc", "h2c", "kubernetes.io/h2c", "kubernetes.io/ws")
_STREAM_WORDS = ("tcp", "tls", "https", "kubernetes.io/wss", "mongo", "mysql", "redis")
Protocol = Literal["http", "tcp", ""]


@dataclass(frozen=True)
class Member:
    """A pod with a sidecar, by its address: its identity."""

    address: str
    identity: str


@dataclass(frozen=True)
class Target:
    """A service, and what the mesh knows around it. `members` are pods behind it; `fallback` begins
    every identity of its namespace."""

    service: core_v1.Service
    slices: Sequence[discovery_v1.EndpointSlice] = ()
    members: Sequence[Member] = ()
    routes: Sequence[ServiceRoute] = ()
    is_strict: bool = False
    fallback: str = field(default="spiffe://")


Resources = dict[str, dict[str, Message]]


def common() -> Resources:
    """What every sidecar has, independent of services."""
    listener = listener_pb2.Listener(
        name="outbound",
        address=services.socket("0.0.0.0", OUTBOUND),
        use_original_dst=BoolValue(value=True),
        filter_chains=filters.no_circles(),
        default_filter_chain=filters.stream_chain("passthrough", filters.stream_to(_PASS)),
    )
    filters.add_listener_filter(listener, *filters.ORIGINAL_DESTINATION)
    return {LISTENER: {"outbound": listener}, CLUSTER: {_PASS: filters.original_destination(_PASS)}}


def protocol_of(port: core_v1.ServicePort) -> Protocol:
    """By `appProtocol`, or else the word that the port's name starts with, as Istio reads it; empty
    where neither is set: then the first bytes of each connection decide."""
    word = (port.app_protocol or "").lower() or (port.name or "").partition("-")[0]
    if word in _HTTP_WORDS:
        return "http"
    return "tcp" if word in _STREAM_WORDS else ""


def resources_of(target: Target) -> Resources:
    """Every resource of a service by type and name."""
    resources: Resources = {LISTENER: {}, ROUTE: {}, CLUSTER: {}, ENDPOINTS: {}}
    service = target.service
    for port in service.spec.ports:
        if (port.protocol or "TCP") != "TCP":
            continue
        name = services.cluster_name(service, port)
        protocol = protocol_of(port)
        assigned = _endpoints(target, name, port.name or "")
        for form in ("http", "tcp"):
            if protocol in ("", form):
                own = _cluster_name(name, form)
                resources[CLUSTER][own] = _cluster(target, name, form)
        resources[ENDPOINTS][name] = assigned
        address = service.spec.cluster_ip or ""
        if address in ("", "None"):
            continue
        if protocol in ("", "http"):
            route = route_for(target.routes, service.metadata.name, port.port)
            resources[ROUTE][name] = _routes(name, service.metadata.namespace, route)
        resources[LISTENER][name] = _listener(name, address, port.port, protocol)
    return resources


def _cluster_name(name: str, form: str) -> str:
    return name if form == "http" else f"{name}/tcp"


# --- listeners ---


def _listener(name: str, address: str, port: int, protocol: Protocol) -> listener_pb2.Listener:
    """Bound to nothing: the listener of everything outbound hands over what is for it."""
    config = listener_pb2.Listener(
        name=name, address=services.socket(address, port), bind_to_port=BoolValue(value=False)
    )
    stream = filters.stream_chain("tcp", filters.stream_to(_cluster_name(name, "tcp")))
    if protocol == "tcp":
        config.filter_chains.append(stream)
        return config
    http = filters.http_chain("http", _manager(name))
    config.filter_chains.append(http)
    if not protocol:
        http = config.filter_chains[0]
        http.filter_chain_match.application_protocols.extend(filters.PLAIN_HTTP)
        config.default_filter_chain.CopyFrom(stream)
        filters.add_listener_filter(config, *filters.HTTP_INSPECTOR)
        config.listener_filters_timeout.CopyFrom(_SNIFFING)
        config.continue_on_listener_filters_timeout = True
    return config


def _manager(name: str) -> Any:
    config = filters.manager()
    config.access_log.append(telemetry.access_log("source", telemetry.OUTBOUND, name))
    config.rds.CopyFrom(
        http_connection_manager_pb2.Rds(route_config_name=name, config_source=services.over_ads())
    )
    return config


# --- routes ---


def _routes(name: str, namespace: str, route: ServiceRoute | None) -> route_pb2.RouteConfiguration:
    """Two entries that differ in what is sent again: methods that change nothing (RFC 9110, "safe")
    are when a connection broke before the answer."""
    host = route_components_pb2.VirtualHost(name="all", domains=["*"])
    for changes_nothing in (True, False):
        entry = host.routes.add(response_headers_to_remove=[filters.UNREACHED])
        entry.match.prefix = "/"
        if changes_nothing:
            method = entry.match.headers.add(name=":method").string_match
            method.safe_regex.regex = "GET|HEAD|OPTIONS|TRACE"
        _send(entry.route, changes_nothing)
        if route is not None:
            _follow(entry.route, route)
        _choose(entry.route, name, namespace, route)
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def _send(action: route_components_pb2.RouteAction, changes_nothing: bool) -> None:
    action.timeout.SetInParent()
    action.cluster_not_found_response_code = action.INTERNAL_SERVER_ERROR
    policy = filters.retry_safely(action, _RETRIES)
    policy.retry_on += ",retriable-headers"
    unreached = policy.retriable_headers.add(name=filters.UNREACHED)
    if changes_nothing:
        policy.retry_on += ",reset"
        unreached.present_match = True
    else:
        unreached.string_match.exact = "yes"
    predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.CopyFrom(services.packed(previous_hosts_pb2.PreviousHostsPredicate()))
    policy.host_selection_retry_max_attempts = 5


def _follow(action: route_components_pb2.RouteAction, route: ServiceRoute) -> None:
    timeouts = route.spec.timeouts
    policy = action.retry_policy
    if timeouts is not None and timeouts.request:
        action.timeout.CopyFrom(_duration(timeouts.request))
    if timeouts is not None and timeouts.backend_request:
        policy.per_try_timeout.CopyFrom(_duration(timeouts.backend_request))
    retry = route.spec.retry
    if retry is None:
        return
    policy.retry_on += ",reset"
    policy.num_retries.value = retry.attempts
    if retry.codes:
        policy.retry_on += ",retriable-status-codes"
        policy.retriable_status_codes.extend(sorted(set(retry.codes)))
    if retry.backoff and seconds(retry.backoff):
        policy.retry_back_off.base_interval.CopyFrom(_duration(retry.backoff))


def _choose(
    action: route_components_pb2.RouteAction,
    name: str,
    namespace: str,
    route: ServiceRoute | None,
) -> None:
    """A backend that is not there keeps its share, which fails with 500."""
    backends = route.spec.backend_refs if route is not None else []
    shares = [(f"{one.name}.{namespace}:{one.port}", one.weight) for one in backends]
    if not shares:
        action.cluster = name
    elif not any(weight for _, weight in shares):
        action.cluster = filters.NOWHERE
    for cluster_name, weight in shares if any(weight for _, weight in shares) else ():
        if weight:
            share = action.weighted_clusters.clusters.add(name=cluster_name)
            share.weight.value = weight


def _duration(text: str) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds(text) * 1000))
    return duration


# --- clusters ---


def _cluster(target: Target, name: str, form: str) -> cluster_pb2.Cluster:
    """Pods of the mesh are spoken to by mutual TLS. Others as they are, unless the namespace is
    strict: then there are no connections to servers that cannot prove their identity."""
    config = services.cluster(name)
    config.name = _cluster_name(name, form)
    # A dot would part it in the names of metrics.
    config.alt_stat_name = config.name.replace(".", "_")
    config.ClearField("load_balancing_policy")
    policy = config.load_balancing_policy.policies.add().typed_extension_config
    policy.name = "envoy.load_balancing_policies.least_request"
    policy.typed_config.CopyFrom(services.packed(least_request_pb2.LeastRequest()))
    config.common_lb_config.healthy_panic_threshold.value = 0.0
    config.connect_timeout.seconds = 2
    filters.speak_as_asked(config)
    filters.no_limits(config)
    identities = {one.identity for one in target.members}
    protocol = transport.HTTP if form == "http" else transport.STREAM
    proven = transport.client(protocol, identities, target.fallback)
    if target.is_strict:
        config.transport_socket.CopyFrom(proven)
        return config
    match = config.transport_socket_matches.add(name=_MESH)
    match.match[_MESH] = "yes"
    match.transport_socket.CopyFrom(proven)
    return config


def _endpoints(target: Target, name: str, port: str) -> Any:
    assignment = services.assignment(name, services.endpoints_of(target.slices, port))
    members = {one.address for one in target.members}
    marked = base_pb2.Metadata()
    marked.filter_metadata[_MATCH].update({_MESH: "yes"})
    for group in assignment.endpoints:
        for endpoint in group.lb_endpoints:
            if endpoint.endpoint.address.socket_address.address in members:
                endpoint.metadata.CopyFrom(marked)
    return assignment


def changes(before: Mapping[str, Iterable[str]], resources: Resources) -> dict[str, dict[str, Any]]:
    """The update of a cache that had resources of these names, by type."""
    return {
        type_url: {
            **dict.fromkeys(set(before.get(type_url, ())) - set(resources.get(type_url, {}))),
            **resources.get(type_url, {}),
        }
        for type_url in {*before, *resources}
    }
