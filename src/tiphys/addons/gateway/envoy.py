"""The model as Envoy's resources: listeners, clusters and secrets. Routes are in `envoy_routes`."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from tiphys.addons.gateway.envoy_routes import MadeHosts, route_configuration
from tiphys.addons.gateway.model import Backend, Certificate, Port, Site, Target, World
from tiphys.network.xds import services
from tiphys.network.xds.cache import CLUSTER, LISTENER, ROUTE, SECRET, Message

_MANAGER = http_connection_manager_pb2.HttpConnectionManager
_NOWHERE = "nowhere"
"""A cluster that there is not: connections to it are closed."""
_TLS = "envoy.transport_sockets.tls"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


Resources = dict[str, dict[str, Message]]
"""By type and name."""


class ResourceMaker:
    """Makes the resources of one world after the other, and again only what has changed."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._resources: Resources = {}
        self._hosts = MadeHosts()
        self._clusters: dict[Target, Message] = {}

    def resources_of(self, world: World) -> Resources:
        """All but the endpoints, which services have; the very same for a world that is equal."""
        if world != self._world:
            self._resources = self._make(world)
            self._world = world
        return self._resources

    def _make(self, world: World) -> Resources:
        resources: Resources = {CLUSTER: {}, LISTENER: {}, ROUTE: {}, SECRET: {}}
        self._hosts.begin()
        for name, certificate in world.secrets:
            resources[SECRET][name] = secret(name, certificate)
        targets = world.targets()
        self._clusters = {one: self._clusters.get(one) or cluster(one) for one in targets}
        by_name = {target.cluster: message for target, message in self._clusters.items()}
        resources[CLUSTER] = dict(sorted(by_name.items()))
        for port in world.ports:
            resources[LISTENER][port.name] = listener(port)
            for site in port.sites:
                if site.hosts is not None:
                    name = route_name(port, site)
                    resources[ROUTE][name] = route_configuration(name, port.port, site, self._hosts)
        return resources


def route_name(port: Port, site: Site) -> str:
    return f"{port.name}/{site.name}"


# --- listeners ---


def listener(port: Port) -> listener_pb2.Listener:
    config = listener_pb2.Listener(
        name=port.name,
        address=services.socket(port.address, port.port),
        filter_chains=[_chain(port, site) for site in port.sites],
        per_connection_buffer_limit_bytes=UInt32Value(
            value=32 * 1024
        ),  # as Envoy advises at an edge
    )
    if any(site.names or site.secrets for site in port.sites):
        inspector = config.listener_filters.add(name="envoy.filters.listener.tls_inspector")
        inspector.typed_config.CopyFrom(services.packed(tls_inspector_pb2.TlsInspector()))
    return config


def _chain(port: Port, site: Site) -> listener_components_pb2.FilterChain:
    chain = listener_components_pb2.FilterChain(name=site.name)
    if site.names:
        chain.filter_chain_match.server_names.extend(site.names)
    elif site.hosts is None and not site.secrets and len(port.sites) > 1:
        chain.filter_chain_match.transport_protocol = "tls"
    if site.secrets:
        chain.transport_socket.name = _TLS
        chain.transport_socket.typed_config.CopyFrom(services.packed(_downstream(site)))
    if site.hosts is None:
        proxy = services.packed(_tcp_proxy(site))
        chain.filters.add(name="envoy.filters.network.tcp_proxy").typed_config.CopyFrom(proxy)
    else:
        manager = services.packed(_http_manager(route_name(port, site)))
        filter_ = chain.filters.add(name="envoy.filters.network.http_connection_manager")
        filter_.typed_config.CopyFrom(manager)
    return chain


def _http_manager(route: str) -> Any:
    """As Envoy's documentation advises for an edge: clients are not believed, and slow ones do not
    hold anything."""
    manager = _MANAGER(
        stat_prefix="http",
        rds=http_connection_manager_pb2.Rds(
            route_config_name=route, config_source=services.over_ads()
        ),
        use_remote_address=BoolValue(value=True),
        normalize_path=BoolValue(value=True),
        request_headers_timeout=Duration(seconds=10),
        stream_idle_timeout=Duration(seconds=300),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=UInt32Value(value=100),
            initial_stream_window_size=UInt32Value(value=64 * 1024),
            initial_connection_window_size=UInt32Value(value=1024 * 1024),
        ),
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=Duration(seconds=3600),
        ),
    )
    manager.upgrade_configs.add(upgrade_type="websocket")
    for name, message in (("cors", cors_pb2.Cors()), ("router", router_pb2.Router())):
        filter_ = manager.http_filters.add(name=f"envoy.filters.http.{name}")
        filter_.typed_config.CopyFrom(services.packed(message))
    return manager


def _tcp_proxy(site: Site) -> tcp_proxy_pb2.TcpProxy:
    proxy = tcp_proxy_pb2.TcpProxy(stat_prefix="tcp")
    shares = [one for one in site.backends if one.weight]
    if len(shares) == 1:
        proxy.cluster = _cluster_of(shares[0])
    for backend in shares if len(shares) > 1 else ():
        proxy.weighted_clusters.clusters.add(name=_cluster_of(backend), weight=backend.weight)
    if not shares:
        proxy.cluster = _NOWHERE
    return proxy


def _cluster_of(backend: Backend) -> str:
    return backend.target.cluster if backend.target is not None else _NOWHERE


def _downstream(site: Site) -> tls_pb2.DownstreamTlsContext:
    common = tls_pb2.CommonTlsContext(
        tls_certificate_sds_secret_configs=[_by_name(name) for name in site.secrets]
    )
    common.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    if site.hosts is not None:
        common.alpn_protocols.extend(("h2", "http/1.1"))
    tls_context = tls_pb2.DownstreamTlsContext()
    if site.clients is not None:
        context = common.validation_context
        context.trusted_ca.inline_string = site.clients.authorities
        if site.clients.is_optional:
            context.trust_chain_verification = (
                common_pb2.CertificateValidationContext.ACCEPT_UNTRUSTED
            )
        tls_context.require_client_certificate.value = not site.clients.is_optional
    tls_context.common_tls_context.CopyFrom(common)
    return tls_context


def _by_name(secret_name: str) -> secret_pb2.SdsSecretConfig:
    return secret_pb2.SdsSecretConfig(name=secret_name, sds_config=services.over_ads())


def secret(name: str, certificate: Certificate) -> secret_pb2.Secret:
    pair = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_string=certificate.chain),
        private_key=base_pb2.DataSource(inline_string=certificate.key),
    )
    return secret_pb2.Secret(name=name, tls_certificate=pair)


# --- clusters ---


def cluster(target: Target) -> cluster_pb2.Cluster:
    config = services.cluster(target.cluster)
    # Endpoints that end are never used, however few others there are.
    config.common_lb_config.healthy_panic_threshold.value = 0.0
    options = http_protocol_options_pb2.HttpProtocolOptions()
    # Below what servers wait for the next request on a connection (aiohttp and nginx: 75 s,
    # gunicorn and Go: longer).
    options.common_http_protocol_options.idle_timeout.seconds = 60
    if target.protocol == "h2c":
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    config.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(services.packed(options))
    if target.tls is not None:
        config.transport_socket.name = _TLS
        config.transport_socket.typed_config.CopyFrom(services.packed(_upstream(target)))
    return config


def _upstream(target: Target) -> tls_pb2.UpstreamTlsContext:
    tls = target.tls
    assert tls is not None
    tls_context = tls_pb2.UpstreamTlsContext(sni=tls.hostname)
    context = tls_context.common_tls_context.validation_context
    if tls.authorities:
        context.trusted_ca.inline_string = tls.authorities
    else:
        context.system_root_certs.SetInParent()
    matcher = common_pb2.SubjectAltNameMatcher
    for kind, name in tls.names or (("Hostname", tls.hostname),):
        san_type = matcher.URI if kind == "URI" else matcher.DNS
        context.match_typed_subject_alt_names.add(
            san_type=san_type, matcher=string_pb2.StringMatcher(exact=name)
        )
    if target.protocol == "h2c":
        tls_context.common_tls_context.alpn_protocols.append("h2")
    if tls.client_secret:
        tls_context.common_tls_context.tls_certificate_sds_secret_configs.append(
            _by_name(tls.client_secret)
        )
    return tls_context
