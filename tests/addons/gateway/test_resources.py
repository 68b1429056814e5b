"""Ports and targets as listeners and clusters of Envoy."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from tiphys.addons.gateway.envoy import ResourceMaker, cluster, listener
from tiphys.addons.gateway.model import (
    Backend,
    BackendTLS,
    Certificate,
    ClientCheck,
    Host,
    Port,
    Rule,
    Site,
    Target,
    World,
)
from tiphys.network.xds.cache import CLUSTER, LISTENER, ROUTE, SECRET

SHOP, NEWS = Target("default", "shop", 80), Target("default", "news", 80)
HTTP = Site("http", hosts=())


def port(*sites: Site) -> Any:
    return listener(Port("127.0.80.1", 443, sites))


def unpacked(message: Any, kind: Any) -> Any:
    made = kind()
    assert message.Unpack(made)
    return made


def only_filter(site: Site, kind: Any) -> Any:
    (chain,) = port(site).filter_chains
    (one,) = chain.filters
    return unpacked(one.typed_config, kind)


def test_a_port_listens_at_its_address() -> None:
    made = port(HTTP)
    assert made.name == "127.0.80.1:443"
    socket = made.address.socket_address
    assert (socket.address, socket.port_value) == ("127.0.80.1", 443)


@pytest.mark.parametrize(
    ("sites", "is_inspected"),
    [
        ((HTTP,), False),
        ((Site("tcp", backends=(Backend(SHOP),)),), False),
        ((Site("tls", ("a.example",), backends=(Backend(SHOP),)),), True),
        ((Site("https", (), ("s",), ()),), True),
    ],
)
def test_the_name_that_a_client_asks_for_is_looked_at_only_where_it_counts(
    sites: tuple[Site, ...], is_inspected: bool
) -> None:
    assert bool(port(*sites).listener_filters) is is_inspected


def test_connections_are_told_apart_by_name_and_the_rest_by_being_tls() -> None:
    named = Site("a", ("a.example",), backends=(Backend(SHOP),))
    rest = Site("rest", backends=(Backend(NEWS),))
    terminated = Site("t", (), ("s",), ())
    shown = [
        (list(one.filter_chain_match.server_names), one.filter_chain_match.transport_protocol)
        for one in port(named, rest, terminated).filter_chains
    ]
    assert shown == [(["a.example"], ""), ([], "tls"), ([], "")]
    (alone,) = port(rest).filter_chains
    assert alone.filter_chain_match.transport_protocol == "", "TCP need not be TLS"


def test_clients_are_not_believed_and_slow_ones_hold_nothing() -> None:
    """Envoy's documentation, "Configuring Envoy as an edge proxy"."""
    made = only_filter(HTTP, http_connection_manager_pb2.HttpConnectionManager)
    assert made.use_remote_address.value and made.normalize_path.value
    assert made.common_http_protocol_options.idle_timeout.seconds == 3600
    assert made.stream_idle_timeout.seconds == 300
    assert 0 < made.request_headers_timeout.seconds <= 10
    http2 = made.http2_protocol_options
    assert http2.max_concurrent_streams.value == 100
    assert http2.initial_stream_window_size.value == 65536
    assert http2.initial_connection_window_size.value == 1048576
    assert port(HTTP).per_connection_buffer_limit_bytes.value == 32768
    assert [one.upgrade_type for one in made.upgrade_configs] == ["websocket"]
    assert [one.name.rpartition(".")[2] for one in made.http_filters] == ["cors", "router"]


@pytest.mark.parametrize(
    ("backends", "cluster_name", "shares"),
    [
        ((), "nowhere", []),
        ((Backend(None),), "nowhere", []),
        ((Backend(SHOP, 0),), "nowhere", []),
        ((Backend(SHOP, 7),), SHOP.cluster, []),
        ((Backend(SHOP, 7), Backend(NEWS, 0)), SHOP.cluster, []),
        ((Backend(SHOP, 7), Backend(NEWS, 3)), "", [(SHOP.cluster, 7), (NEWS.cluster, 3)]),
        ((Backend(SHOP, 7), Backend(None, 3)), "", [(SHOP.cluster, 7), ("nowhere", 3)]),
    ],
)
def test_connections_are_shared_by_weight(
    backends: tuple[Backend, ...], cluster_name: str, shares: list[tuple[str, int]]
) -> None:
    made = only_filter(Site("tcp", backends=backends), tcp_proxy_pb2.TcpProxy)
    assert made.cluster == cluster_name
    assert [(one.name, one.weight) for one in made.weighted_clusters.clusters] == shares


def downstream(site: Site) -> Any:
    (chain,) = port(site).filter_chains
    return unpacked(chain.transport_socket.typed_config, tls_pb2.DownstreamTlsContext)


def test_tls_that_ends_here_shows_its_certificates_and_nothing_older_than_1_2() -> None:
    made = downstream(Site("s", (), ("one", "two"), ())).common_tls_context
    assert [one.name for one in made.tls_certificate_sds_secret_configs] == ["one", "two"]
    oldest = made.tls_params.tls_minimum_protocol_version
    assert common_pb2.TlsParameters.TlsProtocol.Name(oldest) == "TLSv1_2"
    assert list(made.alpn_protocols) == ["h2", "http/1.1"]
    stream = downstream(Site("s", (), ("one",), backends=(Backend(SHOP),)))
    assert not stream.common_tls_context.alpn_protocols


@pytest.mark.parametrize("is_optional", [True, False])
def test_clients_show_a_certificate(is_optional: bool) -> None:
    made = downstream(Site("s", (), ("one",), (), clients=ClientCheck("PEM", is_optional)))
    context = made.common_tls_context.validation_context
    assert context.trusted_ca.inline_string == "PEM"
    assert made.require_client_certificate.value is not is_optional
    names = common_pb2.CertificateValidationContext.TrustChainVerification
    shown = names.Name(context.trust_chain_verification)
    assert shown == ("ACCEPT_UNTRUSTED" if is_optional else "VERIFY_TRUST_CHAIN")
    assert not downstream(Site("s", (), ("one",), ())).HasField("require_client_certificate")


# --- clusters ---


def options(target: Target) -> Any:
    (packed,) = cluster(target).typed_extension_protocol_options.values()
    return unpacked(packed, http_protocol_options_pb2.HttpProtocolOptions)


def test_a_connection_to_a_backend_ends_before_the_backend_ends_it() -> None:
    """aiohttp and nginx wait 75 seconds for the next request, gunicorn and Go longer."""
    assert options(SHOP).common_http_protocol_options.idle_timeout.seconds < 75


@pytest.mark.parametrize(
    ("protocol", "spoken"), [("http1", "http_protocol_options"), ("h2c", "http2_protocol_options")]
)
def test_a_backend_is_spoken_to_as_it_says(protocol: Any, spoken: str) -> None:
    target = Target("default", "shop", 80, protocol)
    assert options(target).explicit_http_config.WhichOneof("protocol_config") == spoken


def test_endpoints_that_end_are_never_used() -> None:
    made = cluster(SHOP)
    assert made.common_lb_config.HasField("healthy_panic_threshold")
    assert made.common_lb_config.healthy_panic_threshold.value == 0.0
    assert not made.HasField("transport_socket")


def upstream(tls: BackendTLS, protocol: Any = "http1") -> Any:
    made = cluster(Target("default", "shop", 80, protocol, tls))
    return unpacked(made.transport_socket.typed_config, tls_pb2.UpstreamTlsContext)


NAMES = (("Hostname", "b.example"), ("URI", "spiffe://a"))


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        ((), [("DNS", "a.example")]),
        (NAMES, [("DNS", "b.example"), ("URI", "spiffe://a")]),
    ],
)
def test_a_backend_over_tls_is_who_it_should_be(names: Any, accepted: Any) -> None:
    """BackendTLSPolicy: without subjectAltNames the certificate must be for the hostname."""
    made = upstream(BackendTLS("a.example", names, "PEM"))
    context = made.common_tls_context.validation_context
    kinds = common_pb2.SubjectAltNameMatcher.SanType
    shown = [
        (kinds.Name(one.san_type), one.matcher.exact)
        for one in context.match_typed_subject_alt_names
    ]
    assert (made.sni, shown, context.trusted_ca.inline_string) == ("a.example", accepted, "PEM")
    assert not context.HasField("system_root_certs")


def test_without_authorities_those_of_the_system_are_trusted() -> None:
    made = upstream(BackendTLS("a.example")).common_tls_context
    assert made.validation_context.HasField("system_root_certs")
    assert not made.validation_context.HasField("trusted_ca")
    assert not made.tls_certificate_sds_secret_configs and not made.alpn_protocols


def test_http2_over_tls_is_agreed_on_and_a_certificate_shown_where_there_is_one() -> None:
    made = upstream(BackendTLS("a.example", client_secret="own"), "h2c").common_tls_context
    assert list(made.alpn_protocols) == ["h2"]
    assert [one.name for one in made.tls_certificate_sds_secret_configs] == ["own"]


# --- all of it ---


def test_a_world_is_listeners_routes_clusters_and_secrets() -> None:
    http = Site("http", hosts=(Host("*", (Rule(backends=(Backend(SHOP),)),)),))
    stream = Site("stream", backends=(Backend(NEWS), Backend(None)))
    ports = (Port("127.0.80.1", 80, (http,)), Port("127.0.80.1", 81, (stream,)))
    made = ResourceMaker().resources_of(World(ports, (("s", Certificate("chain", "key")),)))
    assert set(made[LISTENER]) == {"127.0.80.1:80", "127.0.80.1:81"}
    assert set(made[ROUTE]) == {"127.0.80.1:80/http"}
    assert list(made[CLUSTER]) == ["news.default:80", "shop.default:80"]
    secret: Any = made[SECRET]["s"]
    assert secret.tls_certificate.certificate_chain.inline_string == "chain"
    assert secret.tls_certificate.private_key.inline_string == "key"


def test_targets_that_are_spoken_to_otherwise_are_other_clusters() -> None:
    plain, h2c = Target("d", "s", 80), Target("d", "s", 80, "h2c")
    tls, other = (Target("d", "s", 80, tls=BackendTLS(name)) for name in ("a", "b"))
    both = Target("d", "s", 80, "h2c", BackendTLS("a"))
    names = [one.cluster for one in (plain, h2c, tls, other, both)]
    assert names[:2] == ["s.d:80", "s.d:80|h2c"] and len(set(names)) == 5
    assert names[4] == names[1] + names[2].removeprefix("s.d:80")
