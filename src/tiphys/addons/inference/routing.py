"""Routes as Envoy's resources (pure)."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.load_balancing_policies.common.v3 import common_pb2 as policy_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value, UInt64Value

from tiphys.addons.authority import Pair
from tiphys.addons.inference.routes import Route
from tiphys.network.xds import services

_MANAGER = http_connection_manager_pb2.HttpConnectionManager
_ACTION = route_components_pb2.RouteAction
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LARGEST = 16 << 20  # bytes of a request, which is held until its prefix is known
_BALANCE = 150  # percent of the average load that a pod may have before its prefixes go elsewhere
_SLOWEST = 3600  # seconds that an answer may take: models speak long
PREFIX_HEADER = "x-tiphys-prefix"
SESSION_HEADER = "x-amzn-sagemaker-session-id"
PREFIX_CHARACTERS = 256
"""Of a prompt, by which requests are distinguished. vLLM's router compares in pieces of 128."""

# The prompt starts after the first of the keys under which servers take it; what comes before
# (the model's name, temperatures) may be the same for everybody. JSON's own rules do not matter:
# equal bytes are equal prefixes.
_LUA = """
local keys = {'"messages"', '"prompt"', '"inputs"', '"input"', '"text"'}
function envoy_on_request(handle)
  handle:headers():remove("%(header)s")
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  local text = body:getBytes(0, math.min(body:length(), 65536))
  local first = nil
  for _, key in ipairs(keys) do
    local _, last = string.find(text, key, 1, true)
    if last ~= nil and (first == nil or last < first) then first = last end
  end
  local prefix = string.sub(text, (first or 0) + 1, (first or 0) + %(count)d)
  local hash = 5381
  for place = 1, #prefix do
    hash = (hash * 33 + string.byte(prefix, place)) %% 4294967296
  end
  handle:headers():add("%(header)s", string.format("%%d", hash))
end
"""


def listener(route: Route, address: str, port: int) -> listener_pb2.Listener:
    """TLS alone: an endpoint is spoken to in the open inside the cluster only, by its Service."""
    config = listener_pb2.Listener(
        name=route.key,
        address=services.socket(address, port),
        per_connection_buffer_limit_bytes=UInt32Value(value=_LARGEST),
    )
    chain = config.filter_chains.add()
    manager = chain.filters.add(name="envoy.filters.network.http_connection_manager")
    manager.typed_config.CopyFrom(services.packed(_manager(route)))
    common = tls_pb2.CommonTlsContext(
        alpn_protocols=["h2", "http/1.1"],
        tls_certificate_sds_secret_configs=[
            secret_pb2.SdsSecretConfig(name=route.key, sds_config=services.over_ads())
        ],
    )
    common.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    downstream = tls_pb2.DownstreamTlsContext(common_tls_context=common)
    chain.transport_socket.name = "envoy.transport_sockets.tls"
    chain.transport_socket.typed_config.CopyFrom(services.packed(downstream))
    return config


def _manager(route: Route) -> Any:
    manager = _MANAGER(
        stat_prefix="inference",
        route_config=route_configuration(route),
        use_remote_address=BoolValue(value=True),
        normalize_path=BoolValue(value=True),
        request_headers_timeout=Duration(seconds=10),
        stream_idle_timeout=Duration(seconds=_SLOWEST),
    )
    filters: list[tuple[str, Any]] = [("router", router_pb2.Router())]
    if route.strategy == "prefixaware":
        program = _LUA % {"header": PREFIX_HEADER, "count": PREFIX_CHARACTERS}
        source = base_pb2.DataSource(inline_string=program)
        filters.insert(0, ("lua", lua_pb2.Lua(default_source_code=source)))
    for name, message in filters:
        filter_ = manager.http_filters.add(name=f"envoy.filters.http.{name}")
        filter_.typed_config.CopyFrom(services.packed(message))
    return manager


def route_configuration(route: Route) -> route_pb2.RouteConfiguration:
    host = route_components_pb2.VirtualHost(name=route.key, domains=["*"])
    for name in route.published:
        entry = host.routes.add(match={"path": f"/endpoints/{name}/invocations"})
        entry.route.CopyFrom(_action(route, route.invocation))
    rest = host.routes.add(match={"prefix": "/"})
    rest.route.CopyFrom(_action(route))
    return route_pb2.RouteConfiguration(name=route.key, virtual_hosts=[host])


def _action(route: Route, path: str = "") -> route_components_pb2.RouteAction:
    action = _ACTION(cluster=route.cluster, timeout=Duration(seconds=_SLOWEST))
    if path:
        action.regex_rewrite.pattern.regex = "^/endpoints/[^/?]+/invocations"
        action.regex_rewrite.substitution = path
    # What was not answered at all is retried at another pod.
    action.retry_policy.retry_on = "connect-failure,refused-stream,reset-before-request"
    action.retry_policy.num_retries.value = 2
    if route.strategy == "prefixaware":
        action.hash_policy.add(header={"header_name": PREFIX_HEADER})
    elif route.strategy == "session":
        action.hash_policy.add(header={"header_name": SESSION_HEADER}, terminal=True)
        action.hash_policy.add(cookie={"name": SESSION_HEADER})
    return action


def cluster(route: Route) -> cluster_pb2.Cluster:
    envoy_cluster = services.cluster(route.cluster)
    envoy_cluster.common_lb_config.healthy_panic_threshold.value = 0.0
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if route.is_grpc:
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
        envoy_cluster.health_checks.append(_health(route))
    envoy_cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(services.packed(options))
    policy = _policy(route)
    if policy is not None:
        name, message = policy
        config = envoy_cluster.load_balancing_policy.policies[0].typed_extension_config
        config.name = f"envoy.load_balancing_policies.{name}"
        config.typed_config.CopyFrom(services.packed(message))
    return envoy_cluster


def _policy(route: Route) -> tuple[str, Any] | None:
    """By name; none for round robin, which `services.cluster` has."""
    if route.strategy == "least":
        return "least_request", least_request_pb2.LeastRequest()
    if route.strategy in ("prefixaware", "session"):
        balance = _BALANCE if route.strategy == "prefixaware" else None
        common = policy_pb2.ConsistentHashingLbConfig(
            hash_balance_factor=UInt32Value(value=balance) if balance else None
        )
        ring = ring_hash_pb2.RingHash(
            minimum_ring_size=UInt64Value(value=4096), consistent_hashing_lb_config=common
        )
        return "ring_hash", ring
    return None


def _health(route: Route) -> health_check_pb2.HealthCheck:
    """As load balancers of AWS ask, but faster: two answers in a row change a pod's state."""
    return health_check_pb2.HealthCheck(
        timeout=Duration(seconds=2),
        interval=Duration(seconds=5),
        no_traffic_interval=Duration(seconds=5),
        unhealthy_threshold=UInt32Value(value=2),
        healthy_threshold=UInt32Value(value=2),
        http_health_check=health_check_pb2.HealthCheck.HttpHealthCheck(path=route.health_path),
    )


def secret(route: Route, pair: Pair) -> secret_pb2.Secret:
    shown = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_string=pair.certificate),
        private_key=base_pb2.DataSource(inline_string=pair.key),
    )
    return secret_pb2.Secret(name=route.key, tls_certificate=shown)
