"""What both directions are made of: filters of listeners, HTTP managers that change nothing, and
connections to where a client wanted to go."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from tiphys.addons.mesh.ports import RESERVED
from tiphys.network.xds import services

Manager: Any = http_connection_manager_pb2.HttpConnectionManager
NOWHERE = "nowhere"
"""A cluster that there is not: connections to it are closed."""
UNREACHED = "x-tiphys-mesh-unreached"
"""Header of an answer that a server's sidecar gives by itself. ``yes``: the request has reached no
container, and may be sent again, whatever it is. ``maybe``: the connection broke before an answer,
as it does when a container ends; what changes nothing may be sent again."""
SAFE = "connect-failure,refused-stream,reset-before-request"
"""What may be sent again whatever the method: none of it reached a server."""
PLAIN_HTTP = ("http/1.0", "http/1.1", "h2c")
"""What the inspector reports of a connection that speaks HTTP."""
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MOST = 100_000
_IDLE = 60  # seconds; servers wait longer for the next request (aiohttp and nginx: 75)

ORIGINAL_DESTINATION = ("original_dst", original_dst_pb2.OriginalDst())
TLS_INSPECTOR = ("tls_inspector", tls_inspector_pb2.TlsInspector())
HTTP_INSPECTOR = ("http_inspector", http_inspector_pb2.HttpInspector())


def add_listener_filter(listener: Any, name: str, config: Any) -> None:
    added = listener.listener_filters.add(name=f"envoy.filters.listener.{name}")
    added.typed_config.CopyFrom(services.packed(config))


def manager() -> Any:
    """Passes everything on as it is: no header of a client is believed or taken away, and nothing
    is too slow."""
    config = Manager(
        stat_prefix="http",
        use_remote_address=BoolValue(value=False),
        skip_xff_append=True,
        generate_request_id=BoolValue(value=False),
        preserve_external_request_id=True,
        server_header_transformation=Manager.PASS_THROUGH,
        stream_idle_timeout=Duration(seconds=0),
    )
    config.upgrade_configs.add(upgrade_type="websocket")
    router = router_pb2.Router(suppress_envoy_headers=True)
    filter_ = config.http_filters.add(name="envoy.filters.http.router")
    filter_.typed_config.CopyFrom(services.packed(router))
    return config


def http_chain(name: str, http_manager: Any) -> listener_components_pb2.FilterChain:
    chain = listener_components_pb2.FilterChain(name=name)
    filter_ = chain.filters.add(name="envoy.filters.network.http_connection_manager")
    filter_.typed_config.CopyFrom(services.packed(http_manager))
    return chain


def stream_chain(name: str, proxy: tcp_proxy_pb2.TcpProxy) -> listener_components_pb2.FilterChain:
    chain = listener_components_pb2.FilterChain(name=name)
    filter_ = chain.filters.add(name="envoy.filters.network.tcp_proxy")
    filter_.typed_config.CopyFrom(services.packed(proxy))
    return chain


def stream_to(cluster: str) -> tcp_proxy_pb2.TcpProxy:
    return tcp_proxy_pb2.TcpProxy(stat_prefix="tcp", cluster=cluster, idle_timeout=Duration())


def no_circles() -> list[listener_components_pb2.FilterChain]:
    """Chains that close what is sent to the sidecar's own ports: passed on, it would come back for
    ever."""
    chains = []
    for port in RESERVED:
        chain = stream_chain(f"reserved-{port}", stream_to(NOWHERE))
        chain.filter_chain_match.destination_port.value = port
        chains.append(chain)
    return chains


def original_destination(name: str) -> cluster_pb2.Cluster:
    """Connections to where the client wanted to go."""
    config = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.DiscoveryType.ORIGINAL_DST,
        lb_policy=cluster_pb2.Cluster.LbPolicy.CLUSTER_PROVIDED,
        connect_timeout=Duration(seconds=5),
    )
    speak_as_asked(config)
    no_limits(config)
    return config


def no_limits(cluster: cluster_pb2.Cluster) -> None:
    """Envoy's own allow 1,024 of everything and three retries at a time: of 50 requests a second
    two were not sent again when a pod ended. Retries are a fifth of what is under way, or fifty."""
    limits = cluster.circuit_breakers.thresholds.add()
    for field in ("max_connections", "max_pending_requests", "max_requests"):
        getattr(limits, field).value = _MOST
    limits.retry_budget.budget_percent.value = 20.0
    limits.retry_budget.min_retry_concurrency.value = 50


def speak_as_asked(cluster: cluster_pb2.Cluster) -> None:
    """To the server in the protocol of the client's request: HTTP/2 or HTTP/1."""
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.seconds = _IDLE
    options.use_downstream_protocol_config.http_protocol_options.SetInParent()
    options.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(services.packed(options))


def speak_http2(cluster: cluster_pb2.Cluster) -> None:
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(services.packed(options))


def retry_safely(action: route_components_pb2.RouteAction, times: int) -> Any:
    """Sends again what has not reached a server. Returns the policy, to say more."""
    policy = action.retry_policy
    policy.retry_on = SAFE
    policy.num_retries.value = times
    return policy
