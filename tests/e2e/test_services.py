"""Services follow their pods."""

from __future__ import annotations

from tests.builders import deployment
from tests.e2e.clusters import ready
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster


async def test_a_service_follows_its_pods(cluster: LocalCluster) -> None:
    await ready(cluster)
    service = core_v1.Service(metadata=ObjectMeta(name="web", namespace="default"))
    service.spec.selector, service.spec.ports = (
        {"app": "web"},
        [core_v1.ServicePort(name="http", port=80, target_port=8080)],
    )
    await cluster.client.create(service)
    await cluster.client.create(deployment(replicas=2))

    async def addresses() -> set[str]:
        slices = (
            await cluster.client.list(
                discovery_v1.EndpointSlice, "default", labels="kubernetes.io/service-name=web"
            )
        ).items
        return {a for s in slices for e in s.endpoints if e.conditions.ready for a in e.addresses}

    async def follows() -> bool:
        return (
            await addresses() == {p.status.pod_ip for p in await cluster.pods()}
            and len(await addresses()) == 2
        )

    await cluster.eventually(follows)
    endpoints = await cluster.client.get(core_v1.Endpoints, "web", "default")
    assert [p.port for p in endpoints.subsets[0].ports] == [8080]
