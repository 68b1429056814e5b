"""GET and LIST: bytes out of the cache; and who watches."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

from aiohttp import web

from tiphys.api.catalog import Resource
from tiphys.apiserver.aside import aside, weigh_object
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.lists import list_head, listed, read_token, write_token
from tiphys.apiserver.options import check_list
from tiphys.apiserver.registry import Registry
from tiphys.apiserver.request import Call
from tiphys.apiserver.respond import PLAIN, YamlAnswer, accepted, is_declared, one, streamed, unhurried
from tiphys.apiserver.views import number, view_of
from tiphys.apiserver.watching import Stream
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors
from tiphys.store.cache import Entry, Expired, Filter, ResourceCache

_WAIT = 3.0  # seconds a read waits for a revision this server has not seen yet
_STREAMED = 100  # objects of a list from which it is written piece by piece
_COMPRESSED = 128 << 10  # bytes of a list from which it is compressed for clients that take that

_LISTING = "invalid resource version: "  # how a list begins to tell of one


class Reader:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store
        self.watchers = 0
        self.closing = asyncio.Event()
        self.tasks = TaskGroup("watches")
        self.streams: set[Stream] = set()

    def end_watches(self) -> None:
        """Lets every watch end cleanly: the server goes."""
        self.closing.set()
        for stream in self.streams:
            stream.wake.set()

    def end_watches_of(self, prefix: str) -> None:
        """Lets the watches of one resource end: it is not served any more, or in another way."""
        for stream in list(self.streams):
            if stream.resource.prefix == prefix:
                self.end(stream)

    @staticmethod
    def end(stream: Stream) -> None:
        stream.ended = True
        stream.wake.set()

    # --- get ---

    async def get(self, call: Call, resource: Resource) -> web.Response:
        await self.fresh(call.query.get("resourceVersion", ""))
        entry = self.registry.entry(resource, call.info.namespace, call.info.name)
        data = self.registry.converter.shown(resource, entry)
        if data is None:
            data = (await self.registry.converter.present(resource, [entry]))[0]
        weigh_object(len(data))
        return await aside(one, call, resource, data)

    async def fresh(self, asked: str, doing: str = "") -> int:
        """Waits until the cache is at least as new as the client asks. Returns the cache's revision."""
        if not asked:
            return await self.store.fresh()
        if asked != "0" and not await self.store.reached(wanted := number(asked, doing), _WAIT):
            raise errors.too_large_version(wanted, self.store.revision)
        return self.store.revision

    # --- list ---

    async def collect(self, call: Call, resource: Resource) -> web.StreamResponse:
        want = accepted(call.http.headers.get("Accept", ""), is_declared(resource))
        check_list(call)
        view, cache = view_of(call, resource), self.registry.cache(resource)
        limit = max(int(call.query.get("limit") or "0"), 0)
        entries, revision, token, remaining = await self._page(call, resource, cache, view, limit)
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if token:
            meta["continue"] = token
            if view.matches_all:
                meta["remainingItemCount"] = remaining
        if resource.is_storage_version and not isinstance(resource, CustomResource):
            objects = [entry.data for entry in entries]
        else:
            objects = await self.registry.converter.present(resource, entries)
        if isinstance(resource, CustomResource) and not want.shape:
            meta.setdefault("continue", "")  # upstream's lists of plain objects say so
        compressed = "gzip" in call.http.headers.get("Accept-Encoding", "")
        if len(objects) > _STREAMED and want == PLAIN and not compressed and call.http.method == "GET":
            head = list_head(resource.list_kind.encode(), resource.api_version.encode(), meta)
            return await streamed(call, head, objects, b"]}")
        if want != PLAIN:
            weigh_object(sum(map(len, objects)))
        response = await aside(listed, call, resource, want, meta, entries, objects)
        if isinstance(response, YamlAnswer):
            return response
        if want.form != "protobuf" and compressed and len(response.body) > _COMPRESSED:  # type: ignore[arg-type]
            # On a thread: the event loop answers others meanwhile.
            packed = await asyncio.to_thread(gzip.compress, response.body, 1)  # type: ignore[arg-type]
            response.body = packed
            response.headers["Content-Encoding"], response.headers["Vary"] = "gzip", "Accept-Encoding"
        return await unhurried(call, response)

    async def _page(
        self, call: Call, resource: Resource, cache: ResourceCache, view: Filter, limit: int
    ) -> tuple[list[Entry], int, str, int]:
        """(entries, revision of the whole list, continue token, how many are left)."""
        query = call.query
        asked, match, start = query.get("resourceVersion", ""), query.get("resourceVersionMatch", ""), ""
        if query.get("continue"):
            revision, start = read_token(query["continue"])
            entries = self.at(cache, view, revision, start) if revision else cache.select(view)
            revision = revision or self.store.revision
        elif match == "Exact" or (limit and asked not in ("", "0") and not match):
            revision = number(asked, _LISTING)
            await self.fresh(asked, _LISTING)
            entries = self.at(cache, view, revision, "")
        else:
            revision = await self.fresh(asked, _LISTING)
            entries = cache.select(view)
        if start:
            entries = [entry for entry in entries if entry.key > resource.prefix + start]
        if not limit or len(entries) <= limit:
            return entries, revision, "", 0
        page = entries[:limit]
        token = write_token(revision, page[-1].key[len(resource.prefix) :])
        return page, revision, token, len(entries) - limit

    def at(self, cache: ResourceCache, view: Filter, revision: int, start: str) -> list[Entry]:
        if revision >= cache.revision:
            return cache.select(view)
        try:
            return cache.at(view, revision)
        except Expired as error:
            if not start:
                raise errors.too_old(revision, error.floor) from None
            # The list can go on from here, but what it shows is of another time: the client must agree to that.
            failure = errors.gone(
                "The provided continue parameter is too old to display a consistent list result. You can start a new"
                " list without the continue parameter, or use the continue token in this response to retrieve the"
                " remainder of the results. Continuing with the provided token results in an inconsistent list - objects"
                " that were created, modified, or deleted between the time the first chunk was returned and now may show"
                " up in the list."
            )
            from tiphys.api.meta_v1 import ListMeta

            failure.status.metadata = ListMeta(continue_=write_token(0, start))
            raise failure from None

    # --- watch ---

    async def watch(self, call: Call, resource: Resource) -> web.StreamResponse:
        stream = Stream(self, call, resource)
        self.watchers += 1
        try:
            return await stream.run()
        finally:
            self.watchers -= 1
