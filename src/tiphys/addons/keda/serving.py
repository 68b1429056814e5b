"""What the API server asks the add-on over TLS: metrics, as the server behind the APIService of
external.metrics.k8s.io, and whether objects may be so. Reviews come without a certificate, as all
webhooks are called; they are answered a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from tiphys.addons import reviews
from tiphys.addons.aggregated import (
    AggregatedServer,
    failure,
    group_document,
    resource_list,
)
from tiphys.addons.keda import facts
from tiphys.addons.keda.scaler import quantity
from tiphys.addons.keda.scaling import NoMetric, Scaling
from tiphys.api import admission_v1
from tiphys.client.client import Client
from tiphys.machinery import timestamps
from tiphys.machinery.selectors import SelectorError, parse_labels

SERVICE = "keda"
EXTERNAL = "external.metrics.k8s.io"
ADMISSION = "/validate"
_VERSION = f"{EXTERNAL}/v1beta1"
_SECONDS = 10.0  # that a question may take to come
_REVIEWS = 16  # that are read at a time
_NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

Judge = Callable[[admission_v1.AdmissionRequest], Awaitable[reviews.Verdict]]
"""Raises SpecError."""


class Server:
    def __init__(self, scaling: Scaling, judge: Judge, now: Callable[[], float]) -> None:
        self._scaling = scaling
        self._judge = judge
        self._now = now
        self._reviews = asyncio.Semaphore(_REVIEWS)
        self._server = AggregatedServer(SERVICE, "Tiphys KEDA", open_paths=(ADMISSION,))
        router = self._server.router
        group = f"/apis/{_VERSION}"
        router.add_get(f"/apis/{EXTERNAL}", self._versions)
        router.add_get(group, self._resources)
        router.add_get(f"{group}/namespaces/{{namespace}}/{{metric}}", self._metric)
        router.add_post(ADMISSION, self._review)

    @property
    def authority(self) -> str:
        return self._server.authority

    async def start(self, client: Client, address: str, port: int, folder: Path) -> int:
        """Raises as `AggregatedServer.start`."""
        return await self._server.start(client, address, port, self._now(), folder)

    async def announce(self, client: Client, address: str, port: int) -> None:
        await self._server.announce(client, address, port, [f"v1beta1.{EXTERNAL}"])

    async def stop(self) -> None:
        await self._server.stop()

    # --- metrics ---

    async def _versions(self, request: web.Request) -> web.Response:
        return group_document(EXTERNAL, ["v1beta1"])

    async def _resources(self, request: web.Request) -> web.Response:
        row = {
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return resource_list(_VERSION, [row])

    async def _metric(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        metric = request.match_info["metric"]
        try:
            selector = parse_labels(request.query.get("labelSelector", ""))
        except SelectorError as error:
            return failure(400, "BadRequest", str(error))
        name = selector.exact(facts.OWNER)
        if not name:
            return failure(500, "", "scaledObject name is not specified")
        try:
            value = await self._scaling.value_of(namespace, name, metric)
        except NoMetric as error:
            return failure(500, "", f"error when getting metric values {error}")
        row = {
            "metricName": facts.COMPOSITE if metric == facts.COMPOSITE else metric,
            "metricLabels": None,
            "timestamp": timestamps.rfc3339(self._now()),
            "value": quantity(value),
        }
        return web.json_response(
            {
                "kind": "ExternalMetricValueList",
                "apiVersion": _VERSION,
                "metadata": {},
                "items": [row],
            }
        )

    # --- admission ---

    async def _review(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_SECONDS), self._reviews:
                body = await request.read()
            asked = reviews.request_of(body)
            answer = await self._judged(asked)
        except TimeoutError:
            return web.Response(status=408)
        except _NO_REVIEW as error:
            return web.Response(status=400, text=str(error)[:200])
        return web.Response(body=answer, content_type="application/json")

    async def _judged(self, asked: admission_v1.AdmissionRequest) -> bytes:
        try:
            return reviews.allowed(asked, await self._judge(asked))
        except facts.SpecError as error:
            return reviews.refused(asked, reviews.refusal(str(error), 403, "Forbidden"))
