"""What is served beside resources: discovery, OpenAPI, health, metrics, the version, keys of
tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.documents import discovery
from tiphys.apiserver.documents.openapi import OpenAPI
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.slis import HealthRecord
from tiphys.apiserver.registry.registry import Registry
from tiphys.client.exposition import render
from tiphys.machinery import errors

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0+tiphys",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "cpython",
    "platform": "linux/amd64",
}

# Parts of a server as upstream names them, as far as ours has the like. They are there when it is
# ready, all at once.
_STARTED_PARTS = (
    "bootstrap",
    "autoregister-completion",
    *(
        f"poststarthook/{name}"
        for name in (
            "start-apiserver-admission-initializer",
            "generic-apiserver-start-informers",
            "storage-readiness",
            "priority-and-fairness-config-consumer",
            "priority-and-fairness-filter",
            "start-apiextensions-informers",
            "start-apiextensions-controllers",
            "crd-informer-synced",
            "start-system-namespaces-controller",
            "start-cluster-authentication-info-controller",
            "start-service-ip-repair-controllers",
            "rbac/bootstrap-roles",
            "scheduling/bootstrap-system-priority-classes",
            "priority-and-fairness-config-producer",
            "bootstrap-controller",
            "start-kubernetes-service-cidr-controller",
            "start-kube-aggregator-informers",
            "apiservice-status-local-available-controller",
            "apiservice-status-remote-available-controller",
            "apiservice-registration-controller",
            "apiservice-discovery-controller",
            "kube-apiserver-autoregistration",
            "apiservice-openapi-controller",
            "apiservice-openapiv3-controller",
        )
    ),
)
_STORE_PARTS = ("etcd", "etcd-readiness", "store")
_CHECK = 2.0  # seconds that the store has to answer a check, as upstream gives etcd
_HEALTH = frozenset(("healthz", "livez", "readyz"))
_ANY_METHOD = frozenset(
    ("healthz", "livez", "readyz", "metrics", "openapi", "")
)  # pages that read none


class ServerState(Protocol):
    """What the pages show of a server."""

    address: str
    ready: bool
    authenticator: Authenticator
    collectors: CollectorRegistry
    discovery: discovery.Discovery
    documents: OpenAPI
    kms_faults: Callable[[], list[str]] | None
    reader: Reader
    registry: Registry


_MOST_PARTS = 8  # of a path: no page has more


class Pages:
    """Answers for one server."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._checked = HealthRecord()
        self._rendering = asyncio.Lock()

    async def answer(self, call: Call) -> web.StreamResponse:
        """Raises 405 for methods that a page does not have."""
        parts = call.info.path.strip("/").split("/", _MOST_PARTS)
        if not _may_end_so(call.info.path, parts):
            return web.Response(status=404) if parts[:2] == ["openapi", "v3"] else no_page()
        if parts[0] in _HEALTH:
            return await self._health(call, parts[0], parts[1:])
        if parts == ["metrics"]:
            return await self._metrics(call)
        page = self._page(call, parts)
        if call.http.method != "GET" and parts[0] not in _ANY_METHOD and page.status == 200:
            raise errors.method_refused()
        return page

    def _page(self, call: Call, parts: list[str]) -> web.Response:
        match parts:
            case ["version"]:
                return respond.answer(msgspec.json.format(msgspec.json.encode(VERSION)))
            case ["metrics", "slis"]:
                return web.Response(text=self._checked.text(), content_type="text/plain")
            case ["api"] | ["apis"]:
                return self._groups(call, core=parts[0] == "api")
            case ["api", version] if body := self._server.discovery.api_resources("", version):
                return respond.formed(call, body, respond.PLAIN)
            case ["apis", group] if body := self._server.discovery.api_group(group):
                return respond.formed(call, body, respond.PLAIN)
            case ["apis", group, version] if body := self._server.discovery.api_resources(
                group, version
            ):
                return respond.formed(call, body, respond.PLAIN)
            case ["openapi", *rest]:
                return self._openapi(call, rest)
            case [".well-known", "openid-configuration"]:
                return respond.answer(self._issuer())
            case ["openid", "v1", "jwks"]:
                return respond.answer(
                    msgspec.json.encode(self._server.authenticator.tokens.jwks()),
                    content_type="application/jwk-set+json",
                )
            case [""] | ["index.html"]:
                return self._index()
        return self._missing(parts)

    def _missing(self, parts: list[str]) -> web.Response:
        """Raises the 404 of a group of the API that does not have the version."""
        match parts:
            case ["api", _]:
                raise errors.page_not_found()
            case ["apis", group, _] if self._server.registry.served.has_built_in(group):
                raise errors.page_not_found()
        return no_page()

    def _index(self) -> web.Response:
        """Every page there is."""
        checks = [
            f"/{kind}/{name}"
            for kind in ("healthz", "livez", "readyz")
            for name in ("ping", "log", "etcd", *_STARTED_PARTS)
        ]
        paths = [
            "/.well-known/openid-configuration",
            "/api",
            "/api/v1",
            *self._server.discovery.paths(),
            "/healthz",
            "/livez",
            "/metrics",
            "/metrics/slis",
            "/openapi/v2",
            "/openapi/v3",
            "/openapi/v3/",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
            *checks,
        ]
        return respond.answer(msgspec.json.format(msgspec.json.encode({"paths": sorted(paths)})))

    def _groups(self, call: Call, core: bool) -> web.Response:
        accept = call.http.headers.get("Accept", "")
        if "as=APIGroupDiscoveryList" in accept and "v=v2" in accept.replace("v=v2beta1", ""):
            body, tag = self._server.discovery.aggregated(core)
            if call.http.headers.get("If-None-Match") == f'"{tag}"':
                return web.Response(status=304, headers={"ETag": f'"{tag}"'})
            response = respond.answer(body, content_type=discovery.AGGREGATED)
            response.headers["ETag"] = f'"{tag}"'
            response.headers["Vary"] = "Accept"
            return response
        served = self._server.discovery
        body = served.api_versions(self._server.address) if core else served.api_groups()
        return respond.formed(call, body, respond.PLAIN)

    def _openapi(self, call: Call, rest: list[str]) -> web.Response:
        """`openapi.OpenAPI.prepare` has been called for it."""
        if rest == ["v2"]:
            accept = call.http.headers.get("Accept", "")
            if "proto-openapi" in accept and "application/json" not in accept:
                return respond.answer(
                    self._server.documents.v2_proto(),
                    content_type="application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                )
            return respond.answer(self._server.documents.v2())
        if rest == ["v3"]:
            return respond.answer(self._server.documents.v3_index())
        document = None
        if rest[:2] == ["v3", "api"] and len(rest) == 3:
            document = self._server.documents.v3("", rest[2])
        elif rest[:2] == ["v3", "apis"] and len(rest) == 4:
            document = self._server.documents.v3(rest[2], rest[3])
        if document is None:
            return web.Response(status=404) if rest[:1] == ["v3"] else no_page()
        response = respond.answer(document[0])
        response.headers["ETag"] = f'"{document[1]}"'
        return response

    def _issuer(self) -> bytes:
        issuer = self._server.authenticator.tokens.issuer
        return msgspec.json.encode(
            {
                "issuer": issuer,
                "jwks_uri": f"https://{self._server.address}/openid/v1/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }
        )

    async def _health(self, call: Call, kind: str, rest: list[str]) -> web.Response:
        started = self._server.ready or kind == "livez"
        checks = {
            "ping": True,
            "log": True,
            "etcd": True,
            "store": True,
            **dict.fromkeys(_STARTED_PARTS, started),
        }
        if self._server.kms_faults is not None:
            checks["kms-providers"] = not self._server.kms_faults()
        if kind == "readyz":
            checks |= {
                "etcd-readiness": True,
                "informer-sync": started,
                "shutdown": not self._server.reader.watches.closing.is_set(),
            }
        excluded = parse_qsl(call.query_text)
        checks = {name: ok for name, ok in checks.items() if ("exclude", name) not in excluded}
        if rest:
            asked = "/".join(rest)
            checks = {name: ok for name, ok in checks.items() if name == asked}
            if not checks:
                return no_page()
        if not checks.keys().isdisjoint(
            _STORE_PARTS
        ) and not await self._server.registry.store.answers(_CHECK):
            checks |= dict.fromkeys(checks.keys() & set(_STORE_PARTS), False)
        self._checked.observe(kind, checks)
        healthy = all(checks.values())
        if healthy and "verbose" not in call.query:
            return web.Response(text="ok", content_type="text/plain")
        lines = [
            f"[{'+' if ok else '-'}]{name} {'ok' if ok else 'failed: reason withheld'}"
            for name, ok in checks.items()
        ]
        lines.append(f"{kind} check {'passed' if healthy else 'failed'}")
        return web.Response(
            text="\n".join(lines) + "\n", status=200 if healthy else 500, content_type="text/plain"
        )

    async def _metrics(self, call: Call) -> web.Response:
        """On a thread, one at a time: the page of a server that has been asked for everything has
        thousands of lines, and would hold the event loop for 50 ms.
        """
        headers = call.http.headers
        accept = headers.get("Accept", "")
        accept_encoding = headers.get("Accept-Encoding", "")
        async with self._rendering:
            page = await asyncio.to_thread(render, self._server.collectors, accept, accept_encoding)
        return web.Response(body=page.body, headers=page.headers)


def _may_end_so(path: str, parts: list[str]) -> bool:
    """Whether a page may be asked for by a path with so many slashes: those of the API and of the
    version may end in some."""
    if path == "/" or not (path.startswith("//") or path.endswith("/")):
        return "//" not in path
    is_free = parts[0] in ("api", "apis", "version") or path == "/openapi/v3/"
    return is_free and "//" not in path.rstrip("/")


def no_page() -> web.Response:
    """What upstream answers where no group of its API is."""
    return web.Response(
        text="404 page not found\n", status=404, content_type="text/plain", charset="utf-8"
    )
