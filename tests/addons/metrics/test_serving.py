"""The group metrics.k8s.io of a cluster on hollow nodes, as kubectl and autoscalers ask for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.builders import pod
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

PATH = "/apis/metrics.k8s.io/v1beta1"


async def get(cluster: LocalCluster, path: str) -> Any:
    return msgspec.json.decode(await cluster.client.request("GET", PATH + path))


async def test_pods_and_nodes_are_shown_with_what_they_use() -> None:
    async with LocalCluster(nodes=2) as cluster:
        resources = {"requests": {"cpu": "100m"}}
        containers = [{"name": "c", "image": "img", "resources": resources}]
        for number in range(3):
            labels = {"odd": str(number % 2)}
            await cluster.client.create(pod(f"p{number}", labels=labels, containers=containers))

        async def shown() -> Any:
            items = (await get(cluster, "/namespaces/default/pods"))["items"]
            return items if len(items) == 3 else None

        items = await cluster.eventually(shown)
        assert [one["containers"][0]["usage"]["cpu"] for one in items] == ["100m"] * 3
        odd = await get(cluster, "/pods?labelSelector=odd%3D1")
        assert [one["metadata"]["name"] for one in odd["items"]] == ["p1"]
        nodes = (await get(cluster, "/nodes"))["items"]
        together = sorted(one["usage"]["cpu"] for one in nodes)
        assert together in (["0", "300m"], ["100m", "200m"])
        one = await get(cluster, f"/nodes/{nodes[0]['metadata']['name']}")
        assert one["kind"] == "NodeMetrics"
        with pytest.raises(StatusError, match="not found"):
            await get(cluster, "/namespaces/default/pods/none")
