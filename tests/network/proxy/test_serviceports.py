"""What a service needs on a node: what leads where."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.network.builders import endpoint, port, service, slice_of, slice_with
from tiphys.api import core_v1, discovery_v1
from tiphys.network.proxy.endpoints import Endpoint, Place
from tiphys.network.proxy.hostports import HostPort
from tiphys.network.proxy.rules import (
    Accept,
    Direct,
    Drop,
    Element,
    Flow,
    Masquerade,
    MasqueradeFrom,
    MasqueradeNode,
    NodeGoes,
    Part,
    PodsGo,
    Rule,
    Spread,
    Stay,
)
from tiphys.network.proxy.serviceports import host_port_part, service_part

BOTH = (Endpoint("10.1.0.1", 8080), Endpoint("10.1.0.2", 8080))


def part_of(
    one: core_v1.Service, slices: Any = None, node: str = "n1", version: int = 4, zone: str = ""
) -> Part:
    """With one endpoint, 10.1.0.1 on n1, unless there are other slices."""
    if slices is None:
        slices = [slice_of(one.metadata.name, "10.1.0.1")]
    return service_part(one, slices, Place(node, zone), version)


def written(element: Element) -> str:
    """An element as nft shows it."""
    parts = (element.protocol, element.address, element.port)
    return " . ".join(str(part) for part in parts if part)


def at(part: Part, name: str) -> dict[str, str]:
    """The elements of a map."""
    return {written(key): chain for key, chain in part.elements.items() if key.map == name}


def chain_of(part: Part, name: str, element: str) -> tuple[Rule, ...]:
    """The rules that an element of a map leads to."""
    return part.chains[at(part, name)[element]]


def targets_of(part: Part, name: str, element: str) -> tuple[Endpoint, ...]:
    """The endpoints that it leads to in the end."""
    last = chain_of(part, name, element)[-1]
    assert isinstance(last, Spread | Stay)
    return part.pools[last.pool]


def reachable_at(part: Part) -> dict[str, set[str]]:
    """The elements of the maps that have any, without those of pods that are led to themselves."""
    names = {key.map for key in part.elements} - {"hairpins"}
    return {name: set(at(part, name)) for name in names}


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
    assert reachable_at(part_of(one)) == expected


def test_a_service_that_is_another_proxys_is_left_alone() -> None:
    one = service()
    one.metadata.labels["service.kubernetes.io/service-proxy-name"] = ""
    assert part_of(one) == Part()


def test_a_service_without_endpoints_is_refused_wherever_it_is_reachable() -> None:
    empty = node_port(external_ips=["192.0.2.7"])
    part = part_of(empty, [slice_of("s", "10.1.0.1", ready=False)])
    assert at(part, "dead") == {
        "tcp . 10.96.0.9 . 80": "refuse",
        "tcp . 192.0.2.7 . 80": "refuse",
    }
    assert at(part, "deadports") == {"tcp . 30123": "refuse"}
    assert set(reachable_at(part)) == {"dead", "deadports"} and not part.chains


# --- versions of IP ---


def test_each_version_of_ip_has_its_own_addresses_and_endpoints() -> None:
    one = node_port(external_ips=["192.0.2.7", "2001:db8::7"])
    one.spec.cluster_ips = ["10.96.0.9", "fd96::9"]
    other = slice_of("s", "fd01::1")
    other.address_type = "IPv6"
    part = part_of(one, [slice_of("s", "10.1.0.1"), other], version=6)
    assert set(at(part, "services")) == {"tcp . fd96::9 . 80", "tcp . 2001:db8::7 . 80"}
    assert targets_of(part, "services", "tcp . fd96::9 . 80") == (Endpoint("fd01::1", 8080),)


def test_a_service_of_the_other_version_needs_nothing() -> None:
    assert part_of(node_port(), version=6) == Part()


# --- where it leads ---


def test_a_cluster_ip_leads_to_each_endpoint_under_the_clients_address() -> None:
    part = part_of(service(), [slice_of("s", "10.1.0.1", "10.1.0.2")])
    (rule,) = chain_of(part, "services", "tcp . 10.96.0.9 . 80")
    assert isinstance(rule, Spread) and part.pools[rule.pool] == BOTH


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
    part = part_of(one, [slice_of("s", "10.1.0.1", "10.1.0.2")], node="n2")
    assert chain_of(part, name, element)[0] == Masquerade()
    assert targets_of(part, name, element) == BOTH


def test_each_port_leads_to_its_own_number() -> None:
    ports = [port("http", 80), port("dns", 53, "UDP")]
    slice_ports = (("http", 8080, "TCP"), ("dns", 5353, "UDP"))
    part = part_of(service(ports=ports), [slice_with("s", [endpoint("10.1.0.1")], slice_ports)])
    http = targets_of(part, "services", "tcp . 10.96.0.9 . 80")
    dns = targets_of(part, "services", "udp . 10.96.0.9 . 53")
    assert (http, dns) == ((Endpoint("10.1.0.1", 8080),), (Endpoint("10.1.0.1", 5353),))


def test_only_a_pod_that_is_led_to_itself_is_hidden() -> None:
    """One that is led to another pod keeps its address, by which network policies go."""
    slices = [slice_with("s", [endpoint("10.1.0.1"), endpoint("10.1.0.2", node="n2")])]
    assert at(part_of(service(), slices), "hairpins") == {"10.1.0.1": "hide"}


# --- Local ---


def test_a_service_that_stays_inside_a_node_drops_where_only_others_have_endpoints() -> None:
    one = service(internal_traffic_policy="Local")
    elsewhere = part_of(one, node="n2")
    assert at(elsewhere, "dead") == {"tcp . 10.96.0.9 . 80": "silence"}
    assert at(part_of(one, []), "dead") == {"tcp . 10.96.0.9 . 80": "refuse"}
    assert "services" in reachable_at(part_of(one, node="n1"))


def test_each_policy_is_about_its_own_direction() -> None:
    inside = part_of(node_port(internal_traffic_policy="Local"), node="n2")
    outside = part_of(node_port(external_traffic_policy="Local"), node="n2")
    assert Masquerade() in chain_of(inside, "nodeports", "tcp . 30123")
    assert chain_of(outside, "services", "tcp . 10.96.0.9 . 80")
    assert not at(outside, "dead")


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
    part = part_of(one, [slice_with("s", [endpoint("10.1.0.1"), endpoint("10.1.0.2", node="n2")])])
    pods, hide, node, last = chain_of(part, name, element)
    assert isinstance(pods, PodsGo)
    assert (hide, node) == (MasqueradeNode(), NodeGoes(pods.chain))
    assert isinstance(last, Spread) and part.pools[last.pool] == BOTH[:1]
    (anywhere,) = part.chains[pods.chain]
    assert isinstance(anywhere, Spread) and part.pools[anywhere.pool] == BOTH
    assert not at(part, dead)


@pytest.mark.parametrize(("one", "name", "element", "dead"), LOCAL)
def test_a_node_without_endpoints_is_silent_to_clients_from_outside_and_leads_its_own(
    one: core_v1.Service, name: str, element: str, dead: str
) -> None:
    """A refusal would end what a load balancer tries at the next node."""
    part = part_of(one, node="n2")
    assert len(chain_of(part, name, element)) == 3
    assert at(part, dead) == {element: "silence"}


@pytest.mark.parametrize(("one", "name", "element", "dead"), LOCAL)
def test_a_service_without_any_endpoint_is_refused_on_every_node(
    one: core_v1.Service, name: str, element: str, dead: str
) -> None:
    part = part_of(one, [])
    assert at(part, dead)[element] == "refuse" and not at(part, name)


# --- affinity ---


def affine(seconds: int | None) -> core_v1.Service:
    one = service(session_affinity="ClientIP")
    if seconds is not None:
        client = core_v1.ClientIPConfig(timeout_seconds=seconds)
        one.spec.session_affinity_config = core_v1.SessionAffinityConfig(client_ip=client)
    return one


@pytest.mark.parametrize(("asked", "seconds"), [(None, 10800), (60, 60)])
def test_a_client_stays_with_its_endpoint(asked: int | None, seconds: int) -> None:
    part = part_of(affine(asked), [slice_of("s", "10.1.0.1", "10.1.0.2")])
    (rule,) = chain_of(part, "services", "tcp . 10.96.0.9 . 80")
    assert isinstance(rule, Stay) and rule.seconds == seconds
    assert part.sticky == {rule.pool} and part.pools[rule.pool] == BOTH


# --- source ranges ---

RANGES = [
    (["198.51.100.0/24"], ["198.51.100.0/24"]),
    ([" 198.51.100.0/24 ", "2001:db8::/32"], ["198.51.100.0/24"]),
    (["198.51.100.0/24", "198.51.100.0/25"], ["198.51.100.0/24"]),
    (["198.51.100.7/24", "203.0.113.0/24"], ["198.51.100.0/24", "203.0.113.0/24"]),
    ([], None),
    (["0.0.0.0/0"], None),
    (["0.0.0.0/0", "198.51.100.0/24"], None),
]


@pytest.mark.parametrize(("ranges", "expected"), RANGES)
def test_a_load_balancers_address_is_for_the_sources_that_the_service_names(
    ranges: list[str], expected: list[str] | None
) -> None:
    one = balanced("192.0.2.1", load_balancer_source_ranges=ranges, external_ips=["192.0.2.7"])
    part = part_of(one)
    if expected is None:
        assert not at(part, "firewall")
        return
    assert set(at(part, "firewall")) == {"tcp . 192.0.2.1 . 80"}, "not the external IP"
    allowed = [Accept(ipaddress.ip_network(network)) for network in expected]
    assert chain_of(part, "firewall", "tcp . 192.0.2.1 . 80") == (*allowed, Drop())


# --- UDP ---


def test_flows_are_kept_of_every_way_in_to_an_endpoint_that_serves() -> None:
    ports = [port("http", 80, "UDP", node_port=30123)]
    one = service(type="NodePort", ports=ports, external_ips=["192.0.2.7"])
    ending = endpoint("10.1.0.2", ready=False, serving=True, terminating=True)
    rows = [endpoint("10.1.0.1"), ending, endpoint("10.1.0.3", ready=False)]
    part = part_of(one, [slice_with("s", rows, (("http", 8080, "UDP"),))])
    ways = [Flow("10.96.0.9", 80), Flow("192.0.2.7", 80), Flow("", 30123)]
    assert part.flows == dict.fromkeys(ways, frozenset(BOTH))


# --- host ports ---


def test_a_host_port_leads_to_its_pod() -> None:
    rows = [
        HostPort("TCP", "127.0.0.1", 80, "10.1.0.1", 8080),
        HostPort("TCP", "10.0.0.1", 80, "10.1.0.2", 8080),
        HostPort("UDP", "", 80, "10.1.0.3", 8080),
    ]
    part = host_port_part(rows)
    led = {(key.map, written(key)): part.chains[chain] for key, chain in part.elements.items()}
    assert led == {
        ("services", "tcp . 127.0.0.1 . 80"): to_pod("10.1.0.1"),
        ("services", "tcp . 10.0.0.1 . 80"): to_pod("10.1.0.2"),
        ("hostports", "udp . 80"): to_pod("10.1.0.3"),
    }


def to_pod(address: str) -> tuple[Rule, ...]:
    """The pod sees neither itself nor the loopback as its client."""
    return (
        MasqueradeFrom(ipaddress.ip_network("127.0.0.0/8")),
        MasqueradeFrom(ipaddress.ip_network(address)),
        Direct(Endpoint(address, 8080)),
    )


def test_slices_that_say_they_are_headless_are_not_used_whatever_the_service_says() -> None:
    one = service()
    one.metadata.labels["service.kubernetes.io/headless"] = ""
    assert "dead" not in reachable_at(part_of(one))
    headless: discovery_v1.EndpointSlice = slice_of("s", "10.1.0.1")
    headless.metadata.labels["service.kubernetes.io/headless"] = ""
    assert set(reachable_at(part_of(service(), [headless]))) == {"dead"}
