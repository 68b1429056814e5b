"""Which address a service of type LoadBalancer gets."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.controllers.bench import Bench
from tiphys.api.core_v1 import LoadBalancerIngress, Service, ServicePort
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.loadbalancers import (
    LoadBalancerController,
    addresses_of,
    chosen,
    is_ours,
)
from tiphys.controllers.main import run_controllers
from tiphys.testing import LocalCluster

POOLS = [ipaddress.ip_network(text) for text in ("10.224.0.0/30", "fd10:224::/126")]


def service(*has: str, name: str = "s", **spec: Any) -> Service:
    built = Service(metadata=ObjectMeta(name=name, namespace="default"))
    built.spec.type = "LoadBalancer"
    built.spec.ports = [ServicePort(name="http", port=80, protocol="TCP")]
    for field, value in spec.items():
        setattr(built.spec, field, value)
    built.status.load_balancer.ingress = [LoadBalancerIngress(ip=address) for address in has]
    return built


DUAL = ["IPv6", "IPv4"]
CHOICES: list[tuple[Service, set[str], list[str]]] = [
    (service(), set(), ["10.224.0.1"]),
    (service(), {"10.224.0.1"}, ["10.224.0.2"]),
    (service(), {"10.224.0.1", "10.224.0.2"}, []),
    (service("10.224.0.2"), set(), ["10.224.0.2"]),
    (service("192.0.2.1"), set(), ["10.224.0.1"]),
    (service(ip_families=DUAL), set(), ["fd10:224::1", "10.224.0.1"]),
    (service(load_balancer_ip="10.224.0.2"), set(), ["10.224.0.2"]),
    (service("10.224.0.1", load_balancer_ip="10.224.0.2"), set(), ["10.224.0.2"]),
    (service(load_balancer_ip="10.224.0.2"), {"10.224.0.2"}, []),
    (service(load_balancer_ip="192.0.2.1"), set(), []),
]


@pytest.mark.parametrize(("one", "taken", "addresses"), CHOICES)
def test_a_service_keeps_its_address_or_gets_what_it_asks_for_or_the_first_that_is_free(
    one: Service, taken: set[str], addresses: list[str]
) -> None:
    given, problems = chosen(one, POOLS, taken)
    assert given == addresses and bool(problems) == (not addresses)


def test_a_family_without_a_pool_is_told() -> None:
    _, problems = chosen(service(ip_families=DUAL), POOLS[:1], set())
    assert problems == ["there is no pool of IPv6 addresses"]


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({}, True),
        ({"load_balancer_class": "tiphys.io/address-pool"}, True),
        ({"load_balancer_class": "example.com/other"}, False),
        ({"type": "NodePort"}, False),
    ],
)
def test_services_of_another_class_are_left_to_their_controller(
    spec: dict[str, Any], ours: bool
) -> None:
    assert is_ours(service(**spec)) is ours


async def test_two_services_get_an_address_each_and_a_third_gets_the_one_that_comes_free(
    server: LocalCluster,
) -> None:
    await run_controllers(server.client, server.tasks, "", pools="10.224.0.0/30")
    for name in ("a", "b"):
        await server.client.create(service(name=name))

    async def has(name: str) -> list[str]:
        return addresses_of(await server.client.get(Service, name, "default"))

    async def both() -> bool:
        return {*await has("a"), *await has("b")} == {"10.224.0.1", "10.224.0.2"}

    await server.eventually(both)
    await server.client.create(service(name="c"))
    [free] = await has("a")
    await server.client.delete(Service, "a", "default")

    async def third() -> bool:
        return await has("c") == [free]

    await server.eventually(third)
    await server.tasks.stop()


# --- step by step ---


@pytest.mark.asyncio(loop_scope="package")
async def test_a_service_waits_for_an_address_and_gets_the_one_that_comes_free(
    bench: Bench,
) -> None:
    controller = bench.start(LoadBalancerController, pools="10.224.0.0/30,")
    for name in ("a", "b", "c"):
        await bench.add(service(name=name))
    assert await bench.queued(controller) == ["a", "b", "c"]
    assert await bench.step(controller, "a") is None
    found = await bench.get(Service, "a")
    assert found is not None
    (ingress,) = found.status.load_balancer.ingress
    assert (ingress.ip, ingress.ip_mode) == ("10.224.0.1", "VIP")
    assert bench.reasons() == ["EnsuredLoadBalancer"]
    assert await bench.queued(controller) == ["a"]
    assert await bench.step(controller, "a") is None
    assert bench.reasons() == [], "it has one already"
    assert await bench.step(controller, "b") is None
    assert await bench.step(controller, "c") == 30
    assert bench.events.recorded[-1][:2] == ("Warning", "SyncLoadBalancerFailed")
    assert bench.events.recorded[-1].message.startswith("Error syncing load balancer: ")
    await bench.queued(controller)
    await bench.remove(found)
    assert await bench.queued(controller) == ["a", "c"]
    assert await bench.step(controller, "a") is None
    assert await bench.step(controller, "c") is None
    waited = await bench.get(Service, "c")
    assert waited is not None and addresses_of(waited) == ["10.224.0.1"]


@pytest.mark.asyncio(loop_scope="package")
async def test_what_was_given_counts_before_it_is_seen(bench: Bench) -> None:
    controller = bench.start(LoadBalancerController, pools="10.224.1.0/30")
    for name in ("a", "b"):
        await bench.add(service(name=name))
    await bench.seen()
    for name in ("a", "b"):
        await controller.reconcile(bench.key(name))
    given = [await bench.get(Service, name) for name in ("a", "b")]
    assert [addresses_of(one) for one in given if one] == [["10.224.1.1"], ["10.224.1.2"]]


@pytest.mark.asyncio(loop_scope="package")
async def test_without_pools_nobody_waits_here(bench: Bench) -> None:
    controller = bench.start(LoadBalancerController)
    await bench.add(service(name="a"))
    assert await bench.queued(controller) == []
