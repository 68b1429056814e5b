"""Ports of the node that lead to one pod."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod as build_pod
from tiphys.api import core_v1
from tiphys.network.proxy.hostports import HostPort, host_ports


def running(phase: str = "Running", address: str = "10.1.0.1", **spec: Any) -> core_v1.Pod:
    pod = build_pod("p", **spec)
    pod.status.phase, pod.status.pod_ip = phase, address
    return pod


def container(**port: Any) -> dict[str, Any]:
    port = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"} | port
    return {"name": f"c{port['hostPort']}", "image": "i", "ports": [port]}


HOSTS = [
    (None, [""]),
    ("0.0.0.0", [""]),
    ("::", [""]),
    ("127.0.0.1", ["127.0.0.1"]),
    ("192.0.2.7", ["192.0.2.7"]),
    ("::1", []),
    ("fd00::1", []),
]


@pytest.mark.parametrize(("host", "expected"), HOSTS)
def test_an_address_of_the_node_is_one_or_all_of_them(
    host: str | None, expected: list[str]
) -> None:
    port = {"hostIP": host} if host else {}
    rows = host_ports(running(containers=[container(**port)]))
    assert [row.host for row in rows] == expected


PHASES = [("Pending", 1), ("Running", 1), ("Succeeded", 0), ("Failed", 0), ("Unknown", 0)]


@pytest.mark.parametrize(("phase", "count"), PHASES)
def test_a_pod_has_its_ports_until_it_ends(phase: str, count: int) -> None:
    assert len(host_ports(running(phase, containers=[container()]))) == count


def test_a_pod_without_an_address_of_its_own_has_none() -> None:
    rows = [container()]
    assert not host_ports(running(address="", containers=rows))
    assert not host_ports(running(hostNetwork=True, containers=rows))
    assert not host_ports(running(containers=[container(hostPort=0)]))


def test_ports_of_sidecars_lead_to_the_pod_too() -> None:
    pod = running(initContainers=[container(hostPort=1)], containers=[container(hostPort=2)])
    assert host_ports(pod) == [
        HostPort("TCP", "", 1, "10.1.0.1", 80),
        HostPort("TCP", "", 2, "10.1.0.1", 80),
    ]


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("", ["10.1.0.1", "fd01::1"]),
        ("0.0.0.0", ["10.1.0.1", "fd01::1"]),
        ("192.0.2.1", ["10.1.0.1"]),
        ("2001:db8::1", ["fd01::1"]),
    ],
)
def test_an_address_of_the_node_leads_to_the_pods_of_its_family(
    host: str, addresses: list[str]
) -> None:
    ports = [{"containerPort": 80, "hostPort": 8080, "hostIP": host, "protocol": "TCP"}]
    pod = build_pod("p", containers=[{"name": "c", "image": "i", "ports": ports}])
    pod.status.phase = "Running"
    pod.status.pod_ips = [core_v1.PodIP(ip="10.1.0.1"), core_v1.PodIP(ip="fd01::1")]
    assert [row.address for row in host_ports(pod)] == addresses
