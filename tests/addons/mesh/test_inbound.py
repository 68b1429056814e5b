"""What a sidecar does with what comes to its pod: who is let in, and how, and what of probes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from tiphys.addons.mesh import inbound, outbound
from tiphys.addons.mesh.probes import Probe
from tiphys.network.xds.cache import CLUSTER, LISTENER

Manager = http_connection_manager_pb2.HttpConnectionManager
PERMISSIVE = "Permissive"
RESERVED = [15001, 15006, 15020, 15021]


def unpacked(message: Any, kind: Any) -> Any:
    made = kind()
    assert message.Unpack(made)
    return made


def chains(mode: str = PERMISSIVE) -> dict[str, Any]:
    """Of the listener for what comes, by name."""
    made: Any = inbound.listener(mode, "cluster.local", 60)
    found = {one.name: one for one in made.filter_chains}
    if made.HasField("default_filter_chain"):
        found[made.default_filter_chain.name] = made.default_filter_chain
    return found


def manager(name: str) -> Any:
    (one,) = chains()[name].filters
    return unpacked(one.typed_config, Manager)


# --- who is let in ---


@pytest.mark.parametrize(
    ("mode", "plain"), [(PERMISSIVE, ["plain-http", "plain-tcp"]), ("Strict", [])]
)
def test_who_proves_nothing_is_let_in_only_where_that_is_permitted(
    mode: str, plain: list[str]
) -> None:
    closed = [f"reserved-{port}" for port in RESERVED]
    assert list(chains(mode)) == [*closed, "mesh-http", "mesh-tcp", *plain]


@pytest.mark.parametrize("mode", [PERMISSIVE, "Strict"])
def test_what_is_sent_to_a_sidecars_own_ports_is_closed(mode: str) -> None:
    """Passed on, it would come back for ever."""
    for made in (inbound.listener(mode, "d", 60), outbound.common()[LISTENER]["outbound"]):
        closed: Any = made
        ports = {}
        for one in closed.filter_chains:
            if one.name.startswith("reserved-"):
                proxy = unpacked(one.filters[0].typed_config, tcp_proxy_pb2.TcpProxy)
                ports[one.filter_chain_match.destination_port.value] = proxy.cluster
        assert ports == dict.fromkeys(RESERVED, "nowhere")


@pytest.mark.parametrize(
    ("name", "protocol"), [("mesh-http", "tiphys-mesh-http"), ("mesh-tcp", "tiphys-mesh-tcp")]
)
def test_who_says_that_he_is_of_the_mesh_has_to_prove_it(name: str, protocol: str) -> None:
    chain = chains("Strict")[name]
    match = chain.filter_chain_match
    assert (match.transport_protocol, list(match.application_protocols)) == ("tls", [protocol])
    made = unpacked(chain.transport_socket.typed_config, tls_pb2.DownstreamTlsContext)
    assert made.require_client_certificate.value
    common = made.common_tls_context
    assert list(common.alpn_protocols) == [protocol]
    checked = common.combined_validation_context.default_validation_context
    (name_,) = checked.match_typed_subject_alt_names
    assert name_.matcher.prefix == "spiffe://cluster.local/"
    versions, named = common.tls_params, common_pb2.TlsParameters.TlsProtocol.Name
    oldest, newest = versions.tls_minimum_protocol_version, versions.tls_maximum_protocol_version
    assert (named(oldest), named(newest)) == ("TLSv1_3", "TLSv1_3")


def test_nobody_resumes_a_session_of_somebody_else() -> None:
    made = unpacked(
        chains()["mesh-http"].transport_socket.typed_config, tls_pb2.DownstreamTlsContext
    )
    assert made.disable_stateless_session_resumption
    assert made.disable_stateful_session_resumption


def test_what_is_in_the_open_is_told_from_tls_and_from_what_is_no_http() -> None:
    match = chains()["plain-http"].filter_chain_match
    assert match.transport_protocol == "raw_buffer"
    assert list(match.application_protocols) == ["http/1.0", "http/1.1", "h2c"]
    made: Any = inbound.listener(PERMISSIVE, "d", 60)
    names = [one.name.rpartition(".")[2] for one in made.listener_filters]
    assert names == ["original_dst", "tls_inspector", "http_inspector"]
    assert made.listener_filters_timeout.seconds == 1
    assert made.continue_on_listener_filters_timeout, "a server may speak first"
    assert made.address.socket_address.port_value == 15006


# --- what the container is told ---


def test_a_peers_identity_is_told_where_it_is_proven_and_never_believed() -> None:
    proven, plain = manager("mesh-http"), manager("plain-http")
    details = Manager.ForwardClientCertDetails
    assert details.Name(proven.forward_client_cert_details) == "SANITIZE_SET"
    assert proven.set_current_client_cert_details.uri
    assert details.Name(plain.forward_client_cert_details) == "SANITIZE"
    assert not plain.set_current_client_cert_details.uri


def test_a_connection_lives_as_long_as_a_certificate() -> None:
    proven, plain = manager("mesh-http"), manager("plain-http")
    assert proven.common_http_protocol_options.max_connection_duration.seconds == 60
    assert proven.http1_safe_max_connection_duration, "it ends with an answer, never before one"
    assert not plain.common_http_protocol_options.HasField("max_connection_duration")


@pytest.mark.parametrize("name", ["mesh-http", "plain-http"])
def test_a_request_is_passed_on_as_it_is(name: str) -> None:
    made = manager(name)
    (host,) = made.route_config.virtual_hosts
    (route,) = host.routes
    assert (list(host.domains), route.match.prefix, route.route.cluster) == (["*"], "/", "pod")
    assert route.route.HasField("timeout") and route.route.timeout.ToNanoseconds() == 0
    retry = route.route.retry_policy
    assert retry.num_retries.value == 2
    words = set(retry.retry_on.split(","))
    assert words == {"connect-failure", "refused-stream", "reset-before-request"}
    assert not made.use_remote_address.value and made.skip_xff_append
    assert not made.generate_request_id.value and made.preserve_external_request_id
    transformations = Manager.ServerHeaderTransformation
    assert transformations.Name(made.server_header_transformation) == "PASS_THROUGH"
    assert made.HasField("stream_idle_timeout") and made.stream_idle_timeout.ToNanoseconds() == 0
    assert [one.upgrade_type for one in made.upgrade_configs] == ["websocket"]


def test_only_a_sidecar_says_that_a_container_was_not_reached() -> None:
    made = manager("mesh-http")
    (host,) = made.route_config.virtual_hosts
    assert list(host.routes[0].response_headers_to_remove) == ["x-tiphys-mesh-unreached"]
    said = {
        mapper.headers_to_add[0].header.value: list(mapper.filter.response_flag_filter.flags)
        for mapper in made.local_reply_config.mappers
    }
    assert said == {"yes": ["UF", "UH"], "maybe": ["UC"]}


# --- probes ---

PROBES = {
    "web/readiness": Probe("http", 8080, "/up?x=1"),
    "web/liveness": Probe("https", 8443, "/"),
    "web/startup": Probe("tcp", 5432),
    "side/readiness": Probe("grpc", 9000, service="s"),
}


def of_probes(probes: dict[str, Probe]) -> tuple[Any, dict[str, Any]]:
    """The listener that the kubelet asks, and the clusters beside `pod`."""
    made: Any = inbound.resources_of(PERMISSIVE, "d", 60, probes)
    clusters = {name: one for name, one in made[CLUSTER].items() if name != "pod"}
    return made[LISTENER]["probes"], clusters


def checks(listening: Any) -> dict[str, tuple[str, float]]:
    """Path, cluster and share of each check that is answered without the container."""
    (chain,) = listening.filter_chains
    made = unpacked(chain.filters[0].typed_config, Manager)
    found = {}
    for one in made.http_filters[:-1]:
        check = unpacked(one.typed_config, health_check_pb2.HealthCheck)
        assert check.HasField("pass_through_mode") and not check.pass_through_mode.value
        ((cluster, share),) = check.cluster_min_healthy_percentages.items()
        found[check.headers[0].string_match.exact] = (cluster, share.value)
    return found


def test_a_sidecar_is_ready_once_it_listens() -> None:
    listening, clusters = of_probes({})
    assert listening.address.socket_address.port_value == 15021
    assert checks(listening) == {"/ready": ("ready", 100.0)}
    assert list(clusters) == ["ready"]
    (check,) = clusters["ready"].health_checks
    assert check.HasField("tcp_health_check")
    assert (check.interval.ToMilliseconds(), check.no_traffic_interval.ToMilliseconds()) == (
        100,
        100,
    )
    assert check.no_traffic_healthy_interval.seconds == 10
    assert port_of(clusters["ready"]) == 15006


def port_of(cluster: Any) -> int:
    ((endpoint,),) = (group.lb_endpoints for group in cluster.load_assignment.endpoints)
    socket = endpoint.endpoint.address.socket_address
    assert (socket.address, cluster.load_assignment.cluster_name) == ("127.0.0.1", cluster.name)
    assert cluster.connect_timeout.seconds == 5
    return int(socket.port_value)


def test_a_probe_over_http_is_passed_on_to_its_path() -> None:
    listening, clusters = of_probes(PROBES)
    made = unpacked(listening.filter_chains[0].filters[0].typed_config, Manager)
    (host,) = made.route_config.virtual_hosts
    shown = [(one.match.path, one.route.cluster, one.route.prefix_rewrite) for one in host.routes]
    assert shown == [
        ("/probes/web/readiness", "probe/web/readiness", "/up?x=1"),
        ("/probes/web/liveness", "probe/web/liveness", "/"),
    ]
    assert all(one.route.HasField("timeout") for one in host.routes)
    assert all(one.route.timeout.ToNanoseconds() == 0 for one in host.routes)
    assert port_of(clusters["probe/web/readiness"]) == 8080
    assert not clusters["probe/web/readiness"].HasField("transport_socket")
    secure = clusters["probe/web/liveness"]
    assert (secure.transport_socket.name, port_of(secure)) == ("envoy.transport_sockets.tls", 8443)
    context = unpacked(secure.transport_socket.typed_config, tls_pb2.UpstreamTlsContext)
    assert not context.HasField("common_tls_context"), "as the kubelet: whatever the certificate"
    assert not secure.health_checks


def test_a_connection_and_a_call_of_grpc_are_checked_by_the_sidecar() -> None:
    listening, clusters = of_probes(PROBES)
    assert checks(listening) == {
        "/ready": ("ready", 100.0),
        "/probes/web/startup": ("probe/web/startup", 100.0),
        "/probes/side/readiness": ("probe/side/readiness", 100.0),
    }
    (tcp,) = clusters["probe/web/startup"].health_checks
    (grpc,) = clusters["probe/side/readiness"].health_checks
    assert tcp.HasField("tcp_health_check") and grpc.grpc_health_check.service_name == "s"
    assert [port_of(clusters[f"probe/{name}"]) for name in ("web/startup", "side/readiness")] == [
        5432,
        9000,
    ]
    for check in (tcp, grpc):
        assert (check.timeout.seconds, check.interval.seconds) == (1, 1)
        assert not check.reuse_connection.value and check.HasField("reuse_connection")
        assert (check.unhealthy_threshold.value, check.healthy_threshold.value) == (1, 1)
    for name in ("web/startup", "side/readiness"):
        (packed,) = clusters[f"probe/{name}"].typed_extension_protocol_options.values()
        spoken = unpacked(packed, http_protocol_options_pb2.HttpProtocolOptions)
        assert spoken.explicit_http_config.HasField("http2_protocol_options")


# --- connections to the container ---


def test_what_goes_on_speaks_as_it_was_asked_and_ends_before_servers_do() -> None:
    """aiohttp and nginx wait 75 seconds for the next request."""
    made: Any = inbound.resources_of(PERMISSIVE, "d", 60, {})[CLUSTER]["pod"]
    assert made.connect_timeout.seconds == 5
    (packed,) = made.typed_extension_protocol_options.values()
    options = unpacked(packed, http_protocol_options_pb2.HttpProtocolOptions)
    assert options.common_http_protocol_options.idle_timeout.seconds < 75
    same = options.use_downstream_protocol_config
    assert same.HasField("http_protocol_options") and same.HasField("http2_protocol_options")


def test_what_is_sent_again_is_a_fifth_of_what_is_under_way() -> None:
    made: Any = inbound.resources_of(PERMISSIVE, "d", 60, {})[CLUSTER]["pod"]
    (limits,) = made.circuit_breakers.thresholds
    assert limits.retry_budget.budget_percent.value == 20.0
    assert limits.retry_budget.min_retry_concurrency.value == 50
    assert limits.max_requests.value == limits.max_connections.value >= 100_000
