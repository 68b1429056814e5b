"""What policies, pods and namespaces say, as it is read from the API's objects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod as build_pod
from tests.network.policies import HTTP, facts, policy
from tiphys.network.policy.model import (
    BlockPeer,
    NamedPort,
    PodPeer,
    PortMatch,
    facts_of,
    read,
)

# --- pods ---

ADDRESSES = [
    # (spec, phase, the status' address, the sandbox's) → the address that policies go by
    ({}, "Running", "10.0.0.9", "", "10.0.0.9"),
    ({}, "Pending", "", "10.0.0.9", "10.0.0.9"),
    ({}, "Running", "10.0.0.8", "10.0.0.9", "10.0.0.9"),
    ({}, "Pending", "", "", ""),
    ({}, "Succeeded", "10.0.0.9", "", ""),
    ({}, "Failed", "10.0.0.9", "10.0.0.9", ""),
    ({"hostNetwork": True}, "Running", "10.0.0.9", "", ""),
    ({}, "Running", "fd00::9", "", ""),
]


@pytest.mark.parametrize(("spec", "phase", "address", "sandbox", "expected"), ADDRESSES)
def test_a_pod_has_an_address_of_its_own_while_it_runs(
    spec: dict[str, Any], phase: str, address: str, sandbox: str, expected: str
) -> None:
    pod = build_pod("p", **spec)
    pod.status.phase, pod.status.pod_ip = phase, address
    assert facts_of(pod, sandbox).address == expected


def container(name: str, port: str, **fields: Any) -> dict[str, Any]:
    ports = [{"name": port, "containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}]
    return {"name": name, "image": "i", "ports": ports} | fields


def test_named_ports_are_those_of_containers_and_of_sidecars() -> None:
    pod = build_pod(
        "p",
        containers=[container("c", "web")],
        initContainers=[
            container("sidecar", "metrics", restartPolicy="Always"),
            container("init", "never"),
        ],
    )
    assert facts_of(pod).ports == (NamedPort("web", "TCP", 80), NamedPort("metrics", "TCP", 80))


# --- policies ---

TYPES = [
    ({}, (True, False)),
    ({"egress": [{}]}, (True, True)),
    ({"policyTypes": ["Egress"]}, (False, True)),
    ({"policyTypes": ["Ingress"], "egress": [{}]}, (True, False)),
    ({"policyTypes": ["Ingress", "Egress"]}, (True, True)),
]


@pytest.mark.parametrize(("spec", "directions"), TYPES)
def test_a_policy_is_about_one_direction_or_both(
    spec: dict[str, Any], directions: tuple[bool, bool]
) -> None:
    one = read(policy("p", **spec))
    assert (one.rules("ingress") is not None, one.rules("egress") is not None) == directions


def test_a_policy_selects_pods_of_its_own_namespace() -> None:
    one = read(policy("p", podSelector={"matchLabels": {"app": "web"}}))
    assert one.selects(facts("a", "10.0.0.1", app="web"))
    assert not one.selects(facts("a", "10.0.0.1", app="db"))
    assert not one.selects(facts("a", "10.0.0.1", "y", app="web"))


SPACES = {"x": {"team": "a"}, "y": {"team": "b"}}
BACK = {"matchLabels": {"tier": "back"}}
TEAM = {"matchLabels": {"team": "b"}}

SELECTED = [
    # (peer, namespace of the pod, its tier) → whether it is one
    ({"podSelector": BACK}, "x", "back", True),
    ({"podSelector": BACK}, "x", "front", False),
    ({"podSelector": BACK}, "y", "back", False),
    ({"namespaceSelector": TEAM}, "y", "front", True),
    ({"namespaceSelector": TEAM}, "x", "front", False),
    ({"namespaceSelector": {}}, "x", "front", True),
    ({"namespaceSelector": {}}, "unknown", "front", False),
    ({"namespaceSelector": TEAM, "podSelector": BACK}, "y", "back", True),
    ({"namespaceSelector": TEAM, "podSelector": BACK}, "y", "front", False),
    ({"namespaceSelector": TEAM, "podSelector": BACK}, "x", "back", False),
]


@pytest.mark.parametrize(("peer", "namespace", "tier", "expected"), SELECTED)
def test_a_peer_selects_pods(peer: Any, namespace: str, tier: str, expected: bool) -> None:
    one = read(policy("p", ingress=[{"from": [peer]}]))
    assert one.ingress is not None
    [selected] = one.ingress[0].peers
    assert isinstance(selected, PodPeer)
    assert selected.selects(facts("a", "10.0.0.1", namespace, tier=tier), SPACES) == expected


CONTAINED = [
    ("10.0.0.1", True),
    ("10.0.1.1", False),
    ("11.0.0.1", False),
    ("", False),
    ("fd00::1", False),
]


@pytest.mark.parametrize(("address", "expected"), CONTAINED)
def test_a_network_contains_what_is_not_excepted(address: str, expected: bool) -> None:
    assert BlockPeer("10.0.0.0/8", ("10.0.1.0/24",)).contains(address) == expected


WEB = facts("web", "10.0.0.1")
MATCHES = [
    (PortMatch("TCP", 80, 90), "TCP", 80, True),
    (PortMatch("TCP", 80, 90), "TCP", 90, True),
    (PortMatch("TCP", 80, 90), "TCP", 79, False),
    (PortMatch("TCP", 80, 90), "TCP", 91, False),
    (PortMatch("TCP", 80, 90), "UDP", 80, False),
    (PortMatch("UDP"), "UDP", 65535, True),
    (PortMatch("TCP", name="http"), "TCP", HTTP.number, True),
    (PortMatch("TCP", name="http"), "TCP", HTTP.number + 1, False),
    (PortMatch("TCP", name="https"), "TCP", HTTP.number, False),
    (PortMatch("UDP", name="http"), "UDP", HTTP.number, False),
]


@pytest.mark.parametrize(("match", "protocol", "port", "expected"), MATCHES)
def test_a_port_matches(match: PortMatch, protocol: str, port: int, expected: bool) -> None:
    assert match.matches(protocol, port, WEB) == expected


def test_a_named_port_is_one_of_pods_alone() -> None:
    assert not PortMatch("TCP", name="http").matches("TCP", 80, None)


READ_PORTS = [
    ({}, PortMatch("TCP")),
    ({"protocol": "UDP"}, PortMatch("UDP")),
    ({"port": 80}, PortMatch("TCP", 80, 80)),
    ({"port": 80, "endPort": 90}, PortMatch("TCP", 80, 90)),
    ({"port": "http"}, PortMatch("TCP", name="http")),
]


@pytest.mark.parametrize(("port", "expected"), READ_PORTS)
def test_a_port_is_read(port: Any, expected: PortMatch) -> None:
    one = read(policy("p", ingress=[{"ports": [port]}]))
    assert one.ingress is not None and one.ingress[0].ports == (expected,)


WORDS = [
    ({"podSelector": {}}, "all pods of namespace x"),
    ({"podSelector": BACK}, "pods with tier=back of namespace x"),
    ({"namespaceSelector": {}}, "all pods of all namespaces"),
    ({"namespaceSelector": TEAM}, "all pods of namespaces with team=b"),
    ({"ipBlock": {"cidr": "10.0.0.0/8"}}, "10.0.0.0/8"),
    (
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        "10.0.0.0/8 except 10.1.0.0/16",
    ),
]


@pytest.mark.parametrize(("peer", "words"), WORDS)
def test_a_peer_has_words(peer: Any, words: str) -> None:
    one = read(policy("p", ingress=[{"from": [peer]}]))
    assert one.ingress is not None and str(one.ingress[0].peers[0]) == words


PORT_WORDS = [
    (PortMatch("TCP"), "all TCP ports"),
    (PortMatch("TCP", 80, 80), "TCP 80"),
    (PortMatch("UDP", 80, 90), "UDP 80 to 90"),
    (PortMatch("TCP", name="http"), "TCP http"),
]


@pytest.mark.parametrize(("port", "words"), PORT_WORDS)
def test_a_port_has_words(port: PortMatch, words: str) -> None:
    assert str(port) == words
