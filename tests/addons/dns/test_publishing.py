"""A node behind the service kube-dns of a real API server."""

from __future__ import annotations

from tiphys.addons.dns.publishing import publish
from tiphys.api import discovery_v1
from tiphys.testing import LocalCluster


async def test_a_node_is_behind_the_service_and_comes_back_with_another_address(
    server: LocalCluster,
) -> None:
    for address in ("10.244.0.1", "10.244.0.2"):
        await publish(server.client, "n1", address)
        published = await server.client.get(
            discovery_v1.EndpointSlice, "kube-dns-n1", "kube-system"
        )
        [endpoint] = published.endpoints
        assert endpoint.addresses == [address] and endpoint.node_name == "n1"
    ports = [(port.name, port.port, port.protocol) for port in published.ports]
    assert ports == [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    assert published.metadata.labels == {"kubernetes.io/service-name": "kube-dns"}
