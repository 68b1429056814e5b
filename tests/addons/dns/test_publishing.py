"""A node behind the service kube-dns of a real API server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from tiphys.addons.dns.publishing import publish
from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


@contextlib.asynccontextmanager
async def publishing(server: LocalCluster, address: str) -> AsyncIterator[None]:
    tasks = TaskGroup("publishing")
    informers = Informers(server.client, tasks)
    tasks.start(publish(server.client, informers, "n1", address), "publish")
    yield
    await tasks.stop()


async def slice_at(server: LocalCluster, address: str) -> EndpointSlice | None:
    """The node's slice, once it has that address."""
    try:
        published = await server.client.get(EndpointSlice, "kube-dns-n1", "kube-system")
    except StatusError:
        return None
    return published if published.endpoints[0].addresses == [address] else None


async def test_a_node_is_behind_the_service_and_comes_back_with_another_address(
    server: LocalCluster,
) -> None:
    for address in ("10.244.0.1", "10.244.0.2"):
        async with publishing(server, address):
            published = await server.eventually(partial(slice_at, server, address))
        [endpoint] = published.endpoints
        assert endpoint.node_name == "n1"
    ports = [(port.name, port.port, port.protocol) for port in published.ports]
    assert ports == [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    assert published.metadata.labels == {"kubernetes.io/service-name": "kube-dns"}


async def test_a_slice_that_went_with_its_node_is_written_again(server: LocalCluster) -> None:
    async with publishing(server, "10.244.0.1"):
        before = await server.eventually(lambda: slice_at(server, "10.244.0.1"))
        await server.client.delete(EndpointSlice, "kube-dns-n1", "kube-system")
        after = await server.eventually(lambda: slice_at(server, "10.244.0.1"))
        assert after.metadata.uid != before.metadata.uid
