"""What a sidecar does with what comes to its pod: who proves an identity is let in and the
container told of it; who does not, only where the namespace permits it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import health_check_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2 as health_filter_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf.duration_pb2 import Duration

from tiphys.addons.mesh import filters, telemetry, transport
from tiphys.addons.mesh.ports import INBOUND, PROBES
from tiphys.addons.mesh.probes import Probe
from tiphys.network.xds import services
from tiphys.network.xds.cache import CLUSTER, LISTENER, Message

STRICT = "Strict"
_POD = "pod"
_READY = "ready"
_SNIFFING = Duration(seconds=1)  # who waits for the server to speak first is waited for this long
_RETRIES = 2
_LOCAL = "127.0.0.1"


def resources_of(
    mode: str, domain: str, lifetime: int, probes: Mapping[str, Probe]
) -> dict[str, dict[str, Message]]:
    """Every resource of one pod's sidecar that is not everybody's, by type and name.

    A connection lives for `lifetime` seconds: then the peer has to prove its identity again.
    """
    clusters: dict[str, Message] = {
        _POD: filters.original_destination(_POD),
        _READY: _ready_cluster(),
    }
    clusters |= {_probe_name(name): _probe_cluster(name, one) for name, one in probes.items()}
    inbound_listener = listener(mode, domain, lifetime)
    return {
        LISTENER: {"inbound": inbound_listener, "probes": probe_listener(probes)},
        CLUSTER: clusters,
    }


def listener(mode: str, domain: str, lifetime: int) -> listener_pb2.Listener:
    config = listener_pb2.Listener(
        name="inbound",
        address=services.socket("0.0.0.0", INBOUND),
        listener_filters_timeout=_SNIFFING,
        continue_on_listener_filters_timeout=True,
        filter_chains=filters.no_circles(),
    )
    for filter_ in (
        filters.ORIGINAL_DESTINATION,
        filters.TLS_INSPECTOR,
        filters.HTTP_INSPECTOR,
    ):
        filters.add_listener_filter(config, *filter_)
    http = filters.http_chain("mesh-http", _manager(proven=True, lifetime=lifetime))
    stream = filters.stream_chain("mesh-tcp", filters.stream_to(_POD))
    for chain, protocol in ((http, transport.HTTP), (stream, transport.STREAM)):
        chain.filter_chain_match.transport_protocol = "tls"
        chain.filter_chain_match.application_protocols.append(protocol)
        chain.transport_socket.CopyFrom(transport.server(protocol, domain))
        config.filter_chains.append(chain)
    if mode != STRICT:
        plain = filters.http_chain("plain-http", _manager(proven=False, lifetime=0))
        plain.filter_chain_match.transport_protocol = "raw_buffer"
        plain.filter_chain_match.application_protocols.extend(filters.PLAIN_HTTP)
        config.filter_chains.append(plain)
        anything = filters.stream_chain("plain-tcp", filters.stream_to(_POD))
        config.default_filter_chain.CopyFrom(anything)
    return config


def _manager(proven: bool, lifetime: int) -> Any:
    """With `proven` the container gets the peer's identity (x-forwarded-client-cert); what a
    peer sends itself of that is removed either way."""
    log = telemetry.access_log("destination", telemetry.INBOUND, "%DOWNSTREAM_LOCAL_PORT%")
    config = filters.manager()
    config.access_log.append(log)
    config.forward_client_cert_details = filters.Manager.SANITIZE_SET if proven else 0
    if proven:
        config.set_current_client_cert_details.uri = True
        config.common_http_protocol_options.max_connection_duration.seconds = lifetime
        config.http1_safe_max_connection_duration = True  # ends with an answer, never before one
    action = route_components_pb2.RouteAction(cluster=_POD, timeout=Duration())
    filters.retry_safely(action, _RETRIES)
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/"),
        route=action,
        response_headers_to_remove=[filters.UNREACHED],  # only a sidecar may say so
    )
    host = config.route_config.virtual_hosts.add(name="pod", domains=["*"])
    host.routes.append(route)
    for retriable, flags in (("yes", ["UF", "UH"]), ("maybe", ["UC"])):
        config.local_reply_config.mappers.append(_unreached(retriable, flags))
    return config


def _unreached(retriable: str, flags: list[str]) -> Any:
    """Marks Envoy's own answer by its reasons (flags of its access log)."""
    mapper = http_connection_manager_pb2.ResponseMapper(
        filter=accesslog_pb2.AccessLogFilter(
            response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=flags)
        )
    )
    header = mapper.headers_to_add.add()
    header.header.key = filters.UNREACHED
    header.header.value = retriable
    return mapper


# --- probes ---


def probe_listener(probes: Mapping[str, Probe]) -> listener_pb2.Listener:
    """On a port of its own, for the kubelet. ``/ready`` reports that the sidecar is."""
    manager = filters.manager()
    host = manager.route_config.virtual_hosts.add(name="probes", domains=["*"])
    manager.http_filters.insert(0, _health_filter("/ready", _READY))
    for name, probe in probes.items():
        if probe.kind in ("http", "https"):
            host.routes.append(_probe_route(name, probe))
        else:
            checked = _health_filter(f"/probes/{name}", _probe_name(name))
            manager.http_filters.insert(0, checked)
    listening = listener_pb2.Listener(name="probes", address=services.socket("0.0.0.0", PROBES))
    listening.filter_chains.append(filters.http_chain("probes", manager))
    return listening


def _probe_name(name: str) -> str:
    return f"probe/{name}"


def _probe_route(name: str, probe: Probe) -> route_components_pb2.Route:
    route = route_components_pb2.Route()
    route.match.path = f"/probes/{name}"
    route.route.cluster = _probe_name(name)
    route.route.prefix_rewrite = probe.path
    route.route.timeout.SetInParent()  # the kubelet's is shorter
    return route


def _local(name: str, port: int) -> cluster_pb2.Cluster:
    config = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.DiscoveryType.STATIC,
        connect_timeout=Duration(seconds=5),
    )
    config.load_assignment.cluster_name = name
    group = config.load_assignment.endpoints.add()
    group.lb_endpoints.add().endpoint.address.CopyFrom(services.socket(_LOCAL, port))
    return config


def _ready_cluster() -> cluster_pb2.Cluster:
    """Whether the sidecar accepts connections: its listener waits for its certificate."""
    config = _local(_READY, INBOUND)
    check = _check(Duration(nanos=100_000_000))
    check.no_traffic_healthy_interval.seconds = 10
    check.tcp_health_check.SetInParent()
    config.health_checks.append(check)
    return config


def _probe_cluster(name: str, probe: Probe) -> cluster_pb2.Cluster:
    config = _local(_probe_name(name), probe.port)
    if probe.kind == "https":  # as the kubelet: without looking at the certificate
        config.transport_socket.name = "envoy.transport_sockets.tls"
        config.transport_socket.typed_config.CopyFrom(services.packed(tls_pb2.UpstreamTlsContext()))
    elif probe.kind in ("tcp", "grpc"):
        config.health_checks.append(_health_check(probe))
        filters.speak_http2(config)
    return config


def _check(interval: Duration) -> health_check_pb2.HealthCheck:
    """Each on a connection of its own; one is enough to change one's mind."""
    config = health_check_pb2.HealthCheck(
        timeout=Duration(seconds=1), interval=interval, no_traffic_interval=interval
    )
    config.reuse_connection.value = False
    config.unhealthy_threshold.value = 1
    config.healthy_threshold.value = 1
    return config


def _health_check(probe: Probe) -> health_check_pb2.HealthCheck:
    config = _check(Duration(seconds=1))
    if probe.kind == "grpc":
        config.grpc_health_check.service_name = probe.service
    else:
        config.tcp_health_check.SetInParent()
    return config


def _health_filter(path: str, cluster: str) -> Any:
    """Answers with what came of the last check of a cluster: 200 or 503."""
    config = health_filter_pb2.HealthCheck()
    config.pass_through_mode.value = False
    config.headers.add(name=":path").string_match.exact = path
    config.cluster_min_healthy_percentages[cluster].value = 100.0
    return http_connection_manager_pb2.HttpFilter(
        name=f"check{path}".replace("/", "-"), typed_config=services.packed(config)
    )
