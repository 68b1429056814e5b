"""Informers: a copy of what the server holds of one kind, kept fresh by a watch, and the events of its changes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from tiphys.api.base import Struct
from tiphys.api.catalog import Resource, resource_of
from tiphys.client.client import Client, Unreachable
from tiphys.client.compaction import compact
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Struct)

Handler = Callable[[Any, Any], None]  # (old, new): None stands for "did not exist"
_PAGE = 2000
_SETTLED = 5.0  # seconds after which an object that was left alone is compacted
_AT_ONCE = 50  # objects that are compacted before anybody else gets a turn


def key_of(obj: Any) -> str:
    """``namespace/name``, or the name alone of what has no namespace."""
    meta = obj.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


class Informer(Generic[T]):
    """Objects by key. Handlers are called on the event loop, in the order of the changes.

    The copy has no managed fields: they weigh more than many a spec, and who writes without them keeps them."""

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
        self._indexes: dict[
            str, tuple[Callable[[Any], Iterable[str]], dict[str, dict[str, T]]]
        ] = {}
        self.synced = asyncio.Event()
        self.revision = ""
        self._again = False  # somebody wants a new list
        self._begun = self._done = 0  # lists so far
        self._listed = asyncio.Event()
        self._watching: asyncio.Timeout | None = None
        self._moving: dict[
            str, float
        ] = {}  # objects that were put lately, and until when they count as that
        self._settling = False

    # --- reading ---

    def get(self, key: str) -> T | None:
        return self._objects.get(key)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def index(self, name: str, values: Callable[[Any], Iterable[str]]) -> None:
        """Keeps the objects by some values of theirs; see `by`."""
        if name in self._indexes:
            return
        self._indexes[name] = (values, {})
        for obj in self._objects.values():
            self._file(None, obj)

    def by(self, name: str, value: str) -> list[T]:
        return list(self._indexes[name][1].get(value, {}).values())

    def on_change(self, handler: Handler) -> None:
        """Calls `handler(old, new)` for every change, and for what is already there as if it were new."""
        self._handlers.append(handler)
        for obj in self._objects.values():
            handler(None, obj)

    async def relisted(self) -> None:
        """Returns when the copy holds what the server held after this call: for who cannot tell whether a write of
        theirs has arrived."""
        number, self._again = self._begun + 1, True
        if self._watching is not None:
            self._watching.reschedule(asyncio.get_running_loop().time())
        while self._done < number:
            await self._listed.wait()

    # --- writing: what the watch says ---

    def _file(self, old: T | None, new: T | None) -> None:
        for values, table in self._indexes.values():
            if old is not None:
                for value in values(old):
                    if (row := table.get(value)) is not None:
                        row.pop(key_of(old), None)
                        if not row:
                            del table[value]
            if new is not None:
                for value in values(new):
                    table.setdefault(value, {})[key_of(new)] = new

    def _put(self, obj: T) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old.metadata.resource_version == obj.metadata.resource_version:  # type: ignore[attr-defined]
            return
        obj.metadata.managed_fields = []  # type: ignore[attr-defined]
        self._objects[key] = obj
        self._moved(key)
        if self._indexes:
            self._file(old, obj)
        self._tell(old, obj)

    def _moved(self, key: str) -> None:
        """The object will be compacted once it is left alone."""
        loop = asyncio.get_running_loop()
        self._moving.pop(key, None)
        self._moving[key] = loop.time() + _SETTLED
        if not self._settling:
            self._settling = True
            loop.call_later(_SETTLED, self._settle)

    def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        now, done = loop.time(), 0
        while self._moving and done < _AT_ONCE:
            key, when = next(iter(self._moving.items()))
            if when > now:
                break
            del self._moving[key]
            if (obj := self._objects.get(key)) is not None:
                compact(obj)
                done += 1
        self._settling = bool(self._moving)
        if self._settling:
            loop.call_later(max(0.02, next(iter(self._moving.values())) - now), self._settle)

    def _remove(self, obj: T) -> None:
        old = self._objects.pop(key_of(obj), None)
        if old is not None:
            if self._indexes:
                self._file(old, None)
            self._tell(obj, None)

    def _tell(self, old: T | None, new: T | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                log.exception("a handler of %s failed", self.kind.__name__)

    # --- the loop ---

    async def run(self) -> None:
        """Lists, then watches, for ever; after a failure with growing pauses."""
        pause, revision = 0.05, ""
        while True:
            try:
                if not revision or self._again:
                    revision = ""  # until it has come
                    revision = await self._list()
                    self.synced.set()
                if self._again:
                    continue
                async with asyncio.timeout(None) as self._watching:
                    revision = await self._watch(revision)
                pause = 0.05
            except TimeoutError:  # the watch was interrupted
                continue
            except StatusError as error:
                if error.code == 410:
                    revision = ""
                else:
                    log.warning("watching %s: %s", self.kind.__name__, error)
            except Unreachable as error:
                log.debug("%s", error)
            finally:
                self._watching = None
            if self.revision:
                revision = self.revision if revision else ""
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 5.0)

    async def _list(self) -> str:
        """Replaces the copy by what the server lists."""
        found: dict[str, T] = {}
        token, revision = "", ""
        self._again, self._begun = False, self._begun + 1
        number = self._begun
        while True:
            page = await self._client.list(self.kind, limit=_PAGE, token=token, **self._scope)
            found.update((key_of(obj), obj) for obj in page.items)
            revision, token = page.revision, page.token
            if not token:
                break
        for obj in found.values():
            self._put(obj)
        for key in [key for key in self._objects if key not in found]:
            self._remove(self._objects[key])
        self.revision, self._done = revision, number
        self._listed.set()
        self._listed = asyncio.Event()
        return revision

    async def _watch(self, revision: str) -> str:
        async for event in self._client.watch(self.kind, revision=revision, **self._scope):
            obj = event.obj
            revision = self.revision = obj.metadata.resource_version  # type: ignore[attr-defined]
            if event.kind == "DELETED":
                self._remove(obj)
            elif event.kind != "BOOKMARK":
                self._put(obj)
        return revision


class Informers:
    """The informers of one process, one for each kind, shared by everything in it."""

    def __init__(self, client: Client, tasks: TaskGroup) -> None:
        self.client = client
        self._tasks = tasks
        self._made: dict[type, Informer[Any]] = {}

    def of(self, kind: type[T]) -> Informer[T]:
        """The informer of a kind; it starts when first asked for."""
        informer = self._made.get(kind)
        if informer is None:
            informer = self._made[kind] = Informer(self.client, kind)
            self._tasks.start(informer.run(), f"informer-{resource_of(kind).plural}", vital=True)
        return informer

    def made(self, kind: type[T]) -> Informer[T] | None:
        """The informer of a kind if somebody has asked for it already."""
        return self._made.get(kind)

    @property
    def held(self) -> int:
        """How many objects all of them hold."""
        return sum(map(len, self._made.values()))

    async def synced(self) -> None:
        """Waits until every informer has listed once."""
        for informer in list(self._made.values()):
            await informer.synced.wait()
