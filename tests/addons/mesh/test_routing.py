"""Which route holds, what is wrong with one, and what sidecars make of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.addons.mesh.builders import port, route, service, slice_of
from tiphys.addons.mesh.filters import SAFE
from tiphys.addons.mesh.outbound import Member, Target, changes, protocol_of, resources_of
from tiphys.addons.mesh.routing import Verdict, judge, route_for, seconds
from tiphys.addons.mesh.types import RouteRetry, RouteTimeouts
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE

IDENTITY = "spiffe://cluster.local/ns/shop/sa/web"
NAME = "web.shop:80"


def actions(*routes: Any) -> list[Any]:
    """For methods that change nothing, and for all others."""
    made: Any = resources_of(Target(service("web"), routes=routes))
    return [one.route for one in made[ROUTE][NAME].virtual_hosts[0].routes]


def action(*routes: Any) -> Any:
    return actions(*routes)[1]


@pytest.mark.parametrize(
    ("text", "value"), [("1s", 1), ("250ms", 0.25), ("1m30s", 90), ("1h", 3600), ("0s", 0)]
)
def test_durations_are_gateway_apis(text: str, value: float) -> None:
    assert seconds(text) == value


def test_of_several_routes_the_older_and_the_closer_holds() -> None:
    young = route("young", service="web", created="2026-01-02T00:00:00Z")
    old = route("old", service="web", created="2026-01-01T00:00:00Z")
    close = route("close", service="web", port=80, created="2026-01-03T00:00:00Z")
    assert route_for([young, old], "web", 80) is old
    assert route_for([young, old, close], "web", 80) is close
    assert route_for([young, old, close], "web", 81) is old
    assert route_for([young], "other", 80) is None


def test_a_route_is_told_what_it_lacks() -> None:
    services = {"web": service("web")}
    old = route("old", service="web", created="2026-01-01T00:00:00Z")
    young = route("young", ("web", 1), ("nobody", 1), service="web", created="2026-01-02T00:00:00Z")
    assert judge(old, [old, young], services) == Verdict()
    assert judge(young, [old, young], services) == Verdict("old", unresolved=("nobody:80",))
    lost = route("lost", service="lost")
    assert judge(lost, [lost], services).no_service == "there is no Service lost"
    wrong = route("wrong", service="web", port=81)
    assert judge(wrong, [wrong], services).no_service == "Service web has no TCP port 81"


def test_of_the_same_second_the_first_by_name_holds() -> None:
    a, b = (route(name, service="web", created="2026-01-01T00:00:00Z") for name in "ab")
    services = {"web": service("web")}
    assert route_for([b, a], "web", 80) is a
    assert judge(b, [a, b], services).conflicting == "a"
    assert judge(a, [a, b], services) == Verdict()


def test_routes_for_different_ports_are_in_nobodys_way() -> None:
    services = {"web": service("web", port(), port("https", 443))}
    old = route("old", service="web", port=80, created="2026-01-01T00:00:00Z")
    young = route("young", service="web", created="2026-01-02T00:00:00Z")
    other = route("other", service="web", port=443, created="2026-01-02T00:00:00Z")
    third = route("third", service="web", port=80, created="2026-01-03T00:00:00Z")
    every = [third, young, old, other]
    found = {one.metadata.name: judge(one, every, services).conflicting for one in every}
    assert found == {"old": "", "young": "", "other": "", "third": "old"}


def test_a_port_of_udp_is_none() -> None:
    services = {"web": service("web", port(protocol="UDP"))}
    verdict = judge(route("web", ("web", 1), port=80), [], services)
    assert verdict == Verdict("", "Service web has no TCP port 80", ("web:80",))


def test_requests_go_to_the_service_itself_without_a_route() -> None:
    made = action()
    assert made.cluster == NAME and made.timeout.seconds == 0


def test_only_what_changes_nothing_is_sent_again_when_a_connection_broke() -> None:
    words = [set(one.retry_policy.retry_on.split(",")) for one in actions()]
    assert all({"connect-failure", "reset-before-request"} <= one for one in words)
    assert ["reset" in one for one in words] == [True, False]


def test_weights_timeouts_and_retries_are_carried_out() -> None:
    made = action(
        route(
            "web",
            ("web", 90),
            ("canary", 10),
            ("none", 0),
            timeouts=RouteTimeouts(request="2s", backend_request="300ms"),
            retry=RouteRetry(codes=[503, 500], attempts=3, backoff="10ms"),
        )
    )
    shares = {one.name: one.weight.value for one in made.weighted_clusters.clusters}
    assert shares == {NAME: 90, "canary.shop:80": 10}
    policy = made.retry_policy
    assert (made.timeout.seconds, policy.per_try_timeout.nanos) == (2, 300_000_000)
    assert (policy.num_retries.value, list(policy.retriable_status_codes)) == (3, [500, 503])
    assert policy.retry_back_off.base_interval.nanos == 10_000_000


def test_every_request_is_sent_again_where_none_of_it_reached_a_server() -> None:
    safe, other = actions()
    for one in (safe, other):
        assert one.retry_policy.num_retries.value == 2
        assert one.retry_policy.host_selection_retry_max_attempts == 5
        assert [row.name for row in one.retry_policy.retry_host_predicate] == [
            "envoy.retry_host_predicates.previous_hosts"
        ]
    (unreached,) = safe.retry_policy.retriable_headers
    assert unreached.present_match, "yes and maybe"
    (unreached,) = other.retry_policy.retriable_headers
    assert unreached.string_match.exact == "yes"
    codes = other.ClusterNotFoundResponseCode
    assert codes.Name(other.cluster_not_found_response_code) == "INTERNAL_SERVER_ERROR"


@pytest.mark.parametrize(
    ("method", "is_safe"),
    [("GET", True), ("HEAD", True), ("OPTIONS", True), ("TRACE", True), ("PUT", False)],
)
def test_methods_that_change_nothing_are_told_apart(method: str, is_safe: bool) -> None:
    """RFC 9110, 9.2.1."""
    made: Any = resources_of(Target(service("web")))
    first, rest = made[ROUTE][NAME].virtual_hosts[0].routes
    (header,) = first.match.headers
    assert (header.name, first.match.prefix, rest.match.prefix) == (":method", "/", "/")
    expression = header.string_match.safe_regex.regex
    assert (re.fullmatch(expression, method) is not None) is is_safe
    assert not rest.match.headers
    for one in (first, rest):
        assert list(one.response_headers_to_remove) == ["x-tiphys-mesh-unreached"]


@pytest.mark.parametrize(
    ("parts", "words", "retries"),
    [
        ({}, set(), 2),
        ({"retry": RouteRetry()}, {"reset"}, 1),
        ({"retry": RouteRetry(attempts=4)}, {"reset"}, 4),
        (
            {"retry": RouteRetry(codes=[503, 503, 500])},
            {"reset", "retriable-status-codes"},
            1,
        ),
    ],
)
def test_a_route_says_when_a_request_is_sent_again(
    parts: dict[str, Any], words: set[str], retries: int
) -> None:
    policy = action(route("web", **parts)).retry_policy
    always = {*SAFE.split(","), "retriable-headers"}
    assert set(policy.retry_on.split(",")) - always == words
    assert policy.num_retries.value == retries
    assert list(policy.retriable_status_codes) == ([500, 503] if len(words) == 2 else [])


@pytest.mark.parametrize(
    ("timeouts", "whole", "attempt"),
    [
        (RouteTimeouts(), 0, None),
        (RouteTimeouts(request="2s"), 2000, None),
        (RouteTimeouts(request="0s"), 0, None),
        (RouteTimeouts(backend_request="1s"), 0, 1000),
        (RouteTimeouts(request="2s", backend_request="250ms"), 2000, 250),
    ],
)
def test_no_timeout_is_no_limit(timeouts: RouteTimeouts, whole: int, attempt: int | None) -> None:
    made = action(route("web", timeouts=timeouts))
    assert made.HasField("timeout") and made.timeout.ToMilliseconds() == whole
    policy = made.retry_policy
    found = policy.per_try_timeout.ToMilliseconds() if policy.HasField("per_try_timeout") else None
    assert found == attempt


@pytest.mark.parametrize(("backoff", "is_set"), [(None, False), ("0s", False), ("1s", True)])
def test_a_pause_of_nothing_is_envoys_own(backoff: str | None, is_set: bool) -> None:
    """Envoy refuses a base interval of 0."""
    policy = action(route("web", retry=RouteRetry(backoff=backoff))).retry_policy
    assert policy.HasField("retry_back_off") is is_set


def test_weights_that_are_all_zero_lead_nowhere() -> None:
    assert action(route("web", ("web", 0))).cluster == "nowhere"


@pytest.mark.parametrize(
    ("row", "protocol"),
    [
        (port("http"), "http"),
        (port("grpc-api"), "http"),
        (port("tcp-db"), "tcp"),
        (port("https"), "tcp"),
        (port("web"), ""),
        (port(""), ""),
        (port("tcp", app_protocol="kubernetes.io/h2c"), "http"),
    ],
)
def test_a_port_says_what_it_speaks(row: Any, protocol: str) -> None:
    assert protocol_of(row) == protocol


def test_a_port_that_does_not_say_is_looked_at() -> None:
    made = resources_of(Target(service("web", port("web"))))
    listener: Any = made[LISTENER][NAME]
    assert list(listener.filter_chains[0].filter_chain_match.application_protocols)
    assert listener.HasField("default_filter_chain")
    assert set(made[CLUSTER]) == {NAME, f"{NAME}/tcp"}


def test_members_are_spoken_to_by_mutual_tls_and_others_as_they_are() -> None:
    slices = [slice_of("web", one="10.1.0.1", two="10.1.0.2")]
    target = Target(service("web"), slices, [Member("10.1.0.1", IDENTITY)])
    made = resources_of(target)
    cluster: Any = made[CLUSTER][NAME]
    assert not cluster.HasField("transport_socket")
    assert IDENTITY.encode() in cluster.transport_socket_matches[0].SerializeToString()
    endpoints: Any = made[ENDPOINTS][NAME]
    marked = {
        one.endpoint.address.socket_address.address: bool(one.metadata.filter_metadata)
        for group in endpoints.endpoints
        for one in group.lb_endpoints
    }
    assert marked == {"10.1.0.1": True, "10.1.0.2": False}


def test_in_a_strict_namespace_nobody_is_spoken_to_in_the_open() -> None:
    fallback = "spiffe://cluster.local/ns/shop/"
    made: Any = resources_of(Target(service("web"), is_strict=True, fallback=fallback))
    cluster = made[CLUSTER][NAME]
    assert cluster.HasField("transport_socket") and not cluster.transport_socket_matches
    assert fallback.encode() in cluster.SerializeToString()


def test_a_listener_of_a_service_is_bound_to_nothing() -> None:
    made: Any = resources_of(Target(service("web")))[LISTENER][NAME]
    socket = made.address.socket_address
    assert (socket.address, socket.port_value) == ("10.96.0.7", 80)
    assert made.HasField("bind_to_port") and not made.bind_to_port.value


@pytest.mark.parametrize(
    ("named", "chains", "is_looked_at"),
    [("http", ["http"], False), ("tcp-db", ["tcp"], False), ("web", ["http", "tcp"], True)],
)
def test_a_port_has_a_chain_for_each_protocol_it_may_speak(
    named: str, chains: list[str], is_looked_at: bool
) -> None:
    made: Any = resources_of(Target(service("web", port(named))))[LISTENER][NAME]
    found = [one.name for one in made.filter_chains]
    if made.HasField("default_filter_chain"):
        found.append(made.default_filter_chain.name)
    assert found == chains
    assert bool(made.listener_filters) is is_looked_at
    assert made.continue_on_listener_filters_timeout is is_looked_at
    assert made.listener_filters_timeout.seconds == (1 if is_looked_at else 0)


@pytest.mark.parametrize(
    ("named", "clusters", "has_routes"),
    [
        ("http", {NAME}, True),
        ("tcp-db", {f"{NAME}/tcp"}, False),
        ("web", {NAME, f"{NAME}/tcp"}, True),
    ],
)
def test_a_port_has_a_cluster_for_each_protocol(
    named: str, clusters: set[str], has_routes: bool
) -> None:
    made = resources_of(Target(service("web", port(named))))
    assert set(made[CLUSTER]) == clusters
    assert bool(made[ROUTE]) is has_routes and set(made[ENDPOINTS]) == {NAME}


def test_a_cluster_is_asked_by_load_and_never_in_a_panic() -> None:
    made: Any = resources_of(Target(service("web")))[CLUSTER][NAME]
    (policy,) = made.load_balancing_policy.policies
    assert policy.typed_extension_config.name == "envoy.load_balancing_policies.least_request"
    assert made.common_lb_config.HasField("healthy_panic_threshold")
    assert made.common_lb_config.healthy_panic_threshold.value == 0.0
    assert made.connect_timeout.seconds == 2
    assert made.alt_stat_name == "web_shop:80"


def test_what_is_gone_is_taken_out_of_a_cache() -> None:
    one, two = resources_of(Target(service("web"))), resources_of(Target(service("web", ip="None")))
    before = {kind: set(named) for kind, named in one.items()}
    told = changes(before, two)
    assert told[LISTENER] == {NAME: None} and told[ROUTE] == {NAME: None}
    assert set(told[CLUSTER]) == {NAME} and told[CLUSTER][NAME] is not None
    assert changes({}, one) == one
    assert changes(before, {}) == {kind: dict.fromkeys(named) for kind, named in one.items()}


def test_headless_services_have_no_listener_and_udp_nothing() -> None:
    assert not resources_of(Target(service("web", ip="None")))[LISTENER]
    assert not resources_of(Target(service("web", port(protocol="UDP"))))[CLUSTER]
