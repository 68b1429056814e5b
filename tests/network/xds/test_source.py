"""The cache follows the services and endpoint slices of a real API server."""

from __future__ import annotations

from tests.network.builders import endpoint, service, slice_with
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informers
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, Cache
from tiphys.network.xds.source import ServiceSource
from tiphys.testing import LocalCluster


async def test_a_service_has_resources_while_it_is_there(server: LocalCluster) -> None:
    client = server.client
    informers = Informers(client, server.tasks)
    cache = Cache()
    ServiceSource(cache, informers).start()
    await client.create(core_v1.Namespace(metadata=ObjectMeta(name="d")))
    await client.create(service("first", "10.96.0.97"))
    made = slice_with("first", [endpoint("10.1.0.1")])
    made.address_type = "IPv4"
    await client.create(made)

    def names(type_url: str) -> set[str]:
        return {name for name in cache.all(type_url) if name.startswith("first.d")}

    def healthy() -> bool:
        found = cache.select(ENDPOINTS, names(ENDPOINTS))
        return any(b"10.1.0.1" in one.body for one in found)

    await server.eventually(healthy)
    assert all(len(names(type_url)) == 1 for type_url in (CLUSTER, LISTENER, ROUTE, ENDPOINTS))
    made.endpoints = [endpoint("10.1.0.7")]
    await client.update(made)
    await server.eventually(lambda: not healthy())
    await client.delete(core_v1.Service, "first", "d")
    await server.eventually(lambda: not any(names(kind) for kind in (CLUSTER, ENDPOINTS, ROUTE)))
    assert names(LISTENER) == set()
