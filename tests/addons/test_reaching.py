"""Where an add-on is led when a user names a place, and where it is not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tiphys.addons.reaching import HostResolver, Place, Reach, ReachError, service_name
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

NOBODY: Any = None
"""A client that is not asked."""


@pytest.mark.parametrize(
    ("host", "namespace", "service"),
    [
        ("redis", "shop", ("shop", "redis")),
        ("redis", "", None),
        ("redis.shop", "", ("shop", "redis")),
        ("redis.shop", "other", ("shop", "redis")),
        ("redis.shop.svc", "", ("shop", "redis")),
        ("redis.shop.svc.cluster.local", "", ("shop", "redis")),
        ("redis.shop.svc.cluster.local.", "", ("shop", "redis")),
        ("redis.example.com", "", None),
        ("redis.example.com", "shop", None),
        ("a.redis.shop.svc", "", None),
    ],
)
def test_a_host_may_be_a_service(
    host: str, namespace: str, service: tuple[str, str] | None
) -> None:
    assert service_name(host, namespace) == service


async def led(host: str, local: bool = False) -> Place:
    """An address needs no cluster."""
    return await Reach(NOBODY, local).find(host, 80)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::"]
)
async def test_the_add_ons_own_machine_is_reached_only_where_that_is_set(host: str) -> None:
    with pytest.raises(ReachError, match=f"{host} is an address of the machine .* local=true"):
        await led(host)
    assert await led(host, local=True) == Place(host, 80)


@pytest.mark.parametrize("host", ["224.0.0.1", "ff02::1"])
async def test_groups_of_machines_are_none(host: str) -> None:
    with pytest.raises(ReachError):
        await led(host)


@pytest.mark.parametrize("host", ["10.1.2.3", "192.0.2.1", "8.8.8.8", "fd00::1"])
async def test_other_addresses_are_what_they_are(host: str) -> None:
    assert await led(host) == Place(host, 80)


async def test_a_name_is_looked_at_once_it_is_looked_up() -> None:
    with pytest.raises(ReachError, match="is an address of the machine"):
        await led("localhost")


# --- services ---


def service(name: str, **spec: object) -> core_v1.Service:
    ports = [
        core_v1.ServicePort(name="web", port=80),
        core_v1.ServicePort(name="admin", port=81),
        core_v1.ServicePort(name="nobody", port=82),
    ]
    made = core_v1.ServiceSpec(**{"ports": ports, **spec})  # type: ignore[arg-type]
    return core_v1.Service(metadata=ObjectMeta(name=name, namespace="default"), spec=made)


def slice_of(name: str, ready: bool | None, *addresses: str) -> discovery_v1.EndpointSlice:
    conditions = discovery_v1.EndpointConditions(ready=ready)
    return discovery_v1.EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{name}-",
            namespace="default",
            labels={"kubernetes.io/service-name": name},
        ),
        address_type="IPv4",
        endpoints=[
            discovery_v1.Endpoint(addresses=[one], conditions=conditions) for one in addresses
        ],
        ports=[
            discovery_v1.EndpointPort(name="web", port=8080),
            discovery_v1.EndpointPort(name="admin", port=9090),
        ],
    )


async def test_a_service_leads_to_one_of_its_ready_endpoints(server: LocalCluster) -> None:
    client = server.client
    await client.create(service("shop"))
    for one in (
        slice_of("shop", True, "10.1.0.1"),
        slice_of("shop", None, "10.1.0.2"),  # not said is ready (discovery/v1)
        slice_of("shop", False, "10.1.0.3"),
        slice_of("other", True, "10.1.0.4"),
    ):
        await client.create(one)
    reach = Reach(client)
    found = {await reach.find("shop.default.svc", 80) for _ in range(40)}
    assert found == {Place("10.1.0.1", 8080), Place("10.1.0.2", 8080)}
    assert (await reach.find("shop", 81, "default")).port == 9090
    for port, said in ((82, "has no ready endpoints"), (83, "has no port 83")):
        with pytest.raises(ReachError, match=f"Service default/shop {said}"):
            await reach.find("shop.default", port)


async def test_a_service_leads_to_no_machine_of_ours(server: LocalCluster) -> None:
    """Who names a Service of the outside could have named the address itself."""
    await server.client.create(service("away", external_name="localhost", type="ExternalName"))
    with pytest.raises(ReachError, match="local=true"):
        await Reach(server.client).find("away.default", 80)
    place = await Reach(server.client, local=True).find("away.default", 80)
    assert (place.host in ("127.0.0.1", "::1"), place.port) == (True, 80)
    with pytest.raises(ReachError, match="no such host"):
        await Reach(server.client).find("lost.default", 80)


@pytest.mark.parametrize(
    ("host", "family"), [("10.1.2.3", socket.AF_INET), ("fd00::1", socket.AF_INET6)]
)
async def test_a_client_of_http_goes_where_that_leads(host: str, family: int) -> None:
    [found] = await HostResolver(Reach(NOBODY)).resolve(host, 443)
    assert (found["hostname"], found["host"], found["port"]) == (host, host, 443)
    assert (found["family"], found["flags"]) == (family, socket.AI_NUMERICHOST)
