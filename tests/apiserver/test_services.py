"""Services on a server with ranges of both families: addresses, ports and what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiphys.api.core_v1 import Service, ServicePort
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.networking_v1 import IPAddress, ServiceCIDR
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

NET4 = "10.96.0.0/16"
NET6 = "fd10:96::/112"


@pytest.fixture
async def dual() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(service_cidr=f"{NET4},{NET6}") as cluster:
        yield cluster


def service(name: str = "s", **spec: Any) -> Service:
    built = Service(metadata=ObjectMeta(name=name, namespace="default"))
    built.spec.selector = {"app": name}
    built.spec.ports = [ServicePort(name="http", port=80)]
    for field, value in spec.items():
        setattr(built.spec, field, value)
    return built


async def records(cluster: LocalCluster) -> dict[str, str]:
    """The addresses that services have, with their family."""
    listed = await cluster.client.list(IPAddress)
    label = "ipaddress.kubernetes.io/ip-family"
    return {one.metadata.name: one.metadata.labels[label] for one in listed.items}


async def test_a_service_of_both_families_has_an_address_of_each(dual: LocalCluster) -> None:
    one = await dual.client.create(service(ip_family_policy="PreferDualStack"))
    first, second = one.spec.cluster_ips
    assert one.spec.cluster_ip == first and first.startswith("10.96.")
    assert second.startswith("fd10:96::") and one.spec.ip_families == ["IPv4", "IPv6"]
    taken = await records(dual)
    assert (taken[first], taken[second]) == ("IPv4", "IPv6")
    await dual.client.delete(Service, "s", "default")
    assert not {first, second} & set(await records(dual))


async def test_a_second_address_comes_and_goes_with_the_policy(dual: LocalCluster) -> None:
    one = await dual.client.create(service())
    assert (one.spec.ip_family_policy, len(one.spec.cluster_ips)) == ("SingleStack", 1)
    one.spec.ip_family_policy = "RequireDualStack"
    both = await dual.client.update(one)
    assert both.spec.cluster_ips[0] == one.spec.cluster_ip and len(both.spec.cluster_ips) == 2
    both.spec.ip_family_policy = "SingleStack"
    alone = await dual.client.update(both)
    assert alone.spec.cluster_ips == one.spec.cluster_ips and alone.spec.ip_families == ["IPv4"]
    assert both.spec.cluster_ips[1] not in await records(dual)


async def test_an_address_of_the_second_family_can_be_asked_for(dual: LocalCluster) -> None:
    wanted = "fd10:96::abc"
    one = await dual.client.create(service(cluster_ip=wanted))
    assert (one.spec.cluster_ips, one.spec.ip_families) == ([wanted], ["IPv6"])
    with pytest.raises(StatusError, match="provided IP is already allocated"):
        await dual.client.create(service("t", cluster_ip=wanted))


async def test_the_ranges_are_one_service_cidr(dual: LocalCluster) -> None:
    standing = await dual.client.get(ServiceCIDR, "kubernetes")
    assert standing.spec.cidrs == [NET4, NET6]


def balanced(**spec: Any) -> Service:
    return service(type="LoadBalancer", external_traffic_policy="Local", **spec)


async def test_a_service_that_stays_on_its_nodes_has_a_health_check_port_as_long_as_it_does(
    server: LocalCluster,
) -> None:
    one = await server.client.create(balanced())
    port = one.spec.health_check_node_port
    assert 30000 <= port <= 32767 and port != one.spec.ports[0].node_port
    one.spec.health_check_node_port = port + 1
    with pytest.raises(StatusError, match="healthCheckNodePort: Forbidden: field is immutable"):
        await server.client.update(one)
    one.spec.health_check_node_port = port
    one.spec.external_traffic_policy = "Cluster"
    cluster_wide = await server.client.update(one)
    assert cluster_wide.spec.health_check_node_port == 0
    other = await server.client.create(balanced(name="t", health_check_node_port=port))
    assert other.spec.health_check_node_port == port
