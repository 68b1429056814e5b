"""What the add-on finds out about its cluster before it starts."""

from __future__ import annotations

from tiphys.addons.karpenter.controller import loopbacks
from tiphys.api import networking_v1
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster


async def test_nodes_have_addresses_of_the_versions_that_services_have() -> None:
    async with LocalCluster() as cluster:
        assert await loopbacks(cluster.client) == ("127.0.0.1",)
        kind = networking_v1.ServiceCIDR
        ranges = [*(await cluster.client.get(kind, "kubernetes")).spec.cidrs, "fd10:96::/108"]
        await cluster.client.patch(kind, "kubernetes", {"spec": {"cidrs": ranges}}, media=MERGE)
        assert await loopbacks(cluster.client) == ("127.0.0.1", "::1")
        assert await loopbacks(cluster.client_as("jane")) == ("127.0.0.1",), "may not know"
