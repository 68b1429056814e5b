"""custom.metrics.k8s.io of a cluster, and the autoscalers that go by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.addons.custommetrics.world import PATH, StandIn, ask, by_metrics, cluster_with, stand_in
from tests.addons.keda.world import deployment
from tests.builders import pod
from tiphys.api import apps_v1, core_v1
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


class World:
    def __init__(self, cluster: LocalCluster, prometheus: StandIn) -> None:
        self.cluster, self.prometheus = cluster, prometheus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with stand_in() as (prometheus, url), cluster_with(url, relist=1) as cluster:
        for name, value in (("a", 1.5), ("b", 2)):
            await cluster.client.create(pod(name, labels={"app": "shop", "odd": name}))
            prometheus.samples.append(({"namespace": "default", "pod": name}, value))

        async def is_listed() -> bool:
            try:
                return bool((await ask(cluster, ""))["resources"])
            except StatusError:
                return False

        await cluster.eventually(is_listed)
        yield World(cluster, prometheus)


async def test_discovery_names_both_versions_and_each_metric(world: World) -> None:
    group = msgspec.json.decode(await world.cluster.client.request("GET", PATH))
    assert [one["version"] for one in group["versions"]] == ["v1beta2", "v1beta1"]
    row = {
        "name": "pods/queue_length",
        "singularName": "",
        "namespaced": True,
        "kind": "MetricValueList",
        "verbs": ["get"],
    }
    assert row in (await ask(world.cluster, ""))["resources"]


async def test_a_metric_of_one_object_in_both_versions(world: World) -> None:
    path = "namespaces/default/pods/a/queue_length"
    described = {"kind": "Pod", "namespace": "default", "name": "a", "apiVersion": "v1"}
    [new] = (await ask(world.cluster, path))["items"]
    assert new["describedObject"] == described and new["value"] == "1500m"
    assert new["metric"] == {"name": "queue_length", "selector": None}
    [old] = (await ask(world.cluster, path, "v1beta1"))["items"]
    assert old["metricName"] == "queue_length" and old["selector"] is None


async def test_a_star_with_a_selector_chooses_objects(world: World) -> None:
    path = "namespaces/default/pods/*/queue_length"
    listed = (await ask(world.cluster, path, labelSelector="app=shop"))["items"]
    assert [(one["describedObject"]["name"], one["value"]) for one in listed] == [
        ("a", "1500m"),
        ("b", "2"),
    ]
    query = 'sum(queue_length{namespace="default",pod=~"a|b"}) by (pod)'
    assert query in world.prometheus.queries
    some = (await ask(world.cluster, path, labelSelector="odd=b", metricLabelSelector="x=y"))[
        "items"
    ]
    assert [one["metric"]["selector"] for one in some] == [{"matchLabels": {"x": "y"}}]
    assert not (await ask(world.cluster, path, labelSelector="app=none"))["items"]


NONE = [
    ("namespaces/default/pods/none/queue_length", 404, "for pods none"),
    ("namespaces/default/pods/a/none", 404, "could not find the metric none for pods"),
    ("namespaces/default/robots/a/queue_length", 404, "for robots"),
    ("namespaces/default/pods/a/queue_length?metricLabelSelector=a/b%3Dc", 400, "no label"),
]


@pytest.mark.parametrize(("path", "code", "message"), NONE)
async def test_what_there_is_not_has_a_status(
    world: World, path: str, code: int, message: str
) -> None:
    with pytest.raises(StatusError, match=message) as refused:
        await ask(world.cluster, path)
    assert refused.value.code == code


async def replicas(world: World, name: str, count: int) -> None:
    async def check() -> bool:
        found = await world.cluster.client.get(apps_v1.Deployment, name, "default")
        return found.spec.replicas == count

    await world.cluster.eventually(check)


async def test_an_autoscaler_goes_by_a_metric_of_its_pods(world: World) -> None:
    client = world.cluster.client
    await client.create(deployment("queued", 1))

    async def running() -> list[core_v1.Pod]:
        pods = (await client.list(core_v1.Pod, "default", labels="app=queued")).items
        return pods if any(one.status.phase == "Running" for one in pods) else []

    [worker] = await world.cluster.eventually(running)
    labels = {"namespace": "default", "pod": worker.metadata.name}
    world.prometheus.samples.append((labels, 30.0))
    source: dict[str, Any] = {
        "metric": {"name": "queue_length"},
        "target": {"type": "AverageValue", "averageValue": "10"},
    }
    await client.create(by_metrics("queued", {"type": "Pods", "pods": source}))
    await replicas(world, "queued", 3)


async def test_an_autoscaler_goes_by_a_metric_of_an_object(world: World) -> None:
    await world.cluster.client.create(deployment("fronted", 1))
    labels = {"namespace": "default", "service": "front"}
    world.prometheus.samples.append((labels, 200.0))
    source = {
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "front"},
        "metric": {"name": "queue_length"},
        "target": {"type": "AverageValue", "averageValue": "50"},
    }
    await world.cluster.client.create(by_metrics("fronted", {"type": "Object", "object": source}))
    await replicas(world, "fronted", 4)
