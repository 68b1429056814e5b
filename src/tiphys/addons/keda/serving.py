"""What the API server asks the add-on over TLS: metrics, as the server behind the APIService of
external.metrics.k8s.io, and whether objects may be so.

Nobody but the API server is told a metric: it shows a certificate of the front proxy's authority,
which the cluster publishes in ``kube-system/extension-apiserver-authentication``. Reviews come
without one, as all webhooks are called; they are answered a few at a time.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tiphys.addons import reviews
from tiphys.addons.authority import passing_server
from tiphys.addons.keda import facts
from tiphys.addons.keda.scaler import quantity
from tiphys.addons.keda.scaling import NoMetric, Scaling
from tiphys.addons.optional import NAMESPACE
from tiphys.api import admission_v1, core_v1
from tiphys.client.client import Client
from tiphys.client.delegation import caller_of
from tiphys.machinery import timestamps
from tiphys.machinery.selectors import SelectorError, parse_labels

SERVICE = "keda"
EXTERNAL = "external.metrics.k8s.io"
ADMISSION = "/validate"
_VERSION = f"{EXTERNAL}/v1beta1"
_LARGEST = 4 << 20  # bytes of a review
_SECONDS = 10.0  # that a question may take to come
_REVIEWS = 16  # that are read at a time
_TRUST = "extension-apiserver-authentication"
_NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

Judge = Callable[[admission_v1.AdmissionRequest], Awaitable[reviews.Verdict]]
"""Raises SpecError."""


class Server:
    def __init__(self, scaling: Scaling, judge: Judge, now: Callable[[], float]) -> None:
        self._scaling = scaling
        self._judge = judge
        self._now = now
        self._allowed: frozenset[str] = frozenset()
        self._runner: web.AppRunner | None = None
        self._reviews = asyncio.Semaphore(_REVIEWS)
        self.authority = ""

    async def start(self, client: Client, address: str, port: int, folder: Path) -> int:
        """Listens and returns the port. Raises OSError when it is taken, and StatusError when the
        cluster does not say who its front proxy is."""
        names = [f"{SERVICE}.{NAMESPACE}.svc"]
        self.authority, context = passing_server("Tiphys KEDA", names, self._now(), folder)
        await self._trust(client, context)
        app = web.Application(client_max_size=_LARGEST, middlewares=[self._only_the_api_server])
        group = f"/apis/{_VERSION}"
        app.router.add_get(f"/apis/{EXTERNAL}", self._versions)
        app.router.add_get(group, self._resources)
        app.router.add_get(f"{group}/namespaces/{{namespace}}/{{metric}}", self._metric)
        app.router.add_post(ADMISSION, self._review)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=context).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _trust(self, client: Client, context: ssl.SSLContext) -> None:
        found = await client.get(core_v1.ConfigMap, _TRUST, "kube-system")
        names = json.loads(found.data.get("requestheader-allowed-names", "[]"))
        self._allowed = frozenset(names)
        authority = found.data.get("requestheader-client-ca-file", "")
        context.load_verify_locations(cadata=authority)
        context.verify_mode = ssl.CERT_OPTIONAL

    @web.middleware
    async def _only_the_api_server(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        transport = request.transport
        caller = caller_of(transport.get_extra_info("peercert") if transport else None)
        is_known = caller is not None and (not self._allowed or caller.name in self._allowed)
        if not is_known and request.path != ADMISSION:
            return _status(403, "Forbidden", "this is for the API server alone")
        return await handler(request)

    # --- metrics ---

    async def _versions(self, request: web.Request) -> web.Response:
        version = {"groupVersion": _VERSION, "version": "v1beta1"}
        return web.json_response(
            {
                "kind": "APIGroup",
                "apiVersion": "v1",
                "name": EXTERNAL,
                "versions": [version],
                "preferredVersion": version,
            }
        )

    async def _resources(self, request: web.Request) -> web.Response:
        row = {
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": _VERSION,
                "resources": [row],
            }
        )

    async def _metric(self, request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        try:
            selector = parse_labels(request.query.get("labelSelector", ""))
        except SelectorError as error:
            return _status(400, "BadRequest", str(error))
        name = selector.exact(facts.OWNER)
        if not name:
            return _status(500, "", "scaledObject name is not specified")
        try:
            value = await self._scaling.value_of(namespace, name, metric)
        except NoMetric as error:
            return _status(500, "", f"error when getting metric values {error}")
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


def _status(code: int, reason: str, message: str) -> web.Response:
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "code": code,
    }
    if reason:
        body["reason"] = reason
    return web.json_response(body, status=code)
