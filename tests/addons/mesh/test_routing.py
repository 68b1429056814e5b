"""Which route holds, what is wrong with one, and what sidecars make of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.mesh.builders import port, route, service, slice_of
from tiphys.addons.mesh.outbound import Member, Target, protocol_of, resources_of
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


def test_headless_services_have_no_listener_and_udp_nothing() -> None:
    assert not resources_of(Target(service("web", ip="None")))[LISTENER]
    assert not resources_of(Target(service("web", port(protocol="UDP"))))[CLUSTER]
