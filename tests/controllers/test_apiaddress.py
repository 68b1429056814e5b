"""The address by which kubectl finds whichever API server is there."""

from __future__ import annotations

from tiphys.api.core_v1 import Node, NodeAddress, Service
from tiphys.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.apiaddress import CLASS, NAME, NAMESPACE, service_of, slice_of
from tiphys.controllers.loadbalancers import is_ours
from tiphys.testing import LocalCluster

SETTINGS = {"api_address": "192.0.2.250", "api_port": 6443}


def servers(*addresses: str) -> EndpointSlice:
    made = EndpointSlice(metadata=ObjectMeta(name="kubernetes", namespace="default"))
    made.address_type = "IPv4"
    made.ports = [EndpointPort(name="https", port=6443, protocol="TCP")]
    made.endpoints = [Endpoint(addresses=[address]) for address in addresses]
    return made


def node(name: str, *addresses: tuple[str, str]) -> Node:
    made = Node(metadata=ObjectMeta(name=name))
    made.status.addresses = [NodeAddress(type=kind, address=own) for kind, own in addresses]
    return made


def test_each_server_is_on_the_node_that_is_its_machine() -> None:
    nodes = [
        node("b", ("Hostname", "192.0.2.1"), ("InternalIP", "192.0.2.2")),
        node("a", ("InternalIP", "192.0.2.1"), ("InternalIP", "2001:db8::1")),
        node("worker", ("InternalIP", "192.0.2.9")),
    ]
    made = slice_of(servers("192.0.2.2", "192.0.2.1", "192.0.2.3"), nodes)
    places = [(one.addresses, one.node_name) for one in made.endpoints]
    assert places == [(["192.0.2.1"], "a"), (["192.0.2.2"], "b"), (["192.0.2.3"], None)]
    assert all(one.conditions.ready for one in made.endpoints)
    assert [(row.name, row.port, row.protocol) for row in made.ports] == [("https", 6443, "TCP")]
    assert made.metadata.labels["kubernetes.io/service-name"] == NAME


def test_only_machines_with_a_server_answer_and_nobody_else_gives_it_an_address() -> None:
    made = service_of("192.0.2.250", 6443)
    assert made.spec.external_traffic_policy == "Local" and not made.spec.selector
    assert not is_ours(made) and made.spec.ip_families == ["IPv4"]
    assert service_of("2001:db8::250", 6443).spec.ip_families == ["IPv6"]


async def test_the_service_leads_to_the_servers_there_are() -> None:
    async with LocalCluster(controllers=True, machines=SETTINGS) as cluster:
        client = cluster.client
        theirs = await client.get(EndpointSlice, "kubernetes", "default")
        theirs.endpoints = servers("192.0.2.1", "192.0.2.2").endpoints
        await client.update(theirs)

        async def led() -> list[str]:
            found = (await client.list(EndpointSlice, NAMESPACE)).items
            return [row for one in found for place in one.endpoints for row in place.addresses]

        async def at() -> list[str]:
            found = await client.list(Service, NAMESPACE)
            return [row.ip for one in found.items for row in one.status.load_balancer.ingress]

        await cluster.eventually(led)
        await cluster.eventually(at)
        assert await led() == ["192.0.2.1", "192.0.2.2"] and await at() == ["192.0.2.250"]
        made = await client.get(Service, NAME, NAMESPACE)
        assert made.spec.load_balancer_class == CLASS and made.spec.health_check_node_port
        await client.delete(Service, NAME, NAMESPACE)
        await cluster.eventually(at)
