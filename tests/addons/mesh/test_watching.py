"""What sidecars are told of services as the cluster changes, and what is said of routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from tests.addons.mesh.builders import service
from tests.addons.mesh.server import Mesh, ask, running, told
from tiphys.addons.mesh.types import RouteBackend, ServiceRoute, ServiceRouteSpec
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.network.xds.cache import ENDPOINTS

NAME = "web.default:80"


async def member(made: Mesh, name: str, address: str) -> None:
    """A pod with a sidecar that says to have an address."""
    await made.pod(name, sidecar=True)
    status = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    await made.client.patch(core_v1.Pod, name, status, "default", "status", media=MERGE)


def slice_of(**pods: str) -> discovery_v1.EndpointSlice:
    endpoints = [
        discovery_v1.Endpoint(
            addresses=[address],
            target_ref=core_v1.ObjectReference(kind="Pod", name=name, namespace="default"),
        )
        for name, address in pods.items()
    ]
    labels = {"kubernetes.io/service-name": "web"}
    return discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="default", labels=labels),
        address_type="IPv4",
        endpoints=endpoints,
        ports=[discovery_v1.EndpointPort(name="http", port=8080)],
    )


def marked(resources: list[Any]) -> dict[str, bool]:
    """Of each endpoint of the service, whether it is spoken to by mutual TLS."""
    found = {}
    for one in resources:
        made = endpoint_pb2.ClusterLoadAssignment.FromString(one.resource.value)
        for endpoint in (row for group in made.endpoints for row in group.lb_endpoints):
            address = endpoint.endpoint.address.socket_address.address
            found[address] = bool(endpoint.metadata.filter_metadata)
    return found


async def test_a_slice_makes_nobody_a_member(tmp_path: Path) -> None:
    async with running(tmp_path) as made:
        token = await made.token(await made.pod("asker"))
        await member(made, "web", "10.1.0.1")
        web = service("web", ip="")
        web.metadata.namespace = "default"
        await made.client.create(web)
        await made.client.create(slice_of(web="10.1.0.1"))
        async with made.stream(token) as stream:
            resources = await ask(stream, ENDPOINTS, NAME)
            while not marked(resources):
                resources = await told(stream)
            assert marked(resources) == {"10.1.0.1": True}
            # Somebody writes that the pod is at an address of his.
            await made.client.apply(slice_of(web="10.1.0.9"), manager="test", force=True)
            while "10.1.0.9" not in marked(resources):
                resources = await told(stream)
            assert not marked(resources)["10.1.0.9"]
        await a_route_is_told_what_it_lacks(made)


async def a_route_is_told_what_it_lacks(made: Mesh) -> None:
    backend = RouteBackend(name="canary", port=80)
    spec = ServiceRouteSpec(service="web", backend_refs=[backend])
    meta = ObjectMeta(name="web", namespace="default")
    await made.client.create(ServiceRoute(metadata=meta, spec=spec))

    async def said() -> dict[str, bool] | None:
        found = (await made.client.get(ServiceRoute, "web", "default")).status.conditions
        return {one.type: conditions.is_true(found, one.type) for one in found} or None

    assert await made.cluster.eventually(said) == {"Accepted": True, "ResolvedRefs": False}
    canary = service("canary", ip="")
    canary.metadata.namespace = "default"
    await made.client.create(canary)

    async def resolved() -> bool:
        return bool((await said() or {}).get("ResolvedRefs"))

    await made.cluster.eventually(resolved)
