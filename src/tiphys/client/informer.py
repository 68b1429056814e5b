"""Informers: a copy of what the server holds of one kind, kept up to date by a watch, and the
events of its changes.

What client-go calls a shared informer (reflector, store and handlers), in one class.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from tiphys.api.base import Struct
from tiphys.api.catalog import Resource, resource_of
from tiphys.client.client import Client, Unreachable, WatchEvent
from tiphys.client.compaction import compact
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError, is_expired

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Struct)

Handler = Callable[[Any, Any], None]  # (old, new): None stands for "does not exist"
Values = Callable[[Any], Iterable[str]]  # the values that an index has an object under

_PAGE = 2000  # objects listed at once
_FIRST_PAUSE = 0.05  # seconds before the next attempt after a failure; doubled with each
_LONGEST_PAUSE = 5.0
_SETTLED = 5.0  # seconds after which an object that was left alone is compacted
_AT_ONCE = 50  # objects compacted in one turn of the loop: 2.5 ms, see `compaction`
_BETWEEN_TURNS = 0.02  # seconds


def key_of(obj: Any) -> str:
    """``namespace/name``, or the name alone of what has no namespace."""
    meta = obj.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


class _Index(NamedTuple, Generic[T]):
    values: Values
    objects: dict[str, dict[str, T]]  # value → key → object

    def update(self, old: T | None, new: T | None) -> None:
        if old is not None:
            key = key_of(old)
            for value in self.values(old):
                self._discard(value, key)
        if new is not None:
            key = key_of(new)
            for value in self.values(new):
                self.objects.setdefault(value, {})[key] = new

    def _discard(self, value: str, key: str) -> None:
        objects = self.objects.get(value)
        if objects is None:
            return
        objects.pop(key, None)
        if not objects:
            del self.objects[value]


def _version(obj: Any) -> int:
    """Of an object; they are numbers that grow (upstream promises that since 1.35)."""
    version = obj.metadata.resource_version
    return int(version) if version.isdigit() else 0


class Informer(Generic[T]):
    """Objects of one kind by key. Nobody may change them: see `compaction`.

    Handlers are called on the event loop, in the order of the changes, after the copy has changed.
    The copy has no managed fields: they weigh more than many a spec, and a write without them
    leaves them as they are.

    namespace, labels, fields: limit what it holds, as in a list
    resource:                  of which resource, when `kind` is a part of an object that no
    resource has
    synced:                    set once the first list has come
    revision:                  up to which the copy shows every change, "" before the first list
    """

    def __init__(
        self,
        client: Client,
        kind: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        resource: Resource | None = None,
    ) -> None:
        self._client = client
        self.kind = kind
        self._scope: dict[str, Any] = {
            "namespace": namespace,
            "labels": labels,
            "fields": fields,
            "resource": resource,
        }
        self._objects: dict[str, T] = {}
        self._handlers: list[Handler] = []
        self._indexes: dict[str, _Index[T]] = {}
        self.synced = asyncio.Event()
        self.revision = ""
        # Lists are numbered, so that `relisted` can wait for one that began after it was called.
        self._must_list = True
        self._lists_begun = 0
        self._lists_done = 0
        self._listed = asyncio.Event()  # replaced with every list
        self._watch_timeout: asyncio.Timeout | None = None  # of the running watch
        self._unsettled: dict[
            str, float
        ] = {}  # key → when (loop time) the object counts as settled
        self._settling = False

    # --- reading ---

    def get(self, key: str) -> T | None:
        return self._objects.get(key)

    def __iter__(self) -> Iterator[T]:
        """The objects as they are now; the copy may change meanwhile."""
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def index(self, name: str, values: Values) -> None:
        """Keeps the objects by the values that `values` gives for each; see `by`. An index of that
        name stays."""
        if name in self._indexes:
            return
        index: _Index[T] = _Index(values, {})
        for obj in self._objects.values():
            index.update(None, obj)
        self._indexes[name] = index

    def by(self, name: str, value: str) -> list[T]:
        """The objects that an index has under a value. KeyError for an index that there is not."""
        return list(self._indexes[name].objects.get(value, {}).values())

    def on_change(self, handler: Handler) -> None:
        """Calls `handler(old, new)` for every change, and now for every object that is there, as if
        it were new."""
        self._handlers.append(handler)
        for obj in self._objects.values():
            handler(None, obj)

    async def relisted(self) -> None:
        """Returns when the copy shows what the server held after this call.

        For callers that do not know whether their write has arrived. Never returns while the
        informer is not running.
        """
        number = self._lists_begun + 1
        self._must_list = True
        if self._watch_timeout is not None:
            self._watch_timeout.reschedule(asyncio.get_running_loop().time())
        while self._lists_done < number:
            await self._listed.wait()

    # --- changes ---

    def note_written(self, obj: T) -> None:
        """Stores an object as a write returned it, so that the next read from the cache shows it.
        An object that the watch delivered in a newer version is kept: the event comes only once."""
        known = self._objects.get(key_of(obj))
        if known is None or _version(known) < _version(obj):
            self._put(obj)

    def _put(self, obj: T) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old.metadata.resource_version == obj.metadata.resource_version:  # type: ignore[attr-defined]
            return
        obj.metadata.managed_fields = []  # type: ignore[attr-defined]
        self._objects[key] = obj
        self._compact_later(key)
        for index in self._indexes.values():
            index.update(old, obj)
        self._call_handlers(old, obj)

    def _remove(self, obj: T) -> None:
        """Removes the object of that key; handlers get `obj`, its last state."""
        old = self._objects.pop(key_of(obj), None)
        if old is None:
            return
        for index in self._indexes.values():
            index.update(old, None)
        self._call_handlers(obj, None)

    def _call_handlers(self, old: T | None, new: T | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                log.exception("A handler of the %s informer failed", self.kind.__name__)

    # --- compaction ---

    def _compact_later(self, key: str) -> None:
        """The object is compacted once it was left alone for some seconds: most new ones change
        soon again."""
        loop = asyncio.get_running_loop()
        self._unsettled.pop(key, None)
        self._unsettled[key] = loop.time() + _SETTLED  # so they are in the order of their times
        if not self._settling:
            self._settling = True
            loop.call_later(_SETTLED, self._compact_settled)

    def _compact_settled(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        compacted = 0
        while self._unsettled and compacted < _AT_ONCE:
            key, settled = next(iter(self._unsettled.items()))
            if settled > now:
                break
            del self._unsettled[key]
            obj = self._objects.get(key)
            if obj is not None:
                compact(obj)
                compacted += 1
        self._settling = bool(self._unsettled)
        if self._settling:
            next_settled = next(iter(self._unsettled.values()))
            loop.call_later(max(_BETWEEN_TURNS, next_settled - now), self._compact_settled)

    # --- the loop ---

    async def run(self) -> None:
        """Lists, then watches, for ever. After a failure it watches on from where it was, with
        growing pauses."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._must_list:
                    await self._list()
                    self.synced.set()
                if self._must_list:  # `relisted` was called meanwhile
                    continue
                async with asyncio.timeout(None) as self._watch_timeout:
                    await self._watch()
                pause = _FIRST_PAUSE
            except TimeoutError:  # `relisted` has interrupted the watch
                continue
            except StatusError as error:
                if is_expired(error):
                    self._must_list = True
                else:
                    log.warning("Watching %s failed: %s", self.kind.__name__, error)
            except Unreachable as error:
                log.debug("Watching %s failed: %s", self.kind.__name__, error)
            finally:
                self._watch_timeout = None
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _list(self) -> None:
        """Replaces the copy by what the server lists."""
        self._lists_begun += 1
        number = self._lists_begun
        self._must_list = False
        try:
            listed, revision = await self._list_pages()
        except BaseException:
            self._must_list = True
            raise
        for obj in listed.values():
            self._put(obj)
        for key in [key for key in self._objects if key not in listed]:
            self._remove(self._objects[key])
        self.revision = revision
        self._lists_done = number
        self._listed.set()
        self._listed = asyncio.Event()

    async def _list_pages(self) -> tuple[dict[str, T], str]:
        """The objects by key, and the revision at which they were like that."""
        listed: dict[str, T] = {}
        token = ""
        while True:
            page = await self._client.list(self.kind, limit=_PAGE, token=token, **self._scope)
            listed.update((key_of(obj), obj) for obj in page.items)
            token = page.token
            if not token:
                return listed, page.revision

    async def _watch(self) -> None:
        """Follows the changes after `revision` until the server ends the watch."""
        event: WatchEvent[T]
        async for event in self._client.watch(self.kind, revision=self.revision, **self._scope):
            obj = event.obj
            self.revision = obj.metadata.resource_version  # type: ignore[attr-defined]
            if event.kind == "DELETED":
                self._remove(obj)
            elif event.kind != "BOOKMARK":
                self._put(obj)


class Informers:
    """The informers of one process, one for each kind, shared by everything in it."""

    def __init__(self, client: Client, tasks: TaskGroup) -> None:
        self.client = client
        self._tasks = tasks
        self._informers: dict[type, Informer[Any]] = {}

    def of(self, kind: type[T]) -> Informer[T]:
        """The informer of a kind; it starts when first asked for."""
        informer = self._informers.get(kind)
        if informer is None:
            informer = Informer(self.client, kind)
            self._informers[kind] = informer
            self._tasks.start(informer.run(), f"informer-{resource_of(kind).plural}", vital=True)
        return informer

    def existing(self, kind: type[T]) -> Informer[T] | None:
        """The informer of a kind if one was requested already."""
        return self._informers.get(kind)

    @property
    def held(self) -> int:
        """How many objects all of them hold."""
        return sum(map(len, self._informers.values()))

    async def synced(self) -> None:
        """Waits until every informer has listed once."""
        for informer in list(self._informers.values()):
            await informer.synced.wait()
