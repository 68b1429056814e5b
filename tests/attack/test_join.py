"""What somebody with a bootstrap token, or on a machine that has joined, cannot get."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import pytest

from tests.builders import node
from tests.cluster.builders import token
from tests.machinery.builders import TOKEN
from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.controllers.nodeleaving import LEAVES
from tiphys.machinery.errors import StatusError
from tiphys.node import certificates
from tiphys.node.certificates import Wanted, node_client, node_server, obtain, policy_client
from tiphys.testing import LocalCluster

NODES = ("system:nodes",)
HIDDEN = "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef"


@pytest.fixture
async def server() -> AsyncIterator[LocalCluster]:
    names = {"server_names": frozenset({"10.0.0.1", "api.example.com"})}
    async with LocalCluster(controllers=True, machines=names) as cluster:
        await token(cluster, TOKEN)
        await cluster.client.create(at_work("busy", "10.0.0.2"))
        yield cluster


def at_work(name: str, address: str) -> core_v1.Node:
    made = node(name)
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=address)]
    made.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    return made


def with_token(server: LocalCluster) -> Client:
    return Client(Config(server.url, ca=server.authority.path, token=TOKEN.text))


async def refused(client: Client, wanted: Wanted) -> str:
    with pytest.raises(Exception) as raised:
        await obtain(client, wanted, patience=0.5)
    return str(raised.value)


async def test_a_token_gets_a_new_nodes_certificate_and_no_other(server: LocalCluster) -> None:
    async with with_token(server) as client:
        assert await obtain(client, node_client("new"))
        assert 'a Node with name "busy"' in await refused(client, node_client("busy"))
        masters = Wanted(certificates.KUBELET_CLIENT, "system:node:x", ("system:masters",))
        others = (masters, node_server("new", "10.0.0.9"), policy_client())
        for wanted in (*others, Wanted(certificates.CLIENT, "jane")):
            assert "was not approved" in await refused(client, wanted)


FORBIDDEN = (
    ("GET", HIDDEN),
    ("GET", "/api/v1/namespaces/kube-system/secrets"),
    ("GET", "/api/v1/namespaces/kube-system/configmaps"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/pods"),
    ("DELETE", "/api/v1/nodes/busy"),
)


async def test_a_token_reads_nothing_but_what_joining_takes(server: LocalCluster) -> None:
    async with with_token(server) as client:
        for method, path in FORBIDDEN:
            with pytest.raises(StatusError) as raised:
                await client.request(method, path)
            assert raised.value.code == 403, path
        await client.request("GET", "/api/v1/nodes/busy")


async def test_nobody_approves_what_he_asks_for(server: LocalCluster) -> None:
    async with with_token(server) as client:
        path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        with pytest.raises(StatusError, match="forbidden"):
            await client.request("PUT", f"{path}/any/approval", b"{}")


async def test_no_node_is_taken_for_the_api_server(server: LocalCluster) -> None:
    """Its serving certificate is of the authority that every client of the API server trusts."""
    for name, address in (
        ("api.example.com", "10.0.0.3"),
        ("thief", "10.0.0.1"),
        ("local", "127.0.0.1"),
    ):
        await server.client.create(at_work(name, address))
        client = server.client_as(f"system:node:{name}", NODES)
        assert "was not approved" in await refused(client, node_server(name, address))
    client = server.client_as("system:node:busy", NODES)
    assert await obtain(client, node_server("busy", "10.0.0.2"))


async def test_a_node_has_no_other_node_deleted(server: LocalCluster) -> None:
    await server.client.create(at_work("victim", "10.0.0.4"))
    victim = await server.client.get(core_v1.Node, "victim")
    client = server.client_as("system:node:busy", NODES)
    leaves = {"metadata": {"annotations": {LEAVES: victim.metadata.uid}}}
    with pytest.raises(StatusError):
        await client.patch(core_v1.Node, "victim", leaves)
    await client.patch(core_v1.Node, "busy", leaves)
    await server.client.create(at_work("leaver", "10.0.0.5"))
    leaver = await server.client.get(core_v1.Node, "leaver")
    own = {"metadata": {"annotations": {LEAVES: leaver.metadata.uid}}}
    await server.client_as("system:node:leaver", NODES).patch(core_v1.Node, "leaver", own)

    async def left() -> set[str]:
        return {found.metadata.name for found in (await server.client.list(core_v1.Node)).items}

    await server.eventually(lambda: without(left(), "leaver"))
    assert await left() == {"busy", "victim"}


async def without(names: Awaitable[set[str]], name: str) -> bool:
    return name not in await names


async def test_a_nodes_range_is_not_changed_once_it_has_one(server: LocalCluster) -> None:
    client = server.client_as("system:node:busy", NODES)
    await client.patch(
        core_v1.Node, "busy", {"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}}
    )
    with pytest.raises(StatusError, match="node updates may not change podCIDR"):
        await client.patch(
            core_v1.Node, "busy", {"spec": {"podCIDR": "10.8.0.0/16", "podCIDRs": ["10.8.0.0/16"]}}
        )
