"""The same with a Prometheus that scrapes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.addons.custommetrics.world import ask, by_metrics, cluster_with, configure
from tests.addons.keda.processes import HOST, Server, running
from tests.addons.keda.world import deployment
from tiphys.api import apps_v1, core_v1
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus"),
]


class Exporter:
    """`queues` are lengths by the names of pods; each has served ten times as much."""

    def __init__(self) -> None:
        self.queues: dict[str, float] = {}

    async def page(self, request: web.Request) -> web.Response:
        lines = []
        for name, length in self.queues.items():
            labels = f'{{namespace="default",pod="{name}"}}'
            lines += [f"queue_length{labels} {length}", f"served_total{labels} {length * 10}"]
        return web.Response(text="\n".join([*lines, ""]))


@contextlib.asynccontextmanager
async def scraped(folder: Path) -> AsyncIterator[tuple[Exporter, str]]:
    """What is scraped four times a second, and the URL of the Prometheus that does so."""
    exporter = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", exporter.page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 250ms, scrape_timeout: 250ms}\n"
        "scrape_configs:\n"
        f"- {{job_name: queues, static_configs: [{{targets: ['{HOST}:{runner.addresses[0][1]}']}}]}}\n"
    )
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]  # fmt: skip
    try:
        async with running(Server(command, port)) as server:
            yield exporter, f"http://{server.address}"
    finally:
        await runner.cleanup()


ADAPTER = """
rules:
- seriesQuery: '{__name__=~"^queue_.*",namespace!="",pod!=""}'
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name: {matches: "^(.*)_length$"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
"""


async def pods_of(cluster: LocalCluster, app: str, count: int) -> list[str]:
    async def names() -> list[str]:
        pods = (await cluster.client.list(core_v1.Pod, "default", labels=f"app={app}")).items
        return [pod.metadata.name for pod in pods] if len(pods) == count else []

    found: list[str] = await cluster.eventually(names)
    return found


async def has(cluster: LocalCluster, name: str, count: int) -> None:
    async def check() -> bool:
        found = await cluster.client.get(apps_v1.Deployment, name, "default")
        return found.spec.replicas == count

    await cluster.eventually(check, 60)


async def test_an_autoscaler_follows_what_prometheus_scrapes(tmp_path: Path) -> None:
    async with scraped(tmp_path) as (exporter, url), cluster_with(url, relist=1) as cluster:
        await cluster.client.create(deployment("queued", 1))
        [first] = await pods_of(cluster, "queued", 1)
        exporter.queues[first] = 30
        source = {
            "metric": {"name": "queue_length"},
            "target": {"type": "AverageValue", "averageValue": "10"},
        }
        await cluster.client.create(by_metrics("queued", {"type": "Pods", "pods": source}))
        await has(cluster, "queued", 3)
        # Pods without the metric would count as if they had what is aimed at.
        exporter.queues.update(dict.fromkeys(await pods_of(cluster, "queued", 3), 2))
        await has(cluster, "queued", 1)
        rate = f"namespaces/default/pods/{first}/served_per_second"
        assert (await ask(cluster, rate))["items"][0]["describedObject"]["name"] == first


async def test_rules_of_the_adapter_are_read_from_a_config_map(tmp_path: Path) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "adapter-config", "namespace": "tiphys-addons"},
        "data": {"config.yaml": ADAPTER},
    }
    async with scraped(tmp_path) as (exporter, url), cluster_with(url) as cluster:
        exporter.queues["a"] = 7
        await cluster.client.create(config)
        await configure(cluster, rules="adapter-config")

        async def value() -> str:
            try:
                [item] = (await ask(cluster, "namespaces/default/metrics/queue"))["items"]
            except StatusError:
                return ""
            return str(item["value"])

        assert await cluster.eventually(value, 60) == "7"
