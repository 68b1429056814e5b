"""A real Prometheus scrapes a cluster: it finds what it looks for, and promtool has no complaint."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.scheduler.builders import default_account
from tiphys.client.monitoring import Endpoint, MonitoringServer
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


def configuration(cluster: LocalCluster, targets: dict[str, int]) -> dict[str, Any]:
    """Jobs of a name and a port each, scraped with a client certificate."""
    group = "system:monitoring"
    certificate, key = cluster.authority.ensure("prometheus", "prometheus", (group,))
    tls = {
        "ca_file": str(cluster.authority.path),
        "cert_file": str(certificate),
        "key_file": str(key),
    }
    jobs = [
        {
            "job_name": job,
            "scheme": "https",
            "tls_config": tls,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for job, port in targets.items()
    ]
    return {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
        "scrape_configs": jobs,
    }


class Prometheus:
    """Answers of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def query(self, expression: str) -> dict[str, float]:
        """The value of each job."""
        async with aiohttp.ClientSession() as session:
            query = {"query": expression}
            async with session.get(f"{self.url}/api/v1/query", params=query) as answer:
                rows = (await answer.json())["data"]["result"]
        return {row["metric"].get("job", ""): float(row["value"][1]) for row in rows}

    async def is_up(self) -> bool:
        try:
            up = await self.query("up")
        except aiohttp.ClientError:
            return False
        return len(up) == 2 and all(up.values())


@pytest.fixture
async def prometheus(cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """One that scrapes the API server, and the controllers beside the scheduler."""
    pair = cluster.authority.ensure("components", "components", (), ("127.0.0.1",), server=True)
    endpoint = Endpoint("127.0.0.1", free_port(), *pair, cluster.authority.path)
    cluster.tasks.start(MonitoringServer(cluster.client).run(endpoint), "monitoring")
    file = tmp_path / "prometheus.json"  # JSON is YAML
    targets = {"apiserver": cluster.port, "controllers": endpoint.port}
    file.write_text(json.dumps(configuration(cluster, targets)))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    running = Prometheus(port)
    await cluster.eventually(running.is_up, 60)
    yield running
    process.terminate()
    await process.wait()


async def test_prometheus_answers_queries_about_the_cluster(
    cluster: LocalCluster, prometheus: Prometheus
) -> None:
    await default_account(cluster)
    deployed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}}
    await cluster.client.create(deployed)
    created = 'sum by (job) (apiserver_request_total{verb="POST",resource="configmaps"})'

    async def has_seen_it() -> bool:
        return (await prometheus.query(created)).get("apiserver", 0) >= 1

    await cluster.eventually(has_seen_it)
    latency = (
        "histogram_quantile(0.99, sum by (job, le) "
        '(apiserver_request_duration_seconds_bucket{verb!="WATCH"}))'
    )
    assert 0 < (await prometheus.query(latency))["apiserver"] < 60
    assert (await prometheus.query("sum by (job) (workqueue_adds_total)"))["controllers"] > 0
    assert (await prometheus.query("scrape_samples_scraped"))["apiserver"] > 500


async def test_promtool_has_no_complaint(cluster: LocalCluster) -> None:
    page = await cluster.client.request("GET", "/metrics")
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=page, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
