"""Who asks for metrics without the API server, and who asks it for more than a namespace has."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.addons.custommetrics.world import StandIn, ask, cluster_with, stand_in
from tests.builders import machine_address, pod
from tiphys.addons.custommetrics.asking import Prometheus, PrometheusError
from tiphys.api import discovery_v1
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[tuple[LocalCluster, StandIn]]:
    async with stand_in() as (prometheus, url), cluster_with(url, relist=1) as cluster:
        await cluster.client.create(pod("a"))
        prometheus.samples.append(({"namespace": "default", "pod": "a"}, 1.0))

        async def is_served() -> bool:
            try:
                return bool(await ask(cluster, "namespaces/default/pods/a/queue_length"))
            except StatusError:
                return False

        await cluster.eventually(is_served)
        yield cluster, prometheus


async def test_nobody_is_told_a_metric_beside_the_api_server(
    world: tuple[LocalCluster, StandIn],
) -> None:
    cluster, _ = world
    slice_ = await cluster.client.get(discovery_v1.EndpointSlice, "custommetrics", "tiphys-addons")
    where = f"https://{slice_.endpoints[0].addresses[0]}:{slice_.ports[0].port}"
    path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/a/queue_length"
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        headers = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
        async with session.get(where + path, ssl=anybody, headers=headers) as answer:
            assert answer.status == 403
            assert "API server alone" in await answer.text()


@pytest.mark.parametrize("selector", ['pod in (a"} or up)', "or/up=a", "a=b,up-or=c"])
async def test_no_selector_becomes_an_expression(
    world: tuple[LocalCluster, StandIn], selector: str
) -> None:
    cluster, prometheus = world
    prometheus.queries.clear()
    with pytest.raises(StatusError) as refused:
        await ask(cluster, "namespaces/default/pods/a/queue_length", metricLabelSelector=selector)
    assert refused.value.code == 400 and not prometheus.queries


async def test_a_name_does_not_lead_to_this_machine_alone(
    world: tuple[LocalCluster, StandIn],
) -> None:
    cluster, _ = world
    connected = asyncio.Event()
    server = await asyncio.start_server(lambda *_: connected.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "inside", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 80}]},
    }
    await cluster.client.create(service)
    prometheus = Prometheus(cluster.client, f"http://inside.default:{port}", 5)
    with pytest.raises(PrometheusError, match="of the machine that the add-on runs on"):
        await prometheus.query("up", 1)
    await prometheus.close()
    server.close()
    assert not connected.is_set() and machine_address() != "127.0.0.1"
