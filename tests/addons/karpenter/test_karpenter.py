"""From pending pods to nodes, and back."""

from __future__ import annotations

from tests.addons.karpenter.world import deployment, world
from tiphys.api import apps_v1


async def test_five_pods_get_one_node_which_goes_when_they_go() -> None:
    async with world() as w:
        await w.pool(disruption={"budgets": [{"nodes": "100%"}]})
        await w.client.create(deployment("web", 5))
        await w.cluster.eventually(lambda: w.running(5), 5)
        (claim,) = await w.claims()
        (node,) = await w.nodes()
        labels = node.metadata.labels
        assert labels["karpenter.sh/nodepool"] == "default"
        assert labels["karpenter.sh/capacity-type"] == "spot"
        assert labels["node.kubernetes.io/instance-type"] == "c5.2xlarge"
        assert labels["karpenter.sh/initialized"] == "true"
        assert not node.spec.taints and node.spec.provider_id == claim.status.provider_id

        await w.client.delete(apps_v1.Deployment, "web", "default")

        async def gone() -> bool:
            return not await w.nodes() and not await w.claims()

        await w.cluster.eventually(gone)
        assert w.shared.cloud.machines() == []
