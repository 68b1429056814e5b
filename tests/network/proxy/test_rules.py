"""The ruleset of a node: what leads where."""

from __future__ import annotations

from typing import Any

import pytest

from tests.network.builders import endpoint, port, service, slice_of, slice_with
from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy.hostports import HostPort
from tiphys.network.proxy.rules import Ruleset, UDPService, desired

MASQUERADE = "meta mark set meta mark | 0x4000"
TO_BOTH = "dnat ip to numgen random mod 2 map { 0 : 10.1.0.1 . 8080, 1 : 10.1.0.2 . 8080 }"


def rules_for(
    *services: core_v1.Service, slices: Any = None, node: str = "n1", host_ports: Any = ()
) -> Ruleset:
    """With one endpoint, 10.1.0.1 on n1, for each service."""
    if slices is None:
        slices = [slice_of(one.metadata.name, "10.1.0.1") for one in services]
    return desired(services, slices, node, host_ports)


def chain_of(ruleset: Ruleset, name: str, element: str) -> tuple[str, ...]:
    """The rules that an element of a map leads to."""
    return ruleset.chains[ruleset.elements[name][element].removeprefix("goto ")]


def reachable_at(ruleset: Ruleset) -> dict[str, set[str]]:
    """The elements of the maps that have any."""
    return {name: set(rows) for name, rows in ruleset.elements.items() if rows}


def balanced(*addresses: str, mode: str | None = "VIP", **spec: object) -> core_v1.Service:
    """A service behind a load balancer."""
    built = service(type="LoadBalancer", **spec)
    built.status.load_balancer.ingress = [
        core_v1.LoadBalancerIngress(ip=address, ip_mode=mode) for address in addresses
    ]
    return built


def node_port(**spec: object) -> core_v1.Service:
    return service(type="NodePort", ports=[port("http", 80, node_port=30123)], **spec)


# --- what is reachable at all ---

REACHABLE = [
    (service(), {"services": {"tcp . 10.96.0.9 . 80"}}),
    (
        service(ports=[port("http", 80, "UDP")]),
        {"dead": {"udp . 10.96.0.9 . 80"}},
    ),
    (service(ip=""), {}),
    (service(ip="None"), {}),
    (service(type="ExternalName"), {}),
    (
        node_port(),
        {"services": {"tcp . 10.96.0.9 . 80"}, "nodeports": {"tcp . 30123"}},
    ),
    (
        service(external_ips=["192.0.2.7"]),
        {"services": {"tcp . 10.96.0.9 . 80", "tcp . 192.0.2.7 . 80"}},
    ),
    (
        balanced("192.0.2.5"),
        {"services": {"tcp . 10.96.0.9 . 80", "tcp . 192.0.2.5 . 80"}},
    ),
    (
        balanced("192.0.2.5", mode=None),
        {"services": {"tcp . 10.96.0.9 . 80", "tcp . 192.0.2.5 . 80"}},
    ),
    (balanced("192.0.2.5", mode="Proxy"), {"services": {"tcp . 10.96.0.9 . 80"}}),
    (balanced(""), {"services": {"tcp . 10.96.0.9 . 80"}}),
]


@pytest.mark.parametrize(("one", "expected"), REACHABLE)
def test_a_service_is_reachable_at(one: core_v1.Service, expected: dict[str, set[str]]) -> None:
    maps = reachable_at(rules_for(one))
    maps.pop("hairpins", None)
    assert maps == expected


def test_a_service_without_endpoints_is_refused_wherever_it_is_reachable() -> None:
    empty = node_port(external_ips=["192.0.2.7"])
    ruleset = rules_for(empty, slices=[slice_of("s", "10.1.0.1", ready=False)])
    assert ruleset.elements["dead"] == {
        "tcp . 10.96.0.9 . 80": "goto refuse",
        "tcp . 192.0.2.7 . 80": "goto refuse",
    }
    assert ruleset.elements["deadports"] == {"tcp . 30123": "goto refuse"}
    assert set(reachable_at(ruleset)) == {"dead", "deadports"} and not ruleset.chains


def test_slices_of_other_services_and_namespaces_are_not_this_ones() -> None:
    foreign = slice_of("s", "10.1.0.1")
    foreign.metadata.namespace = "other"
    ruleset = rules_for(service(), slices=[foreign, slice_of("t", "10.1.0.2")])
    assert set(reachable_at(ruleset)) == {"dead"}


# --- where it leads ---


def test_a_cluster_ip_leads_to_each_endpoint_under_the_clients_address() -> None:
    ruleset = rules_for(service(), slices=[slice_of("s", "10.1.0.1", "10.1.0.2")])
    chain = chain_of(ruleset, "services", "tcp . 10.96.0.9 . 80")
    assert chain == (f"meta l4proto tcp {TO_BOTH}",)


@pytest.mark.parametrize(
    ("one", "name", "element"),
    [
        (node_port(), "nodeports", "tcp . 30123"),
        (service(external_ips=["192.0.2.7"]), "services", "tcp . 192.0.2.7 . 80"),
        (balanced("192.0.2.5"), "services", "tcp . 192.0.2.5 . 80"),
    ],
)
def test_what_comes_from_outside_leads_to_every_endpoint_and_comes_back_here(
    one: core_v1.Service, name: str, element: str
) -> None:
    ruleset = rules_for(one, slices=[slice_of("s", "10.1.0.1", "10.1.0.2")], node="n2")
    assert chain_of(ruleset, name, element) == (MASQUERADE, f"meta l4proto tcp {TO_BOTH}")


def test_each_port_leads_to_its_own_number() -> None:
    ports = [port("http", 80), port("dns", 53, "UDP")]
    slices = [
        slice_with("s", [endpoint("10.1.0.1")], (("http", 8080, "TCP"), ("dns", 5353, "UDP")))
    ]
    ruleset = rules_for(service(ports=ports), slices=slices)
    assert "10.1.0.1 . 8080" in chain_of(ruleset, "services", "tcp . 10.96.0.9 . 80")[0]
    assert "udp dnat ip to" in chain_of(ruleset, "services", "udp . 10.96.0.9 . 53")[0]
    assert "10.1.0.1 . 5353" in chain_of(ruleset, "services", "udp . 10.96.0.9 . 53")[0]
    assert ruleset.udp == {UDPService("10.96.0.9", 53)}


def test_only_a_pod_that_is_led_to_itself_is_hidden() -> None:
    """One that is led to another pod keeps its address, by which network policies go."""
    slices = [
        slice_with("s", [endpoint("10.1.0.1"), endpoint("10.1.0.2", node="n2")]),
    ]
    ruleset = rules_for(service(), slices=slices)
    assert ruleset.elements["hairpins"] == {"10.1.0.1 . 10.1.0.1": "goto hide"}


# --- Local ---


def test_a_service_that_stays_inside_a_node_is_refused_where_it_has_no_endpoint() -> None:
    one = service(internal_traffic_policy="Local")
    assert set(reachable_at(rules_for(one, node="n2"))) == {"dead"}
    assert "services" in reachable_at(rules_for(one, node="n1"))


def test_each_policy_is_about_its_own_direction() -> None:
    inside = rules_for(node_port(internal_traffic_policy="Local"), node="n2")
    outside = rules_for(node_port(external_traffic_policy="Local"), node="n2")
    assert MASQUERADE in chain_of(inside, "nodeports", "tcp . 30123")
    assert chain_of(outside, "services", "tcp . 10.96.0.9 . 80")
    assert set(outside.elements["dead"]) == set()


LOCAL = [
    (node_port(external_traffic_policy="Local"), "nodeports", "tcp . 30123", "deadports"),
    (
        service(external_ips=["192.0.2.7"], external_traffic_policy="Local"),
        "services",
        "tcp . 192.0.2.7 . 80",
        "dead",
    ),
]


@pytest.mark.parametrize(("one", "name", "element", "dead"), LOCAL)
def test_a_client_from_outside_stays_on_the_node_and_keeps_its_address(
    one: core_v1.Service, name: str, element: str, dead: str
) -> None:
    slices = [slice_with("s", [endpoint("10.1.0.1"), endpoint("10.1.0.2", node="n2")])]
    ruleset = rules_for(one, slices=slices)
    pods, hide, node, *last = chain_of(ruleset, name, element)
    anywhere = pods.removeprefix("ip saddr @pods goto ")
    assert hide == f"fib saddr type local {MASQUERADE}"
    assert node == f"fib saddr type local goto {anywhere}"
    assert last == ["meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.1.0.1 . 8080 }"]
    assert ruleset.chains[anywhere] == (f"meta l4proto tcp {TO_BOTH}",)
    assert not ruleset.elements[dead]


@pytest.mark.parametrize(("one", "name", "element", "dead"), LOCAL)
def test_a_node_without_endpoints_is_silent_to_clients_from_outside_and_leads_its_own(
    one: core_v1.Service, name: str, element: str, dead: str
) -> None:
    """A refusal would end what a load balancer tries at the next node."""
    ruleset = rules_for(one, node="n2")
    assert len(chain_of(ruleset, name, element)) == 3
    assert ruleset.elements[dead] == {element: "goto silence"}


@pytest.mark.parametrize(("one", "name", "element", "dead"), LOCAL)
def test_a_service_without_any_endpoint_is_refused_on_every_node(
    one: core_v1.Service, name: str, element: str, dead: str
) -> None:
    ruleset = rules_for(one, slices=[])
    assert ruleset.elements[dead][element] == "goto refuse" and not ruleset.elements[name]


# --- affinity ---


def affine(seconds: int | None) -> core_v1.Service:
    one = service(session_affinity="ClientIP")
    if seconds is not None:
        client = core_v1.ClientIPConfig(timeout_seconds=seconds)
        one.spec.session_affinity_config = core_v1.SessionAffinityConfig(client_ip=client)
    return one


@pytest.mark.parametrize(("asked", "seconds"), [(None, 10800), (60, 60)])
def test_a_client_stays_with_its_endpoint(asked: int | None, seconds: int) -> None:
    ruleset = rules_for(affine(asked), slices=[slice_of("s", "10.1.0.1", "10.1.0.2")])
    first, second = (name.removeprefix("aff-") for name in ruleset.sets)
    assert list(ruleset.sets.values()) == [seconds] * 2
    assert chain_of(ruleset, "services", "tcp . 10.96.0.9 . 80") == (
        f"ip saddr @aff-{first} goto {first}",
        f"ip saddr @aff-{second} goto {second}",
        f"numgen random mod 2 vmap {{ 0 : goto {first}, 1 : goto {second} }}",
    )
    assert ruleset.chains[second] == (
        f"update @aff-{second} {{ ip saddr }}",
        "meta l4proto tcp dnat to 10.1.0.2:8080",
    )


def test_another_time_is_another_set() -> None:
    """The kernel does not change the time of a set that is there."""
    assert not rules_for(affine(60)).sets.keys() & rules_for(affine(61)).sets.keys()


# --- source ranges ---

RANGES = [
    (["198.51.100.0/24"], "{ 198.51.100.0/24 }"),
    ([" 198.51.100.0/24 ", "2001:db8::/32"], "{ 198.51.100.0/24 }"),
    (["198.51.100.0/24", "198.51.100.0/25"], "{ 198.51.100.0/24 }"),
    (["198.51.100.7/24", "203.0.113.0/24"], "{ 198.51.100.0/24, 203.0.113.0/24 }"),
    ([], None),
    (["0.0.0.0/0"], None),
    (["0.0.0.0/0", "198.51.100.0/24"], None),
]


@pytest.mark.parametrize(("ranges", "expected"), RANGES)
def test_a_load_balancers_address_is_for_the_sources_that_the_service_names(
    ranges: list[str], expected: str | None
) -> None:
    one = balanced("192.0.2.1", load_balancer_source_ranges=ranges, external_ips=["192.0.2.7"])
    ruleset = rules_for(one)
    if expected is None:
        assert not ruleset.elements["firewall"]
        return
    assert list(ruleset.elements["firewall"]) == ["tcp . 192.0.2.1 . 80"], "not the external IP"
    rules = chain_of(ruleset, "firewall", "tcp . 192.0.2.1 . 80")
    assert rules == (f"ip saddr != {expected} drop",)


# --- host ports ---


def test_a_host_port_leads_to_its_pod() -> None:
    rows = [
        HostPort("TCP", "127.0.0.1", 80, "10.1.0.1", 8080),
        HostPort("TCP", "10.0.0.1", 80, "10.1.0.2", 8080),
        HostPort("UDP", "", 80, "10.1.0.3", 8080),
    ]
    ruleset = rules_for(host_ports=rows)
    led = {
        (name, element): ruleset.chains[verdict.removeprefix("goto ")]
        for name, verdicts in ruleset.elements.items()
        for element, verdict in verdicts.items()
    }
    assert led == {
        ("services", "tcp . 127.0.0.1 . 80"): to_pod("tcp", "10.1.0.1"),
        ("services", "tcp . 10.0.0.1 . 80"): to_pod("tcp", "10.1.0.2"),
        ("hostports", "udp . 80"): to_pod("udp", "10.1.0.3"),
    }


def to_pod(protocol: str, address: str) -> tuple[str, str]:
    """The pod sees neither itself nor the loopback as its client."""
    return (
        f"ip saddr {{ 127.0.0.0/8, {address} }} {MASQUERADE}",
        f"meta l4proto {protocol} dnat to {address}:8080",
    )


def test_a_service_goes_before_a_host_port_and_the_first_of_two_before_the_second() -> None:
    rows = [
        HostPort("TCP", "10.96.0.9", 80, "10.1.0.7", 8080),
        HostPort("TCP", "", 80, "10.1.0.8", 8080),
        HostPort("TCP", "", 80, "10.1.0.9", 8080),
    ]
    ruleset = rules_for(service(), host_ports=rows)
    assert "10.1.0.1 . 8080" in chain_of(ruleset, "services", "tcp . 10.96.0.9 . 80")[0]
    assert chain_of(ruleset, "hostports", "tcp . 80") == to_pod("tcp", "10.1.0.8")


def test_the_slices_of_an_unlabelled_owner_are_nobodys() -> None:
    unlabelled: discovery_v1.EndpointSlice = slice_of("s", "10.1.0.1")
    unlabelled.metadata.labels = {}
    assert set(reachable_at(rules_for(service(), slices=[unlabelled]))) == {"dead"}
