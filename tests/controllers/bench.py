"""Reconcilers worked by hand, one step at a time, on a real API server: nobody works their queues,
and before each step their informers show all that was written."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from tiphys.api import core_v1
from tiphys.api.base import Struct
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.scheduling_v1 import PriorityClass
from tiphys.client.client import MERGE
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer, Informers
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.testing import LocalCluster

S = TypeVar("S", bound=Struct)
C = TypeVar("C", bound=Controller)


_TICK = 0.001  # seconds
_PATIENCE = 60.0  # seconds: only a busy machine needs as many


class Event(NamedTuple):
    kind: str
    reason: str
    message: str


class Events(EventRecorder):
    """Keeps what is recorded instead of writing it."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, "bench")
        self.recorded: list[Event] = []

    def record(self, obj: Any, kind: str, reason: str, message: str, *_: Any) -> None:
        self.recorded.append(Event(kind, reason, message))


class Bench:
    """A namespace of the test's own, and the reconcilers that the test works in it."""

    def __init__(self, server: LocalCluster, namespace: str) -> None:
        self.server = server
        self.client = server.client
        self.namespace = namespace
        self.tasks = TaskGroup(namespace)
        self.informers = Informers(self.client, self.tasks)
        self.events = Events(self.client)
        self._own: list[Informer[Any]] = []
        self._blind: list[Informer[Any]] = []  # those that have missed something
        self._started = time.time()
        self.later = 0.0  # seconds that have passed by the reconcilers' clock, which a test moves

    def now(self) -> float:
        return self._started + self.later

    def start(self, kind: Callable[[Context], C], **settings: Any) -> C:
        """A controller that watches, and does nothing by itself."""
        context = Context(
            self.client, self.informers, self.events, self.tasks, self.now, settings=settings
        )
        controller = kind(context)
        controller.watch()
        return controller

    def follow(self, informer: Informer[Any]) -> None:
        """Runs an informer that a controller has for itself alone."""
        self.tasks.start(informer.run(), "own")
        self._own.append(informer)

    async def seen(self) -> None:
        """Waits until every informer shows what the server holds."""
        for kind, informer in list(self.informers._informers.items()):
            written = self.server.server.server.registry.cache(resource_of(kind)).revision
            async with asyncio.timeout(_PATIENCE):
                await informer.synced.wait()
                while int(informer.revision) < written:  # noqa: ASYNC110 - its next event
                    await asyncio.sleep(_TICK)
        # Those that see a part of a kind would not notice that nothing new is for them.
        await asyncio.gather(*(each.relisted() for each in (*self._own, *self._blind)))
        self._blind.clear()

    async def step(self, controller: Controller, name: str) -> float | None:
        """One reconciliation of an object of the namespace; a name with a slash is a whole key."""
        await self.seen()
        return await controller.reconcile(name if "/" in name else f"{self.namespace}/{name}")

    async def queued(self, controller: Controller) -> list[str]:
        """The keys that wait, without the namespace; none waits after that."""
        await self.seen()
        keys = []
        while len(controller.queue):
            key = await controller.queue.get()
            controller.queue.done(key)
            keys.append(key)
        return sorted(
            key.replace(f"{self.namespace}/", "") for key in keys if self.namespace in key
        )

    @contextlib.contextmanager
    def unseen(self, kind: Any) -> Iterator[None]:
        """Meanwhile the informer of a kind shows nothing new."""
        informer: Any = self.informers.of(kind)
        informer._put = informer._remove = lambda obj: None
        try:
            yield
        finally:
            del informer._put, informer._remove
            self._blind.append(informer)

    def key(self, name: str) -> str:
        return f"{self.namespace}/{name}"

    def reasons(self) -> list[str]:
        """The reasons of the events so far, which are forgotten."""
        reasons = [event.reason for event in self.events.recorded]
        self.events.recorded.clear()
        return reasons

    # --- objects of the namespace ---

    def _space(self, kind: Any) -> str:
        return self.namespace if resource_of(kind).namespaced else ""

    async def add(self, obj: S) -> S:
        """Creates an object, with its status."""
        thing: Any = copy.deepcopy(obj)
        status = getattr(thing, "status", None)
        thing.metadata.namespace = self._space(type(obj))
        thing.metadata.uid = ""
        created: Any = await self.client.create(thing)
        if status is None or status == type(status)() or status == created.status:
            return created  # type: ignore[no-any-return]
        created.status = status
        return await self.client.update_status(created)  # type: ignore[no-any-return]

    async def get(self, kind: type[S], name: str) -> S | None:
        """The object as the server has it, None when it is gone."""
        try:
            return await self.client.get(kind, name, self._space(kind))
        except StatusError as error:
            assert is_not_found(error), error
            return None

    async def all(self, kind: type[S]) -> list[S]:
        """The objects of a kind, by name."""
        items = (await self.client.list(kind, self._space(kind))).items
        return sorted(items, key=lambda obj: obj.metadata.name)  # type: ignore[attr-defined]

    async def change(self, obj: S, **parts: Any) -> S:
        """Changes an object by a merge patch."""
        meta = obj.metadata  # type: ignore[attr-defined]
        return await self.client.patch(type(obj), meta.name, parts, meta.namespace, media=MERGE)

    async def say(self, obj: S, **parts: Any) -> S:
        """Changes the status of an object by a merge patch."""
        meta = obj.metadata  # type: ignore[attr-defined]
        body = {"status": parts}
        return await self.client.patch(
            type(obj), meta.name, body, meta.namespace, "status", media=MERGE
        )

    async def remove(self, obj: Any, **options: Any) -> None:
        await self.client.delete(type(obj), obj.metadata.name, obj.metadata.namespace, **options)

    def refuse(self, template: core_v1.PodTemplateSpec) -> None:
        """Makes a template whose pods are refused until they are allowed (`allow`)."""
        template.spec.priority_class_name = self.namespace

    async def allow(self) -> None:
        await self.add(PriorityClass(metadata=ObjectMeta(name=self.namespace), value=1))

    async def set_up(self) -> None:
        meta = ObjectMeta(name=self.namespace)
        await self.client.create(core_v1.Namespace(metadata=meta))
        account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default"))
        await self.add(account)
