"""GET, LIST and WATCH: bytes out of the cache."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api.base import decode, encode, from_builtins
from tiphys.api.catalog import Resource, storage_of
from tiphys.api.meta_v1 import ListMeta, PartialObjectMetadata
from tiphys.apiserver import tables
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.options import check_included, check_list
from tiphys.apiserver.registry import Registry
from tiphys.apiserver.request import Call
from tiphys.apiserver.respond import PLAIN, Accepted, accepted, answer, formed, is_declared, one, streamed, unhurried
from tiphys.apiserver.strategies import NAMES, strategy_of
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors, protobuf
from tiphys.machinery.query import truth
from tiphys.machinery.selectors import EVERYTHING, Selector, SelectorError, parse_fields, parse_labels
from tiphys.store.cache import Entry, Event, Expired, Filter, ResourceCache

_WAIT = 3.0  # seconds a read waits for a revision this server has not seen yet
_BOOKMARK = 50.0  # seconds between bookmarks
_STREAMED = 100  # objects of a list from which it is written piece by piece
_REPLAYED = 50  # objects that a new watcher is sent at once
_COMPRESSED = 128 << 10  # bytes of a list from which it is compressed for clients that take that
_BUFFER = 16 << 20  # bytes a slow watcher may leave unread before it is let go
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def view_of(call: Call, resource: Resource) -> Filter:
    """The part of the resource that a list, watch or collection delete is about. Raises 400."""
    prefix = resource.prefix
    if resource.namespaced and call.info.namespace:
        prefix += call.info.namespace + "/"
    labels = _labels(call.query.get("labelSelector", ""))
    fields = _fields(call.query.get("fieldSelector", ""), resource)
    name = fields.exact("metadata.name")
    if name and (call.info.namespace or not resource.namespaced):
        fields = Selector(tuple(r for r in fields.requirements if r.key != "metadata.name" or r.operator != "="))
        return _Exact(prefix + name, labels, fields)
    namespace = fields.exact("metadata.namespace")
    if namespace and resource.namespaced and not call.info.namespace:
        prefix += namespace + "/"
    return Filter(prefix, labels, fields)


class _Exact(Filter):
    """A view of one object."""

    __slots__ = ()

    def __init__(self, prefix: str, labels: Selector, fields: Selector) -> None:
        super().__init__(prefix, labels, fields)
        self.matches_all = False

    def matches(self, entry: Entry) -> bool:
        return entry.key == self.prefix and self.labels.matches(entry.labels) and self.fields.matches(entry.fields)


def _labels(text: str) -> Selector:
    try:
        return parse_labels(text) if text else EVERYTHING
    except SelectorError as error:
        raise errors.bad_request(f"unable to parse requirement: {error}") from None


_MIRRORED = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


def _fields(text: str, resource: Resource) -> Selector:
    if not text:
        return EVERYTHING
    try:
        selector = parse_fields(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None
    if resource.group == "events.k8s.io":
        from tiphys.machinery.selectors import Requirement

        selector = Selector(tuple(
            Requirement(_mirror(r.key), r.operator, r.values) for r in selector.requirements
        ))  # fmt: skip
    allowed = {field.name for field in (*NAMES, *strategy_of(storage_of(resource)).fields)}
    for requirement in selector.requirements:
        if requirement.key not in allowed:
            raise errors.bad_request(_unsupported(resource, requirement.key))
    return selector


# Kinds whose fields upstream converts by a rule of their own say it in other words.
_WORDED = frozenset(("Pod", "Node", "Namespace", "Secret", "Event", "ReplicationController", "Service"))


def _unsupported(resource: Resource, key: str) -> str:
    if isinstance(resource, CustomResource) or (resource.kind in _WORDED and resource.group == ""):
        return f"field label not supported: {key}"
    return f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _mirror(key: str) -> str:
    head, dot, rest = key.partition(".")
    return _MIRRORED.get(head, head) + dot + rest


_LISTING = "invalid resource version: "  # how a list begins to tell of one


def _number(text: str, doing: str = "") -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        shown = json.dumps(text, ensure_ascii=False)
        raise errors.bad_request(
            f"{doing}resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"
        )
    return int(text)


class Reader:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self.watchers = 0
        self.closing = asyncio.Event()
        self.tasks = TaskGroup("watches")
        self.streams: set[_Stream] = set()

    def end_watches(self) -> None:
        """Lets every watch end cleanly: the server goes."""
        self.closing.set()
        for stream in self.streams:
            stream._wake.set()

    def end_watches_of(self, prefix: str) -> None:
        """Lets the watches of one resource end: it is not served any more, or in another way."""
        for stream in list(self.streams):
            if stream._resource.prefix == prefix:
                self.end(stream)

    @staticmethod
    def end(stream: _Stream) -> None:
        stream.ended = True
        stream._wake.set()

    # --- get ---

    async def get(self, call: Call, resource: Resource) -> web.Response:
        await self._fresh(call.query.get("resourceVersion", ""))
        entry = self._registry.entry(resource, call.info.namespace, call.info.name)
        data = self._registry.converter.shown(resource, entry)
        if data is None:
            data = (await self._registry.converter.present(resource, [entry]))[0]
        return one(call, resource, data)

    async def _fresh(self, asked: str, doing: str = "") -> int:
        """Waits until the cache is at least as new as the client asks. Returns the cache's revision."""
        if not asked:
            return await self._store.fresh()
        if asked != "0" and not await self._store.reached(wanted := _number(asked, doing), _WAIT):
            raise errors.too_large_version(wanted, self._store.revision)
        return self._store.revision

    # --- list ---

    async def collect(self, call: Call, resource: Resource) -> web.StreamResponse:
        want = accepted(call.http.headers.get("Accept", ""), is_declared(resource))
        check_list(call)
        view, cache = view_of(call, resource), self._registry.cache(resource)
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
            objects = await self._registry.converter.present(resource, entries)
        if isinstance(resource, CustomResource) and not want.shape:
            meta.setdefault("continue", "")  # upstream's lists of plain objects say so
        compressed = "gzip" in call.http.headers.get("Accept-Encoding", "")
        if len(objects) > _STREAMED and want == PLAIN and not compressed and call.http.method == "GET":
            head = _list_head(resource.list_kind.encode(), resource.api_version.encode(), meta)
            return await streamed(call, head, objects, b"]}")
        response = listed(call, resource, want, meta, entries, objects)
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
            revision, start = _read_token(query["continue"])
            entries = self._at(cache, view, revision, start) if revision else cache.select(view)
            revision = revision or self._store.revision
        elif match == "Exact" or (limit and asked not in ("", "0") and not match):
            revision = _number(asked, _LISTING)
            await self._fresh(asked, _LISTING)
            entries = self._at(cache, view, revision, "")
        else:
            revision = await self._fresh(asked, _LISTING)
            entries = cache.select(view)
        if start:
            entries = [entry for entry in entries if entry.key > resource.prefix + start]
        if not limit or len(entries) <= limit:
            return entries, revision, "", 0
        page = entries[:limit]
        token = _write_token(revision, page[-1].key[len(resource.prefix) :])
        return page, revision, token, len(entries) - limit

    def _at(self, cache: ResourceCache, view: Filter, revision: int, start: str) -> list[Entry]:
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

            failure.status.metadata = ListMeta(continue_=_write_token(0, start))
            raise failure from None

    # --- watch ---

    async def watch(self, call: Call, resource: Resource) -> web.StreamResponse:
        stream = _Stream(self, call, resource)
        self.watchers += 1
        try:
            return await stream.run()
        finally:
            self.watchers -= 1


def listed(
    call: Call, resource: Resource, want: Accepted, meta: dict[str, Any], entries: list[Entry], objects: list[bytes]
) -> web.Response:
    """A list in the shape and form that the client wants. `objects`: the entries as the version shows them."""
    if want.shape == "PartialObjectMetadata":
        raise errors.not_acceptable(
            f"you requested PartialObjectMetadata, but the requested object is a list ({resource.list_kind})"
        )
    if want.form == "protobuf":
        body = _protobuf_list(resource, want.shape, meta, entries, objects)
        return answer(body, 200, call.warnings, protobuf.MEDIA_TYPE)
    if want.shape == "Table":
        include = call.query.get("includeObject", "")
        check_included(include)
        body = tables.table(resource, objects, meta, include or "Metadata", version=want.version)
    elif want.shape:
        partials = [tables.partial(data, want.version) for data in objects]
        body = _list(b"PartialObjectMetadataList", want.version, meta, partials)
    else:
        body = _list(resource.list_kind.encode(), resource.api_version.encode(), meta, objects)
    return formed(call, body, want)


def _list_head(kind: bytes, version: bytes, meta: dict[str, Any]) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (kind, version, msgspec.json.encode(meta))


def _list(kind: bytes, version: bytes, meta: dict[str, Any], objects: list[bytes]) -> bytes:
    return b"".join((_list_head(kind, version, meta), b",".join(objects), b"]}"))


def _protobuf_list(
    resource: Resource, shape: str, meta: dict[str, Any], entries: list[Entry], objects: list[bytes]
) -> bytes:
    """A list in protobuf. Each object is coded once and kept beside its JSON."""
    kind = PartialObjectMetadata if shape else resource.type
    items = []
    for entry, data in zip(entries, objects, strict=True):
        made = entry.shown.get((kind, resource.api_version)) if entry.shown else None
        if made is None:
            made = protobuf.encode(decode(tables.partial(data) if shape else data, kind))
            entry.shown = {**(entry.shown or {}), (kind, resource.api_version): made}
        items.append(protobuf.frame(2, made))
    head = protobuf.frame(1, protobuf.encode(from_builtins(meta, ListMeta)))
    version, name = (
        ("meta.k8s.io/v1", "PartialObjectMetadataList") if shape else (resource.api_version, resource.list_kind)
    )
    return protobuf.envelope(version, name, head + b"".join(items))


def _write_token(revision: int, start: str) -> str:
    raw = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        raw = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return max(int(raw["rv"]), 0), str(raw["start"])
    except (ValueError, KeyError, TypeError, msgspec.DecodeError):
        raise errors.bad_request("invalid continue token: continue key is not valid: malformed value") from None


class _Stream:
    """One watch: the events of a view, as they come, until the client or the clock ends it."""

    def __init__(self, reader: Reader, call: Call, resource: Resource) -> None:
        self._reader = reader
        self._call = call
        self._resource = resource
        self._cache = reader._registry.cache(resource)
        self._view = view_of(call, resource)
        self._want = accepted(call.http.headers.get("Accept", ""), is_declared(resource))
        check_list(call)
        self._seconds = int(call.query.get("timeoutSeconds") or "0")
        self._wake = asyncio.Event()
        self._transport: Any = None
        self._header = True
        self._bookmarks = call.flag("allowWatchBookmarks")
        self._converter = reader._registry.converter
        custom = isinstance(resource, CustomResource)
        self._binary = self._want.form == "protobuf"
        self._plain = not self._want.shape and not self._binary and resource.is_storage_version and not custom
        self._converting: asyncio.Lock | None = asyncio.Lock() if custom and resource.webhook else None  # type: ignore[attr-defined]

    async def run(self) -> web.StreamResponse:
        query, store = self._call.query, self._reader._store
        asked = query.get("resourceVersion", "")
        initial = query.get("sendInitialEvents")
        replay = truth(initial) or (initial is None and asked in ("", "0"))
        since = await self._reader._fresh(asked if asked else "") if replay else _number(asked or "0") or store.revision
        try:
            watcher = self._cache.watch(self._view, since, self._awake)
        except Expired as error:
            return await self._fail(errors.too_old(since, error.floor))
        response: web.StreamResponse = web.Response()
        self._reader.streams.add(self)
        try:
            response = await self._open()
            if replay:
                present = self._cache.select(self._view)
                await self._converter.present(self._resource, present)
                await self._replay(response, present)
                if truth(initial) and self._bookmarks:
                    self._send([self._bookmark(since, initial_end=True)])
            await self._follow(watcher)
            await response.write_eof()
        except ConnectionError:
            pass  # the client went away
        finally:
            self._cache.unwatch(watcher)
            self._reader.streams.discard(self)
        return response

    async def _fail(self, error: errors.StatusError) -> web.StreamResponse:
        """A watch that may be had, but not from there, begins, and ends with an event that says so: as upstream has it, and
        as clients expect it."""
        response = await self._open()
        self._send([self._error(error)])
        await response.write_eof()
        return response

    def _error(self, error: errors.StatusError) -> bytes:
        if not self._binary:
            return b'{"type":"ERROR","object":%b}\n' % encode(error.status)
        return _wire("ERROR", protobuf.wrap(error.status))

    async def _replay(self, response: web.StreamResponse, present: list[Entry]) -> None:
        """What is there already, as fast as the client takes it. Changes wait meanwhile."""
        waiting: list[bytes] = []
        for entry in present:
            waiting.append(self._line("ADDED", Event(entry.revision, entry, None)))
            if len(waiting) == _REPLAYED:
                await response.write(b"".join(waiting))
                waiting.clear()
        if waiting:
            await response.write(b"".join(waiting))

    async def _open(self) -> web.StreamResponse:
        shape = self._want.shape
        version = self._want.version.decode().partition("/")[2]
        kind = "application/json" if not shape else f"application/json;as={shape};g=meta.k8s.io;v={version}"
        if self._binary:
            kind = f"{protobuf.MEDIA_TYPE};stream=watch"
        response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache, private"})
        if self._call.flow is not None:
            response.headers.update(self._call.flow.headers)
        response.enable_chunked_encoding()
        writer: Any = await response.prepare(self._call.http)
        writer.send_headers()  # the client must not wait for the first event to learn that it watches
        self._transport = self._call.http.transport
        return response

    async def _follow(self, watcher: Any) -> None:
        """Until the clock, the client or the server's end stops it. Events are sent by `_flush`, on its own."""
        loop = asyncio.get_running_loop()
        asked = max(self._seconds, 0)
        ends = loop.time() + (asked or random.uniform(1800, 3600))
        bookmark = loop.time() + min(_BOOKMARK, asked * 0.8 if asked else _BOOKMARK)
        self._flushing = watcher
        self._awake()
        while not (self._reader.closing.is_set() or watcher.overflowed or self.ended or self._gone()):
            now = loop.time()
            if now >= ends:
                return
            if self._bookmarks and now >= bookmark:
                self._flush()
                self._send([self._bookmark(self._reader._store.revision)])
                bookmark = now + _BOOKMARK
            timer = loop.call_at(min(ends, bookmark) if self._bookmarks else ends, self._wake.set)
            self._wake.clear()
            await self._wake.wait()
            timer.cancel()

    ended = False
    _flushing: Any = None
    _due = False

    def _awake(self) -> None:
        """There are events: send them once the loop has done what it is at, all in one write."""
        if self._flushing is None or self._due:
            return
        self._due = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        watcher = self._flushing
        taken = watcher.take()
        if len(taken) == 1 and self._plain and not self._gone():
            self._transport.write(taken[0][1].chunk(taken[0][0]))
        elif taken and self._converting is not None:
            self._reader.tasks.start(self._send_converted(taken), "convert-watch")
        elif taken:
            self._send([self._line(kind, event) for kind, event in taken])
        if watcher.overflowed or self._gone() or self._reader.closing.is_set():
            self._wake.set()

    async def _send_converted(self, taken: list[tuple[str, Event]]) -> None:
        """Events whose objects a webhook has to convert first; the lock keeps their order."""
        assert self._converting is not None
        async with self._converting:
            shown = [event.previous if kind == "DELETED" else event.entry for kind, event in taken]
            try:
                await self._converter.present(self._resource, [entry for entry in shown if entry is not None])
            except errors.StatusError as error:
                self._send([self._error(error)])
                self._reader.end(self)
                return
            self._send([self._line(kind, event) for kind, event in taken])

    def _gone(self) -> bool:
        transport = self._transport
        return transport is None or transport.is_closing() or transport.get_write_buffer_size() > _BUFFER

    def _send(self, lines: list[bytes]) -> None:
        if lines and not self._gone():
            body = b"".join(lines)
            self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))

    def _line(self, kind: str, event: Event) -> bytes:
        if self._plain:
            return event.line(kind)
        if self._want.shape == "Table":
            return self._shaped(kind, event)
        key = (kind, self._want.shape, self._want.version, self._resource.api_version, self._binary)
        made = event.lines.get(key)
        if made is None:
            made = event.lines[key] = self._shaped(kind, event)
        return made

    def _shaped(self, kind: str, event: Event) -> bytes:
        entry = event.previous if kind == "DELETED" else event.entry
        assert entry is not None
        data = self._converter.shown(self._resource, entry) or entry.data
        if kind == "DELETED":
            data = event.tombstone(data)
        if self._want.shape == "Table":
            meta = {"resourceVersion": str(event.revision)}
            include = self._call.query.get("includeObject") or "Metadata"
            data = tables.table(self._resource, [data], meta, include, self._header, self._want.version)
            self._header = False
        elif self._want.shape:
            data = tables.partial(data, self._want.version)
        return self._framed(kind, data)

    def _framed(self, kind: str, data: bytes) -> bytes:
        """One event on the wire: a line of JSON, or a length and a WatchEvent in protobuf."""
        if not self._binary:
            return b'{"type":"%b","object":%b}\n' % (kind.encode(), data)
        return _wire(kind, protobuf.wrap(decode(data, PartialObjectMetadata if self._want.shape else self._resource.type)))

    def _bookmark(self, revision: int, initial_end: bool = False) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        kind, version, shaped = self._resource.kind, self._resource.api_version, self._want.version.decode()
        if self._want.shape.startswith("Partial"):
            kind, version = "PartialObjectMetadata", shaped
        obj: dict[str, Any] = {"kind": kind, "apiVersion": version, "metadata": meta}
        if self._want.shape == "Table":
            row = {
                "cells": [],
                "object": {"kind": "PartialObjectMetadata", "apiVersion": shaped, "metadata": meta},
            }
            obj = {
                "kind": "Table",
                "apiVersion": shaped,
                "metadata": {"resourceVersion": str(revision)},
                "columnDefinitions": [],
                "rows": [row],
            }
        return self._framed("BOOKMARK", msgspec.json.encode(obj))


def _wire(kind: str, message: bytes) -> bytes:
    """A WatchEvent in protobuf, its length before it."""
    event = protobuf.frame(1, kind.encode()) + protobuf.frame(2, protobuf.frame(1, message))
    return len(event).to_bytes(4, "big") + event
