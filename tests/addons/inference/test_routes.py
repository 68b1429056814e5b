"""What the router does for an endpoint, and what Envoy is told of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference import Settings
from tiphys.addons.inference.catalogue import HubEntry, HubError, as_endpoint, entry_of
from tiphys.addons.inference.endpoint import Endpoint
from tiphys.addons.inference.omissions import omissions_of_model
from tiphys.addons.inference.routes import Route, route_of, strategy_of
from tiphys.addons.inference.routing import cluster, listener, route_configuration
from tiphys.addons.inference.types import v1
from tiphys.addons.inference.workload import deployment_of, service_of
from tiphys.api import core_v1
from tiphys.api.base import from_builtins


def routing(strategy: str, enabled: bool = True) -> dict[str, Any]:
    return {"intelligentRoutingSpec": {"enabled": enabled, "routingStrategy": strategy}}


@pytest.mark.parametrize(
    ("spec", "strategy"),
    [
        ({}, "least"),
        (routing("prefixaware"), "prefixaware"),
        (routing("kvaware"), "prefixaware"),
        (routing("session"), "session"),
        (routing("roundrobin"), "roundrobin"),
        (routing("session", enabled=False), "least"),
        ({"loadBalancer": {"routingAlgorithm": "round_robin"}}, "roundrobin"),
        ({"loadBalancer": {"routingAlgorithm": "least_outstanding_requests"}}, "least"),
        ({"loadBalancer": {"routingAlgorithm": "round_robin"}, **routing("session")}, "session"),
    ],
)
def test_intelligent_routing_counts_more_than_the_balancer(
    spec: dict[str, Any], strategy: str
) -> None:
    assert strategy_of(read(endpoint(**spec)).spec) == strategy


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, Route("model", "default", "least", published=("model",))),
        (
            {"endpointName": "published", "loadBalancer": {"healthCheckPath": "/up"}},
            Route("model", "default", "least", "/up", published=("published", "model")),
        ),
        (
            {"invocationEndpoint": "v1/chat", "endpointName": "model"},
            Route("model", "default", "least", invocation="/v1/chat", published=("model",)),
        ),
        (
            {"worker": {"modelInvocationPort": {"containerPort": 1, "name": "grpc"}}},
            Route("model", "default", "least", published=("model",), is_grpc=True),
        ),
    ],
)
def test_a_route_is_what_an_endpoint_says(spec: dict[str, Any], expected: Route) -> None:
    assert route_of(read(endpoint(**spec))) == expected
    assert (expected.key, expected.cluster) == ("default/model", "model.default:80")


@pytest.mark.parametrize(
    ("published", "names"), [(None, ("m",)), ("own", ("own", "m")), ("m", ("m",))]
)
def test_a_model_of_the_hub_is_asked_at_invocations(
    published: str | None, names: tuple[str, ...]
) -> None:
    assert route_of(model(published)).published == names
    assert route_of(model(published)).invocation == "/invocations"


def model(published: str | None = None, instance: str = "ml.a", **spec: Any) -> v1.JumpStartModel:
    named = {"sageMakerEndpoint": {"name": published}} if published else {}
    plain = {"model": {"modelId": "x", **spec}, "server": {"instanceType": instance}, **named}
    body = {"metadata": {"name": "m", "namespace": "default"}, "spec": plain}
    return from_builtins(body, v1.JumpStartModel)


# --- what Envoy is told ---


def test_a_pod_is_asked_for_its_health_over_http_alone() -> None:
    """Two answers in a row change a pod's state, five seconds apart."""
    made: Any = cluster(Route("m", "default", "least", "/up"))
    (check,) = made.health_checks
    assert (check.interval.seconds, check.no_traffic_interval.seconds) == (5, 5)
    assert (check.unhealthy_threshold.value, check.healthy_threshold.value) == (2, 2)
    assert (check.timeout.seconds, check.http_health_check.path) == (2, "/up")
    assert not cluster(Route("m", "default", "least", is_grpc=True)).health_checks


@pytest.mark.parametrize(
    ("is_grpc", "spoken"), [(False, "http_protocol_options"), (True, "http2_protocol_options")]
)
def test_a_server_is_spoken_to_as_it_says(is_grpc: bool, spoken: str) -> None:
    made: Any = cluster(Route("m", "default", "least", is_grpc=is_grpc))
    (packed,) = made.typed_extension_protocol_options.values()
    options = http_protocol_options_pb2.HttpProtocolOptions()
    assert packed.Unpack(options)
    assert options.explicit_http_config.WhichOneof("protocol_config") == spoken
    assert made.common_lb_config.HasField("healthy_panic_threshold")
    assert made.common_lb_config.healthy_panic_threshold.value == 0.0


def rules(route: Route) -> dict[str, Any]:
    """What is done for a path, by the path."""
    (host,) = route_configuration(route).virtual_hosts
    return {one.match.path or f"{one.match.prefix}*": one.route for one in host.routes}


def test_a_published_name_leads_to_where_the_server_takes_requests() -> None:
    """SageMaker Runtime: POST /endpoints/NAME/invocations."""
    route = Route("m", "default", "least", "/ping", "/v1/chat", ("own", "m"))
    made = rules(route)
    assert list(made) == ["/endpoints/own/invocations", "/endpoints/m/invocations", "/*"]
    rewrites = [one.regex_rewrite for one in made.values()]
    assert [one.substitution for one in rewrites] == ["/v1/chat", "/v1/chat", ""]
    asked = "/endpoints/own/invocations?a=b"
    pattern = rewrites[0].pattern.regex
    assert re.sub(pattern, rewrites[0].substitution, asked) == "/v1/chat?a=b"
    assert {one.cluster for one in made.values()} == {"m.default:80"}
    for one in made.values():
        assert one.timeout.seconds == 3600, "models speak long"
        assert one.retry_policy.num_retries.value == 2
        assert set(one.retry_policy.retry_on.split(",")) == {
            "connect-failure",
            "refused-stream",
            "reset-before-request",
        }


def manager(strategy: Any) -> Any:
    made = listener(Route("m", "default", strategy), "127.0.90.1", 443)
    (chain,) = made.filter_chains
    (one,) = chain.filters
    found = http_connection_manager_pb2.HttpConnectionManager()
    assert one.typed_config.Unpack(found)
    return found


@pytest.mark.parametrize(
    ("strategy", "filters"),
    [("prefixaware", ["lua", "router"]), ("session", ["router"]), ("least", ["router"])],
)
def test_a_prompt_is_looked_at_only_where_its_prefix_counts(
    strategy: str, filters: list[str]
) -> None:
    made = manager(strategy)
    assert [one.name.rpartition(".")[2] for one in made.http_filters] == filters
    assert made.use_remote_address.value and made.normalize_path.value
    assert (made.request_headers_timeout.seconds, made.stream_idle_timeout.seconds) == (10, 3600)


def test_an_endpoint_is_spoken_to_over_tls_alone() -> None:
    made: Any = listener(Route("m", "default", "least"), "127.0.90.1", 443)
    socket = made.address.socket_address
    assert (made.name, socket.address, socket.port_value) == ("default/m", "127.0.90.1", 443)
    assert made.per_connection_buffer_limit_bytes.value == 16 << 20
    context = tls_pb2.DownstreamTlsContext()
    assert made.filter_chains[0].transport_socket.typed_config.Unpack(context)
    common = context.common_tls_context
    oldest = common.tls_params.tls_minimum_protocol_version
    assert common_pb2.TlsParameters.TlsProtocol.Name(oldest) == "TLSv1_2"
    assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["default/m"]


# --- models of the hub ---


@pytest.mark.parametrize(
    ("entry", "version", "expected"),
    [
        (HubEntry(versions=["1.0.0", "2.0.0"]), None, "2.0.0"),
        (HubEntry(versions=["1.0.0", "2.0.0"]), "1.0.0", "1.0.0"),
        (HubEntry(), None, None),
        (HubEntry(), "7.0.0", "7.0.0"),
    ],
)
def test_the_newest_version_is_served_unless_another_is_named(
    entry: HubEntry, version: str | None, expected: str | None
) -> None:
    asked = model(**({"modelVersion": version} if version else {}))
    assert as_endpoint(asked, entry).model_version == expected


@pytest.mark.parametrize(
    ("entry", "asked", "message"),
    [
        (
            HubEntry(versions=["1.0.0", "2.0.0"]),
            {"modelVersion": "3.0.0"},
            "the hub has x in 1.0.0, 2.0.0, and not in 3.0.0",
        ),
        (HubEntry(needs_eula=True), {}, "x is served to who accepts its terms: model.acceptEula"),
        (HubEntry(needs_eula=True), {"acceptEula": True}, ""),
        (
            HubEntry(instance_types=["ml.b", "ml.c"]),
            {},
            "x runs on ml.b, ml.c, and not on ml.a",
        ),
        (HubEntry(instance_types=["ml.a"]), {}, ""),
    ],
)
def test_the_hub_refuses(entry: HubEntry, asked: dict[str, Any], message: str) -> None:
    if not message:
        assert as_endpoint(model(**asked), entry).instance_type == "ml.a"
        return
    with pytest.raises(HubError) as refused:
        as_endpoint(model(**asked), entry)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        ("image: i", ""),
        ("image: [", "InvalidCatalogue"),
        ("image: 7", "InvalidCatalogue"),
        ("[1]", "InvalidCatalogue"),
    ],
)
def test_an_entry_is_read_or_refused(text: str, reason: str) -> None:
    catalogue = core_v1.ConfigMap(data={"x": text})
    if not reason:
        assert entry_of(catalogue, "x").container_port == 8080
        return
    with pytest.raises(HubError) as refused:
        entry_of(catalogue, "x")
    assert refused.value.reason == reason
    for nothing in (None, core_v1.ConfigMap()):
        with pytest.raises(HubError, match="the hub has no model x"):
            entry_of(nothing, "x")


def test_a_models_own_variables_stand_before_its_entrys() -> None:
    asked = model()
    asked.spec.environment_variables = [
        v1.v1alpha1.EnvironmentVariable(name="A", value="own"),
    ]
    made = as_endpoint(asked, HubEntry(environment={"A": "entry", "B": "entry"}))
    shown = {one.name: one.value for one in made.worker.environment_variables}
    assert shown == {"A": "own", "B": "entry"}


# --- what runs it ---


def made(**spec: Any) -> Endpoint:
    return Endpoint("model", "default", read(endpoint(**spec)).spec)


def loader(**source: Any) -> dict[str, str]:
    hub = {"modelSourceType": "huggingface", "huggingFaceModel": source}
    pod = deployment_of(made(modelSourceConfig=hub), Settings()).spec.template.spec
    [container] = pod.init_containers
    return {one.name: one.value or "(secret)" for one in container.env}


def test_weights_come_from_hugging_face_at_a_commit() -> None:
    found = loader(modelId="a/b")
    assert found["HF_ENDPOINT"] == "https://huggingface.co"
    assert (found["HF_MODEL"], found["HF_REVISION"]) == ("a/b", "main")
    assert "HF_TOKEN" not in found and "S3_BUCKET" not in found
    sha = "0" * 40
    found = loader(modelId="a/b", commitSHA=sha, tokenSecretRef={"name": "t", "key": "k"})
    assert (found["HF_REVISION"], found["HF_TOKEN"]) == (sha, "(secret)")


def server(**worker: Any) -> core_v1.Container:
    pod = deployment_of(made(worker=worker), Settings()).spec.template.spec
    return pod.containers[0]


def test_a_server_of_grpc_is_ready_when_it_listens() -> None:
    found = server(modelInvocationPort={"containerPort": 9000, "name": "grpc"})
    probe = found.readiness_probe
    assert probe is not None and probe.tcp_socket is not None and probe.http_get is None
    assert (probe.tcp_socket.port, probe.period_seconds) == (9000, 5)
    assert [(one.name, one.container_port) for one in found.ports] == [("grpc", 9000)]


def test_probes_of_ones_own_stand_for_ours() -> None:
    own = {
        "readinessProbe": {"exec": {"command": ["x"]}},
        "startupProbe": {"tcpSocket": {"port": 1}},
    }
    found = server(probes=own)
    assert found.readiness_probe is not None and found.readiness_probe.http_get is None
    assert found.startup_probe is not None and found.liveness_probe is None
    plain = server()
    assert plain.readiness_probe is not None and plain.readiness_probe.http_get is not None
    assert (plain.readiness_probe.http_get.path, plain.readiness_probe.http_get.port) == (
        "/ping",
        8080,
    )


L2 = {"l2CacheLocalUrl": "redis://r"}


@pytest.mark.parametrize(
    ("cache", "variables"),
    [
        (None, {}),
        ({}, {"LMCACHE_LOCAL_CPU": "True"}),
        ({"enableL1Cache": False}, {"LMCACHE_LOCAL_CPU": "False"}),
        ({"cacheConfigFile": "/c"}, {"LMCACHE_LOCAL_CPU": "True", "LMCACHE_CONFIG_FILE": "/c"}),
        (
            {"enableL2Cache": True, "l2CacheSpec": L2},
            {"LMCACHE_LOCAL_CPU": "True", "LMCACHE_REMOTE_URL": "redis://r"},
        ),
        ({"enableL2Cache": False, "l2CacheSpec": L2}, {"LMCACHE_LOCAL_CPU": "True"}),
    ],
)
def test_a_cache_is_told_where_it_is(cache: Any, variables: dict[str, str]) -> None:
    """As LMCache reads its environment; what the user sets himself stays."""
    spec = {"kvCacheSpec": cache} if cache is not None else {}
    own = [{"name": "LMCACHE_CONFIG_FILE", "value": "mine"}]
    for given, expected in (([], variables), (own, {**variables, "LMCACHE_CONFIG_FILE": "mine"})):
        endpoint_ = made(worker={"environmentVariables": given}, **spec)
        [container] = deployment_of(endpoint_, Settings()).spec.template.spec.containers
        assert {one.name: one.value for one in container.env} == expected
        assert len(container.env) == len(expected)


def test_what_a_model_of_the_hub_does_not_get_is_named() -> None:
    assert omissions_of_model(model().spec) == []
    found = model()
    found.spec.server.execution_role = "arn"
    found.spec.server.accelerator_partition_type = "mig-1g"
    assert [one.partition(":")[0] for one in omissions_of_model(found.spec)] == [
        "model.gatedModelDownloadRole, server.executionRole",
        "server.acceleratorPartitionType",
    ]
    found.spec.server.execution_role = None
    found.spec.model.gated_model_download_role = "arn"
    assert len(omissions_of_model(found.spec)) == 2


def test_a_service_has_an_address_outside_and_no_ports_of_nodes() -> None:
    found = service_of(made(modelName="m")).spec
    assert (found.type, found.allocate_load_balancer_node_ports) == ("LoadBalancer", False)
    assert [(one.name, one.port, one.target_port) for one in found.ports] == [("http", 80, 8080)]
    assert found.selector == {"app": "model"}
