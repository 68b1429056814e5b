"""From one ruleset to the next, as nft takes it."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from tests.network.builders import port, service, slice_of
from tiphys.api import core_v1
from tiphys.network.proxy.hostports import HostPort
from tiphys.network.proxy.rules import Ruleset, desired
from tiphys.network.proxy.script import base, changes

OLD = Ruleset(
    chains={"kept": ("a",), "changed": ("b",), "gone": ("c",)},
    elements={"services": {"kept": "goto kept", "moved": "goto kept", "gone": "goto gone"}},
    sets={"kept": 1, "gone": 2},
)
NEW = Ruleset(
    chains={"kept": ("a",), "changed": ("d", "e"), "new": ("f",)},
    elements={"services": {"kept": "goto kept", "moved": "goto new", "new": "goto new"}},
    sets={"kept": 1, "new": 3},
)


def test_what_is_named_comes_before_who_names_it_and_goes_after() -> None:
    assert changes("t", OLD, NEW).splitlines() == [
        "add set ip t new { type ipv4_addr; flags dynamic,timeout; timeout 3s; }",
        "add chain ip t new",
        "delete element ip t services { moved : goto kept }",
        "delete element ip t services { gone : goto gone }",
        "flush chain ip t changed",
        "add rule ip t changed d",
        "add rule ip t changed e",
        "flush chain ip t new",
        "add rule ip t new f",
        "add element ip t services { moved : goto new }",
        "add element ip t services { new : goto new }",
        "flush chain ip t gone",
        "delete chain ip t gone",
        "delete set ip t gone",
    ]


def test_nothing_is_written_where_nothing_changed() -> None:
    assert changes("t", OLD, OLD) == ""


def test_services_that_did_not_change_are_not_touched() -> None:
    services = [service(), service("t", "10.96.0.8")]
    before = desired(services, [slice_of("s", "10.1.0.1"), slice_of("t", "10.1.0.2")], "n1")
    after = desired(services, [slice_of("s", "10.1.0.1"), slice_of("t", "10.1.0.3")], "n1")
    script = changes("x", before, after)
    assert "10.1.0.3" in script and "10.1.0.1" not in script


def sticky(seconds: int) -> core_v1.Service:
    ports = [port("http", 80, node_port=30123)]
    one = service("t", "10.96.0.8", type="NodePort", ports=ports, external_ips=["192.0.2.77"])
    one.spec.session_affinity = "ClientIP"
    client = core_v1.ClientIPConfig(timeout_seconds=seconds)
    one.spec.session_affinity_config = core_v1.SessionAffinityConfig(client_ip=client)
    return one


def local() -> core_v1.Service:
    ports = [port("http", 80, node_port=30124)]
    ranges = ["10.0.0.0/8"]
    one = service("u", "10.96.0.7", type="LoadBalancer", ports=ports)
    one.spec.load_balancer_source_ranges = ranges
    one.spec.external_traffic_policy = "Local"
    one.status.load_balancer.ingress = [core_v1.LoadBalancerIngress(ip="192.0.2.5")]
    return one


@pytest.mark.root
@pytest.mark.needs("nft", "unshare")
def test_the_kernel_takes_every_step() -> None:
    """In a network namespace of its own."""
    host_ports = [
        HostPort("TCP", "", 8080, "10.1.0.5", 80),
        HostPort("UDP", "127.0.0.1", 8080, "10.1.0.6", 80),
    ]
    two = [slice_of("s", "10.1.0.1", "10.1.0.2"), slice_of("t", "10.1.0.3", "10.1.0.4")]
    one = [slice_of("s"), slice_of("t", "10.1.0.4")]
    steps = [
        Ruleset(),
        desired([local()], [slice_of("u", "10.1.0.1")], "n1"),
        desired([local()], [slice_of("u", "10.1.0.1")], "n2"),
        desired([service()], [slice_of("s", "10.1.0.1")], "n1"),
        desired([service(), sticky(60)], two, "n1", host_ports),
        desired([service(), sticky(61)], two, "n1", host_ports),
        desired([service(), sticky(61)], one, "n1"),
        Ruleset(),
    ]
    script = base("t1", "10.1.0.0/16,10.2.0.0/16", "10.96.0.0/16")
    script += "".join(changes("t1", old, new) for old, new in itertools.pairwise(steps))
    finished = subprocess.run(
        ["unshare", "-n", "nft", "-f", "-"], input=script, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
