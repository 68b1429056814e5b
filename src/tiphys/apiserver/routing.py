"""Who answers a request: a page, another server, or the handler of a resource; and what a router
refuses before one is asked."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tiphys.api.catalog import Resource, storage_of
from tiphys.apiserver.documents.openapi import OpenAPI
from tiphys.apiserver.handlers import Handlers
from tiphys.apiserver.http import bodies, respond
from tiphys.apiserver.http.pages import Pages, no_page
from tiphys.apiserver.http.request import Call, annotate
from tiphys.apiserver.http.routes import (
    check_creatable,
    check_name,
    check_path,
    has_empty_part,
    is_custom_path,
)
from tiphys.apiserver.proxying.aggregation import Aggregator
from tiphys.apiserver.proxying.remotes import Remote
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import read_selectors
from tiphys.apiserver.requestfacts import STREAMING
from tiphys.machinery import decoding, errors

LONG_QUERY = 2048  # characters of a query that is not read on the event loop


class Router:
    """Of one server."""

    def __init__(
        self,
        registry: Registry,
        aggregator: Aggregator,
        documents: OpenAPI,
        pages: Pages,
        handlers: Handlers,
    ) -> None:
        self._registry = registry
        self._served = registry.served
        self._aggregator = aggregator
        self._documents = documents
        self._pages = pages
        self._handlers = handlers
        self._warm: set[int] = set()  # ids of the rows whose types have been read once

    async def answer(self, call: Call) -> web.StreamResponse:
        """Of a request that may be made. Raises StatusError."""
        info = call.info
        if not info.is_resource:
            return await self._page(call)
        resource = self._served.find(info.group, info.version, info.resource)
        if resource is None or resource.group == "metrics.k8s.io":
            remote = self._aggregator.find(info.group, info.version)
            if remote is not None:
                return await self._aggregator.pass_on(call, remote)
        if resource is None:
            if self._served.has_built_in(info.group):
                raise errors.page_not_found()
            return no_page()
        if "//" in info.path and has_empty_part(info):
            raise errors.page_not_found()
        if info.verb == "watch" and call.http.method != "GET":
            raise errors.method_refused()
        if not resource.built_in and not is_custom_path(info, resource):
            return no_page()
        return await self._of_resource(call, resource)

    async def _page(self, call: Call) -> web.StreamResponse:
        path = call.info.path
        remote = self._behind(path)
        if path.startswith("/openapi/"):
            accept = call.http.headers.get("Accept", "")
            await self._documents.prepare("proto-openapi" in accept)
        if remote is None:
            return await self._pages.answer(call)
        return await self._aggregator.pass_on(call, remote)

    def _behind(self, path: str) -> Remote | None:
        """The server that answers a path which is no resource: its own discovery or its OpenAPI
        document."""
        parts = path.strip("/").removeprefix("openapi/v3/").split("/")
        if len(parts) != 3 or parts[0] != "apis":
            return None
        return self._aggregator.find(parts[1], parts[2])

    async def _of_resource(self, call: Call, resource: Resource) -> web.StreamResponse:
        info = call.info
        if resource.built_in:
            check_path(info, resource, call.http.method)
            if id(resource) not in self._warm:
                await self._warm_up(resource)
        else:
            if not resource.prepared:
                await asyncio.to_thread(resource.prepare)
            check_creatable(info, resource)
        strategy = self._registry.strategy_of(resource)
        handler = self._handlers.of(call, resource)
        if info.subresource not in STREAMING:
            if info.verb == "patch":
                bodies.check_patch_type(call, resource)
            respond.check_accepted(call, resource, has_columns=strategy.action is None)
        if info.name[:1] == "." or "%" in info.name:
            check_name(info)
        deprecation = resource.deprecation or strategy.deprecation
        if deprecation and (resource.built_in or info.verb != "watch"):
            call.warnings.append(deprecation)
            annotate("k8s.io/deprecated", "true")
        call.resource = resource
        if len(call.query_text) > LONG_QUERY:
            await read_selectors(call)
        is_scale = info.subresource == "scale"
        return await handler(call, storage_of(resource) if is_scale else resource)

    async def _warm_up(self, resource: Resource) -> None:
        """Has a type read once, in steps: the first object of it takes long."""
        for _ in decoding.warming(resource.type):
            await asyncio.sleep(0)
        self._warm.add(id(resource))
