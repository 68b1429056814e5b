from __future__ import annotations

import itertools
import shutil
import subprocess

import aiohttp
import pytest

from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.proxy.healthchecks import HealthChecks
from tiphys.network.proxy.rules import HostPort, Ruleset, base, changes, desired
from tiphys.testing.cluster import free_port


def service(name: str = "s", ip: str = "10.96.0.9", **spec: object) -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name=name, namespace="d"))
    made.spec.cluster_ip, made.spec.type = ip, "ClusterIP"
    made.spec.ports = [core_v1.ServicePort(name="http", port=80, protocol="TCP")]
    for key, value in spec.items():
        setattr(made.spec, key, value)
    return made


def slice_of(name: str, *addresses: str, ready: bool = True) -> discovery_v1.EndpointSlice:
    made = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="d", labels={"kubernetes.io/service-name": name})
    )
    conditions = discovery_v1.EndpointConditions(ready=ready, serving=ready)
    made.endpoints = [
        discovery_v1.Endpoint(addresses=[a], conditions=conditions, node_name="n1")
        for a in addresses
    ]
    made.ports = [discovery_v1.EndpointPort(name="http", port=8080, protocol="TCP")]
    return made


def test_a_service_leads_to_its_ready_endpoints() -> None:
    made = desired([service()], [slice_of("s", "10.1.0.1", "10.1.0.2")], "n1")
    [verdict] = made.elements["services"].values()
    assert (
        "10.1.0.1 . 8080" in made.chains[verdict.removeprefix("goto ")][-1]
        and "mod 2" in made.chains[verdict.removeprefix("goto ")][-1]
    )


def test_only_a_pod_that_is_led_to_itself_is_hidden() -> None:
    """One that is led to another pod keeps its address, by which network policies go."""
    made = desired([service()], [slice_of("s", "10.1.0.1", "10.1.0.2")], "n1")
    assert made.elements["hairpins"] == {
        f"{a} . {a}": "goto hide" for a in ("10.1.0.1", "10.1.0.2")
    }
    assert not any("mark" in rule for rules in made.chains.values() for rule in rules)
    assert not desired([service()], [slice_of("s", "10.1.0.1")], "n2").elements["hairpins"]


def test_a_service_without_endpoints_refuses() -> None:
    made = desired([service()], [slice_of("s", "10.1.0.1", ready=False)], "n1")
    assert (
        made.elements["dead"] == {"tcp . 10.96.0.9 . 80": "goto refuse"}
        and not made.elements["services"]
    )


def test_local_policy_keeps_to_this_node() -> None:
    assert desired(
        [service(internal_traffic_policy="Local")], [slice_of("s", "10.1.0.1")], "other"
    ).elements["dead"]


def test_only_what_changed_is_written() -> None:
    both = [slice_of("s", "10.1.0.1"), slice_of("t", "10.1.0.2")]
    old = desired([service(), service("t", "10.96.0.8")], both, "n1")
    assert changes("x", old, old) == ""
    new = desired(
        [service(), service("t", "10.96.0.8")], [both[0], slice_of("t", "10.1.0.3")], "n1"
    )
    script = changes("x", old, new)
    assert "10.1.0.3" in script and "10.1.0.1" not in script


def test_ports_of_one_host_address_do_not_stand_in_the_way_of_another() -> None:
    rows = [
        HostPort("TCP", "127.0.0.1", 80, "10.1.0.1", 8080),
        HostPort("TCP", "10.0.0.1", 80, "10.1.0.2", 8080),
    ]
    made = desired([], [], "n1", [*rows, HostPort("UDP", "", 80, "10.1.0.3", 8080)])
    led = {
        key: made.chains[verdict.removeprefix("goto ")][-1]
        for name in made.elements
        for key, verdict in made.elements[name].items()
    }
    assert led == {
        "tcp . 127.0.0.1 . 80": "meta l4proto tcp dnat to 10.1.0.1:8080",
        "tcp . 10.0.0.1 . 80": "meta l4proto tcp dnat to 10.1.0.2:8080",
        "udp . 80": "meta l4proto udp dnat to 10.1.0.3:8080",
    }


def ingress(made: core_v1.Service, *addresses: str) -> core_v1.Service:
    made.spec.type = "LoadBalancer"
    made.status.load_balancer.ingress = [core_v1.LoadBalancerIngress(ip=a) for a in addresses]
    return made


def test_pods_and_the_node_reach_any_endpoint_of_a_service_that_stays_local_outside() -> None:
    local = service(type="NodePort", external_traffic_policy="Local")
    local.spec.ports[0].node_port = 30123
    made = desired([local], [slice_of("s", "10.1.0.1")], "elsewhere")
    chain = made.elements["nodeports"]["tcp . 30123"].removeprefix("goto ")
    pods, hide, node = made.chains[chain]
    assert pods.startswith("ip saddr @pods goto all-") and node.startswith(
        "fib saddr type local goto all-"
    )
    assert "10.1.0.1 . 8080" in made.chains[pods.rpartition(" ")[2]][-1] and "mark" in hide
    assert made.elements["deadports"] == {"tcp . 30123": "goto silence"}, (
        "others are not answered here"
    )
    with_one = desired([local], [slice_of("s", "10.1.0.1")], "n1")
    assert "10.1.0.1 . 8080" in with_one.chains[chain][-1] and not with_one.elements["deadports"]


def test_an_endpoint_of_this_node_that_ends_is_better_than_a_ready_one_elsewhere_for_a_local_service() -> (
    None
):
    one = slice_of("s", "10.1.0.1", "10.1.0.2")
    one.endpoints[0].conditions = discovery_v1.EndpointConditions(
        ready=False, serving=True, terminating=True
    )
    one.endpoints[1].node_name = "n2"
    made = desired([service(internal_traffic_policy="Local")], [one], "n1")
    [verdict] = made.elements["services"].values()
    assert "10.1.0.1" in made.chains[verdict.removeprefix("goto ")][-1]


def test_a_load_balancers_address_is_for_the_sources_that_the_service_names() -> None:
    ranges = ["198.51.100.0/24", "198.51.100.0/25", "2001:db8::/32"]
    made = desired(
        [ingress(service(load_balancer_source_ranges=ranges), "192.0.2.1")],
        [slice_of("s", "10.1.0.1")],
        "n1",
    )
    [(element, verdict)] = made.elements["firewall"].items()
    assert element == "tcp . 192.0.2.1 . 80"
    assert made.chains[verdict.removeprefix("goto ")] == ("ip saddr != { 198.51.100.0/24 } drop",)


async def test_a_load_balancer_is_told_how_many_endpoints_the_node_has() -> None:
    local = service(health_check_node_port=free_port())
    checks = HealthChecks("127.0.0.1")
    url = f"http://127.0.0.1:{local.spec.health_check_node_port}/"
    async with aiohttp.ClientSession() as session:
        for node, status, count in (("n1", 200, 2), ("n2", 503, 0)):
            await checks.sync([local], [slice_of("s", "10.1.0.1", "10.1.0.2")], node)
            async with session.get(url) as answer:
                told = await answer.json()
                assert (answer.status, told["localEndpoints"]) == (status, count)
                assert told["service"] == {"namespace": "d", "name": "s"}
        await checks.sync([], [], "n1")
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)


@pytest.mark.root
@pytest.mark.needs("nft", "unshare")
def test_the_kernel_takes_every_step() -> None:
    """In a network namespace of its own."""
    sticky = service(
        "t", "10.96.0.8", session_affinity="ClientIP", type="NodePort", external_ips=["192.0.2.77"]
    )
    sticky.spec.ports[0].node_port = 30123
    local = ingress(
        service(
            "u",
            "10.96.0.7",
            external_traffic_policy="Local",
            load_balancer_source_ranges=["10.0.0.0/8"],
        ),
        "192.0.2.5",
    )
    local.spec.ports[0].node_port = 30124
    steps = [
        Ruleset(),
        desired([local], [slice_of("u", "10.1.0.1")], "n1"),
        desired([local], [slice_of("u", "10.1.0.1")], "n2"),
        desired([service()], [slice_of("s", "10.1.0.1")], "n1"),
        desired(
            [service(), sticky],
            [slice_of("s", "10.1.0.1", "10.1.0.2"), slice_of("t", "10.1.0.3", "10.1.0.4")],
            "n1",
            [
                HostPort("TCP", "", 8080, "10.1.0.5", 80),
                HostPort("UDP", "127.0.0.1", 8080, "10.1.0.6", 80),
            ],
        ),
        desired([service(), sticky], [slice_of("s"), slice_of("t", "10.1.0.4")], "n1"),
        Ruleset(),
    ]
    script = base("t1", "10.1.0.0/16", "10.96.0.0/16") + "".join(
        changes("t1", a, b) for a, b in itertools.pairwise(steps)
    )
    assert shutil.which("nft")
    done = subprocess.run(
        ["unshare", "-n", "nft", "-f", "-"], input=script, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
