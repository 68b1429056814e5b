"""Watches: the events of a view, as they come, until the client or the clock ends them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Hashable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api.base import decode, encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.apiserver.documents import tables
from tiphys.apiserver.eventloop.aside import LARGE, aside, weigh_object
from tiphys.apiserver.eventloop.turns import Pace
from tiphys.apiserver.http.bulk import PATIENCE, Patience
from tiphys.apiserver.http.freshness import fresh
from tiphys.apiserver.http.freshness import revision as revision_number
from tiphys.apiserver.http.openwatches import OpenWatches
from tiphys.apiserver.http.options import check_list
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.respond import accepted
from tiphys.apiserver.http.watchwires import wire_of
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.machinery import errors, protobuf
from tiphys.machinery.query import truth
from tiphys.store.cache import Entry, Event, Expired

_BOOKMARK = 50.0  # seconds between bookmarks
_REPLAYED = 20  # objects that a new watcher is sent at once
_AT_ONCE = 500  # events processed for one watcher before it is another's turn
_PIECE = 64 << 10  # bytes of events sent to one watcher before it is another's turn, about
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def begins_with_list(call: Call) -> bool:
    """Whether a watch sends first what is there, and so costs what a list does."""
    query = call.query
    initial = query.get("sendInitialEvents")
    from_now = initial is None and query.get("resourceVersion", "") in ("", "0")
    return call.info.verb == "watch" and (from_now or truth(initial))


class Stream:
    """One watch: the events of a view, as they come, until the client or the clock ends it."""

    def __init__(
        self, watches: OpenWatches, registry: Registry, call: Call, resource: Resource
    ) -> None:
        self._watches = watches
        self._registry = registry
        self._call = call
        self.resource = resource
        self.user = call.user.name
        self._cache = registry.cache(resource)
        self._view = view_of(call, resource, registry)
        self._want = accepted(call.http.headers.get("Accept", ""), resource.built_in)
        check_list(call)
        self._seconds = int(call.query.get("timeoutSeconds") or "0")
        self.wake = asyncio.Event()
        self._transport: Any = None
        self._header = True
        self._bookmarks = call.flag("allowWatchBookmarks")
        self._converter = registry.converter
        self._binary = self._want.form == "protobuf"
        as_stored = resource.built_in and resource.is_storage_version
        self._plain = as_stored and not self._want.shape and not self._binary
        self._converting = resource.webhook is not None
        self._events_sent = watches.metrics.watch_events(resource)
        self._wire = wire_of(call, self._media_type(), self._binary, self, watches)

    async def run(self) -> web.StreamResponse:
        query = self._call.query
        store = self._registry.store
        asked = query.get("resourceVersion", "")
        initial = query.get("sendInitialEvents")
        replay = begins_with_list(self._call)
        since = (
            await fresh(store, asked) if replay else revision_number(asked or "0") or store.revision
        )
        if replay:
            self._registry.check_readable(self.resource, self._view.prefix)
        try:
            watcher = self._cache.watch(self._view, since, self._awake)
        except Expired as error:
            return await self._fail(errors.too_old(since, error.floor))
        present = self._cache.snapshot(self._view) if replay else []
        response: web.StreamResponse = web.Response()
        self._watches.add(self)
        try:
            response = await self._open()
            self._call.seat.release()  # what is left is the client's to take, and goes in turns
            if replay:
                await self._replay(present)
                if truth(initial) and self._bookmarks:
                    self._send([self._bookmark(since, initial_end=True)])
            await self._follow(watcher)
            if watcher.overflowed:
                self._send_error()
            await self._finish()
        except ConnectionError:
            pass  # the client went away
        finally:
            self._flushing = None
            if (protocol := self._call.http.protocol) is not None:
                protocol.gone = None
            self._cache.unwatch(watcher)
            self._watches.discard(self)
        return response

    async def _finish(self) -> None:
        """Ends the answer, or the connection of a client that does not take the end."""
        try:
            async with asyncio.timeout(0 if self._stalled else PATIENCE):
                await self._wire.end()
        except TimeoutError:
            self._transport.abort()

    async def _fail(self, error: errors.StatusError) -> web.StreamResponse:
        """A watch that is allowed, but not from that revision, starts and ends with an error event:
        as upstream has it, and as clients expect it.
        """
        response = await self._open()
        self._send([self._error(error)])
        await self._wire.end()
        return response

    def _send_error(self) -> None:
        """A watch that ends because of an unreadable object sends an error event; one that was too
        slow just ends.
        """
        try:
            self._registry.check_readable(self.resource, self._view.prefix)
        except errors.StatusError as error:
            self._send([self._error(error)])

    def _error(self, error: errors.StatusError) -> bytes:
        if not self._binary:
            return b'{"type":"ERROR","object":%b}\n' % encode(error.status)
        return _wire("ERROR", protobuf.wrap(error.status))

    async def _replay(self, present: list[Entry]) -> None:
        """What is there already, as fast as the client takes it and others let it.

        Changes wait meanwhile.
        """
        turns = self._registry.turns
        user = self._call.user.name
        patience = Patience(self._transport)
        try:
            if self._converting:  # a webhook is asked once for all
                await self._converter.present(self.resource, present)
            async for some in turns.sliced(user, present, _REPLAYED):
                self._events_sent.count += len(some)
                async for piece in self._pieces(some):
                    await self._wire.write(piece)
                    patience.written += 1
        finally:
            patience.end()

    async def _pieces(self, entries: Sequence[Entry]) -> AsyncIterator[list[bytes]]:
        """The events that show objects as they are, in pieces that a client which does not read may
        be sent. What is not sent as it is stored is made in steps of a millisecond.
        """
        pace = Pace(self._registry.turns, self._call.user.name)
        lines: list[bytes] = []
        size = 0
        for entry in entries:
            if not self._view.matches(entry):
                continue
            event = Event(entry.revision, entry, None)
            if self._plain:
                lines.append(event.line("ADDED"))
            else:
                lines.append(await self._line_aside("ADDED", event))
                await pace.next()
            size += len(lines[-1])
            if size > _PIECE:
                yield lines
                lines = []
                size = 0
        yield lines

    def _media_type(self) -> str:
        shape = self._want.shape
        if self._binary:
            return f"{protobuf.MEDIA_TYPE};stream=watch"
        if not shape:
            return "application/json"
        version = self._want.version.decode().partition("/")[2]
        return f"application/json;as={shape};g=meta.k8s.io;v={version}"

    async def _open(self) -> web.StreamResponse:
        response = await self._wire.open()
        self._transport = self._wire.transport
        return response

    async def _follow(self, watcher: Any) -> None:
        """Until the clock, the client or the server's end stops it.

        Events are sent by `_flush`, on its own.
        """
        loop = asyncio.get_running_loop()
        asked = max(self._seconds, 0)
        ends = loop.time() + (asked or random.uniform(1800, 3600))
        bookmark = loop.time() + min(_BOOKMARK, asked * 0.8 if asked else _BOOKMARK)
        self._flushing = watcher
        protocol = self._call.http.protocol
        protocol.gone = self.wake.set
        self._awake()
        while not (
            self._watches.closing.is_set()
            or self._stalled
            or watcher.overflowed
            or self.ended
            or self._is_closed()
        ):
            now = loop.time()
            if now >= ends:
                return
            if self._bookmarks and now >= bookmark:
                self._flush()
                # A bookmark promises that everything before it was sent.
                if watcher.behind or self._waiting:
                    bookmark = now + 1.0
                else:
                    self._send([self._bookmark(self._registry.store.revision)])
                    bookmark = now + _BOOKMARK
            timer = loop.call_at(min(ends, bookmark) if self._bookmarks else ends, self.wake.set)
            self.wake.clear()
            await self.wake.wait()
            timer.cancel()

    ended = False
    _stalled = False  # the client has read nothing for too long
    _flushing: Any = None
    _due = False
    _waiting = False  # for the client to read, or for a webhook: events stay in the cache's history

    def _awake(self) -> None:
        """There are events: send them when it is this watcher's turn, all in one write."""
        if self._flushing is None or self._due or self._waiting:
            return
        self._due = True
        self._watches.rounds.add(self._flush)

    def _flush(self) -> None:
        self._due = False
        watcher = self._flushing
        if watcher is None or self._waiting:  # None: the watch has ended meanwhile
            return
        if self._is_closed() or self._watches.closing.is_set():
            self.wake.set()
            return
        if self._call.http.protocol.writing_paused:
            self._wait(self._room())
            return
        taken = watcher.take(_AT_ONCE, _PIECE)
        if taken:
            self._events_sent.count += len(taken)
        if len(taken) == 1 and self._plain and self._wire.takes_chunks:
            self._transport.write(taken[0][1].chunk(taken[0][0]))
        elif taken and self._converting:
            self._wait(self._send_converted(taken))
        elif taken and not self._plain and any(event.size > LARGE for _, event in taken):
            self._wait(self._send_made(taken))
        elif taken:
            self._send([self._line(kind, event) for kind, event in taken])
        if watcher.overflowed:
            self.wake.set()
        elif watcher.behind:
            self._awake()

    def _wait(self, task: Coroutine[Any, Any, None]) -> None:
        self._waiting = True
        self._watches.tasks.start(self._run_waiting(task), "watch")

    async def _run_waiting(self, task: Coroutine[Any, Any, None]) -> None:
        try:
            await task
        finally:
            self._waiting = False
        self._awake()

    async def _room(self) -> None:
        """Until the client has read what it was sent; one that reads nothing is disconnected."""
        try:
            async with asyncio.timeout(PATIENCE):
                # Shielded: the protocol has one future for all who wait.
                await asyncio.shield(self._call.http.protocol._drain_helper())
        except TimeoutError:
            self._stalled = True
            self.wake.set()
        except ConnectionError:
            self.wake.set()

    async def _send_converted(self, taken: list[tuple[str, Event]]) -> None:
        """Events whose objects a webhook has to convert first. Later ones wait."""
        by_fields = (
            self._view.stored is not self._view
        )  # of this version: what an event is, is known once both are converted
        if by_fields:
            shown = [entry for _, event in taken for entry in (event.previous, event.entry)]
        else:
            shown = [event.previous if kind == "DELETED" else event.entry for kind, event in taken]
        try:
            await self._converter.present(
                self.resource, [entry for entry in shown if entry is not None]
            )
        except errors.StatusError as error:
            self._send([self._error(error)])
            self._watches.end(self)
            return
        if by_fields:
            taken = [
                (kind, event) for _, event in taken if (kind := self._view.kind(event)) is not None
            ]
        await self._send_made(taken)

    async def _send_made(self, taken: list[tuple[str, Event]]) -> None:
        """Events with large objects, which are made on the thread for these. Later ones wait."""
        lines = [await self._line_aside(kind, event) for kind, event in taken]
        if self._flushing is not None:  # else the watch has ended meanwhile, and its answer
            self._send(lines)

    def _is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _send(self, lines: list[bytes]) -> None:
        if lines and not self._is_closed():
            self._wire.put(lines)

    def _line(self, kind: str, event: Event) -> bytes:
        """An event on the wire, made once for all who want it so; tables are each watcher's."""
        if self._plain:
            return event.line(kind)
        key = self._form(kind)
        line = event.lines.get(key) if key is not None else None
        if line is None:
            line = self._shaped(kind, self._shown(kind, event), event.revision)
            if key is not None:
                event.lines[key] = line
        return line

    async def _line_aside(self, kind: str, event: Event) -> bytes:
        """As `_line`, of a large object on the thread for these."""
        key = self._form(kind)
        if self._plain or event.size <= LARGE or (key is not None and key in event.lines):
            return self._line(kind, event)
        data = self._shown(kind, event)
        weigh_object(len(data))
        line = await aside(self._shaped, kind, data, event.revision)
        if key is not None:
            event.lines[key] = line
        return line

    def _form(self, kind: str) -> Hashable:
        """By which an event remembers a line that is not plain; None for those of tables."""
        want = self._want
        if want.shape == "Table":
            return None
        return kind, want.shape, want.version, self.resource.api_version, self._binary

    def _shown(self, kind: str, event: Event) -> bytes:
        """An event's object in the version of the watch."""
        entry = event.previous if kind == "DELETED" else event.entry
        assert entry is not None
        data = self._converter.shown(self.resource, entry) or entry.data
        return event.tombstone(data) if kind == "DELETED" else data

    def _shaped(self, kind: str, data: bytes, revision: int) -> bytes:
        if self._want.shape == "Table":
            meta = {"resourceVersion": str(revision)}
            include = self._call.query.get("includeObject") or "Metadata"
            data = tables.table(
                self.resource, [data], meta, include, self._header, self._want.version
            )
            self._header = False
        elif self._want.shape:
            data = tables.partial(data, self._want.version)
        return self._framed(kind, data)

    def _framed(self, kind: str, data: bytes) -> bytes:
        """One event on the wire: a line of JSON, or a length and a WatchEvent in protobuf."""
        if not self._binary:
            return b'{"type":"%b","object":%b}\n' % (kind.encode(), data)
        return _wire(
            kind,
            protobuf.wrap(
                decode(data, PartialObjectMetadata if self._want.shape else self.resource.type)
            ),
        )

    def _bookmark(self, revision: int, initial_end: bool = False) -> bytes:
        self._events_sent.count += 1
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        kind = self.resource.kind
        version = self.resource.api_version
        shaped = self._want.version.decode()
        if self._want.shape.startswith("Partial"):
            kind = "PartialObjectMetadata"
            version = shaped
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
                "columnDefinitions": None,
                "rows": [row],
            }
        return self._framed("BOOKMARK", msgspec.json.encode(obj))


def _wire(kind: str, message: bytes) -> bytes:
    """A WatchEvent in protobuf, its length before it."""
    event = protobuf.frame(1, kind.encode()) + protobuf.frame(2, protobuf.frame(1, message))
    return len(event).to_bytes(4, "big") + event
