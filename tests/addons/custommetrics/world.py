"""A Prometheus to ask, real or a stand-in, and autoscalers that look twice a second."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.builders import machine_address
from tiphys.addons.types import Addon
from tiphys.api import autoscaling_v2
from tiphys.api.base import from_builtins
from tiphys.controllers import autoscaler
from tiphys.testing import LocalCluster

PATH = "/apis/custom.metrics.k8s.io"


class StandIn:
    """Answers as Prometheus does. `samples` are what it has of the series `queue_length`: every
    query is answered with all of them."""

    def __init__(self) -> None:
        self.samples: list[tuple[dict[str, str], float]] = []
        self.queries: list[str] = []

    async def series(self, request: web.Request) -> web.Response:
        rows = [{"__name__": "queue_length", **labels} for labels, _ in self.samples]
        is_counters = '_total"' in (await request.post()).get("match[]", "")[:25]
        return web.json_response({"status": "success", "data": [] if is_counters else rows})

    async def query(self, request: web.Request) -> web.Response:
        self.queries.append(str((await request.post())["query"]))
        rows = [{"metric": labels, "value": [1, str(value)]} for labels, value in self.samples]
        data = {"resultType": "vector", "result": rows}
        return web.json_response({"status": "success", "data": data})


@contextlib.asynccontextmanager
async def stand_in() -> AsyncIterator[tuple[StandIn, str]]:
    """With its URL."""
    made = StandIn()
    app = web.Application()
    app.router.add_post("/api/v1/series", made.series)
    app.router.add_post("/api/v1/query", made.query)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, machine_address(), 0).start()
    try:
        yield made, f"http://{machine_address()}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def cluster_with(url: str, **settings: Any) -> AsyncIterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoscaler, "PERIOD", 0.5)
        async with LocalCluster(2, addons=["custommetrics"]) as cluster:
            await configure(cluster, prometheus=url, **settings)
            yield cluster


async def configure(cluster: LocalCluster, **settings: Any) -> None:
    wanted = {"spec": {"settings": settings}}
    await cluster.client.patch(Addon, "custommetrics", wanted, media="application/merge-patch+json")


async def ask(cluster: LocalCluster, path: str, version: str = "v1beta2", **query: str) -> Any:
    body = await cluster.client.request("GET", f"{PATH}/{version}/{path}".rstrip("/"), query=query)
    return msgspec.json.decode(body)


def by_metrics(name: str, *metrics: dict[str, Any]) -> autoscaling_v2.HorizontalPodAutoscaler:
    """An autoscaler of the Deployment of that name that does not wait before it scales down."""
    at_once = {"stabilizationWindowSeconds": 0}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 1,
        "maxReplicas": 6,
        "metrics": list(metrics),
        "behavior": {"scaleDown": at_once, "scaleUp": at_once},
    }
    plain = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return from_builtins(plain, autoscaling_v2.HorizontalPodAutoscaler)
