"""GET and LIST: bytes out of the cache; and who watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from tiphys.api.catalog import Resource, storage_of
from tiphys.api.meta_v1 import ListMeta
from tiphys.apiserver.eventloop.aside import aside, weigh_object
from tiphys.apiserver.http.bulk import COMPRESSED, LARGE, Body, Bulk
from tiphys.apiserver.http.freshness import fresh
from tiphys.apiserver.http.freshness import revision as revision_number
from tiphys.apiserver.http.lists import Listing, list_meta, media_of, read_token, write_token
from tiphys.apiserver.http.metrics import RequestMetrics
from tiphys.apiserver.http.openwatches import OpenWatches
from tiphys.apiserver.http.options import check_list
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.respond import HEADERS, Accepted, answer, object_answer, wanted, warn_of
from tiphys.apiserver.http.validators import is_known, list_etag, not_modified
from tiphys.apiserver.http.watching import Stream
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors
from tiphys.store.cache import Entry, Expired, Filter

T = TypeVar("T")
_ALL = 1 << 62  # more objects than there can be
_FEW = 100  # objects that a list reads at once; one that reads more goes in turns
_EXAMINED = 250  # objects examined in one step
# Parameters that select what is in a list.
_SHAPING = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "includeObject",
)

_LISTING = "invalid resource version: "  # prefix of a list's error about one


class Reader:
    def __init__(self, registry: Registry, metrics: RequestMetrics) -> None:
        self.registry = registry
        self.store = registry.store
        self.tasks = TaskGroup("reads")
        self.watches = OpenWatches(self.tasks, metrics)
        self.bulk = Bulk(registry.turns, self.tasks)

    # --- get ---

    async def get(self, call: Call, resource: Resource) -> web.Response:
        asked = call.query.get("resourceVersion", "")
        if asked or self.store.must_ask:  # else the cache shows every write already
            await fresh(self.store, asked)
        entry = self.registry.entry(resource, call.info.namespace, call.info.name)
        data = self.registry.converter.shown(resource, entry)
        if data is None:
            data = (await self.registry.converter.present(resource, [entry]))[0]
        weigh_object(len(data))
        return await aside(object_answer, call, resource, data)

    # --- list ---

    def examined(self, call: Call, resource: Resource) -> int:
        """How many objects a list, or the beginning of a watch, reads, about."""
        info = call.info
        query = call.query
        if info.name:
            return 1
        prefix = resource.prefix + (
            f"{info.namespace}/" if resource.namespaced and info.namespace else ""
        )
        count = self.store.cache(storage_of(resource).prefix).count(prefix)
        if "labelSelector" in query or "fieldSelector" in query or info.verb == "watch":
            return count
        limit = query.get("limit", "")
        is_limited = limit.isdecimal() and len(limit) < 10 and limit != "0"
        return min(count, int(limit)) if is_limited else count

    async def collect(self, call: Call, resource: Resource) -> web.StreamResponse:
        want = wanted(call, resource)
        check_list(call)
        view = view_of(call, resource, self.registry)
        limit = max(int(call.query.get("limit") or "0"), 0)
        listing = Listing(call, resource, want, self.registry)
        if not call.query.get("continue"):
            await fresh(self.store, call.query.get("resourceVersion", ""), _LISTING)
        # Before the list is made: what changes meanwhile may be in it, and is not in the ETag.
        etag = list_etag(call, resource, want, self.registry.cache(resource).version)
        if is_known(call, etag):
            self.registry.check_readable(resource, view.prefix)
            return not_modified(etag)
        gzip = "gzip" in call.http.headers.get("Accept-Encoding", "") and want.form != "protobuf"
        if self.examined(call, resource) <= _FEW:
            body = await self._listed(call, resource, listing, view, limit)
            if body.length <= (COMPRESSED if gzip else LARGE):
                response = answer(body.joined(), 200, call.warnings, media_of(want))
                if etag:
                    response.headers["ETag"] = etag
                return response
        place = self.bulk.place(call.user.name)
        if place.locked():
            # who waits for clients of its own to read keeps no other user from a seat
            call.seat.release()
        async with place:
            return await self._large(call, resource, listing, view, limit, want, gzip, etag)

    async def _large(
        self,
        call: Call,
        resource: Resource,
        listing: Listing,
        view: Filter,
        limit: int,
        want: Accepted,
        gzip: bool,
        etag: str,
    ) -> web.StreamResponse:
        """A list that takes long, shared with equal requests at one revision."""
        query = call.query
        info = call.info
        asked = tuple(query.get(name, "") for name in _SHAPING)
        key = (
            resource.prefix,
            resource.api_version,
            info.namespace,
            info.name,
            want,
            asked,
            self.store.revision,
        )

        async def make() -> Body:
            await self.registry.turns.take(call.user.name)
            return await self._listed(call, resource, listing, view, limit)

        body = await self.bulk.shared(key, make)
        if call.record is not None and want.form != "protobuf":
            call.record.lists(body.length, body.joined)
        response = web.StreamResponse(headers=HEADERS)
        response.headers["Content-Type"] = media_of(want)
        warn_of(response, call.warnings)
        if etag:
            response.headers["ETag"] = etag
        if (
            gzip
            and body.length > COMPRESSED
            and (packed := await self.bulk.compressed(key, body)) is not None
        ):
            body = packed
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Vary"] = "Accept-Encoding"
        call.seat.release()  # what is left is the client's to take, and goes in turns
        return await self.bulk.write(call, response, body)

    async def _listed(
        self, call: Call, resource: Resource, listing: Listing, view: Filter, limit: int
    ) -> Body:
        self.registry.check_readable(resource, view.prefix)
        entries, revision, token, remaining = await self._page(call, resource, view, limit)
        meta = list_meta(resource, revision, listing.shaped)
        if token:
            meta["continue"] = token
            if view.matches_all:
                meta["remainingItemCount"] = remaining
        return await listing.body(meta, entries)

    async def _page(
        self, call: Call, resource: Resource, view: Filter, limit: int
    ) -> tuple[list[Entry], int, str, int]:
        """(entries, revision of the whole list, continue token, how many are left)."""
        query = call.query
        cache = self.registry.cache(resource)
        revision = self.store.revision
        start = ""
        asked = query.get("resourceVersion", "")
        match = query.get("resourceVersionMatch", "")
        past = 0
        if query.get("continue"):
            past, start = read_token(query["continue"])
        elif match == "Exact" or (limit and asked not in ("", "0") and not match):
            past = revision_number(asked, _LISTING)
        revision = past or revision
        # A token ends with its revision's history even if nothing of this resource has changed
        # since: clients rely on it.
        is_past = bool(past) and (past < cache.revision or past < cache.floor)
        if view.matches_all:
            after = resource.prefix + start if start else ""
            most = limit or _ALL
            if is_past:
                entries, left = _of_the_past(
                    past, start, lambda: cache.page_at(view.prefix, past, after, most)
                )
            else:
                entries, left = cache.page(view, after, most)
            token = write_token(revision, entries[-1].key[len(resource.prefix) :]) if left else ""
            return entries, revision, token, left
        if is_past:
            candidates = _of_the_past(
                past, start, lambda: cache.candidates_at(view.stored.prefix, past)
            )
            entries = await self._among(call, resource, view, candidates)
        else:
            entries = await self.matching(call, resource, view)
        if start:
            entries = [entry for entry in entries if entry.key > resource.prefix + start]
        if not limit or len(entries) <= limit:
            return entries, revision, "", 0
        page = entries[:limit]
        token = write_token(revision, page[-1].key[len(resource.prefix) :])
        return page, revision, token, len(entries) - limit

    async def matching(self, call: Call, resource: Resource, view: Filter) -> list[Entry]:
        """The view as of this call. Examines objects in short steps."""
        cache = self.registry.cache(resource)
        entries = cache.snapshot(view)
        matches = await self._among(call, resource, view, entries)
        if len(matches) < len(entries) and view.stored is view:
            cache.candidates(view)  # makes the index, if one is of use: all labels are read now
        return matches

    async def _among(
        self, call: Call, resource: Resource, view: Filter, entries: list[Entry]
    ) -> list[Entry]:
        """Those that match. Examines objects in short steps."""
        if view.stored is not view:  # its fields are those of another version; a webhook is asked
            await self.registry.converter.present(resource, entries)  # once for all
        if view.matches_all:
            return entries
        matches: list[Entry] = []
        async for some in self.registry.turns.sliced(call.user.name, entries, _EXAMINED):
            matches += [entry for entry in some if view.matches(entry)]
        return matches

    # --- watch ---

    async def watch(self, call: Call, resource: Resource) -> web.StreamResponse:
        stream = Stream(self.watches, self.registry, call, resource)
        self.watches.requests += 1
        try:
            return await stream.run()
        finally:
            self.watches.requests -= 1


def _of_the_past(revision: int, start: str, read: Callable[[], T]) -> T:
    """What `read` returns of a revision; `start` is where a list goes on. Raises StatusError (410)
    where its history is gone."""
    try:
        return read()
    except Expired as error:
        if not start:
            raise errors.too_old(revision, error.floor) from None
        # The list can go on from here, but what it shows is of another time: the client must
        # agree to that.
        failure = errors.gone(
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new"
            " list without the continue parameter, or use the continue token in this response "
            "to retrieve the"
            " remainder of the results. Continuing with the provided token results in an "
            "inconsistent list - objects"
            " that were created, modified, or deleted between the time the first chunk was "
            "returned and now may show"
            " up in the list."
        )
        failure.status.metadata = ListMeta(continue_=write_token(0, start))
        raise failure from None
